//! Streaming a source to the cluster, and noticing when nothing moves any more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chord_api::files::{FilesClient, PutOptions, Stored};
use chord_api::human;
use chord_types::FileName;
use futures::Stream;
use indicatif::ProgressBar;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::failure::{Code, Failure};

/// How long the network may take nothing, or the answer may stay away.
const STALLED_AFTER: Duration = Duration::from_secs(180);
/// What is read at once.
const READ_BYTES: usize = 256 * 1024;

/// Streams a source to the cluster; a reading error is told as what it is, not as
/// the broken connection that it leads to.
pub async fn send<R: tokio::io::AsyncRead + Send + Unpin + 'static>(
    files: &FilesClient,
    name: &FileName,
    source: R,
    options: &PutOptions,
    shown: &str,
    bar: ProgressBar,
) -> Result<(Stored, u64), Failure> {
    // parking_lot's mutex, and not tokio's: nothing is awaited while it is held.
    let sent = Arc::new(Mutex::new(Sent::default()));
    let (moving, watched) = watch::channel(Moving::Network);
    let body = match options.length {
        Some(0) => reqwest::Body::from(Bytes::new()),
        _ => reqwest::Body::wrap_stream(stream(source, Arc::clone(&sent), moving, bar.clone())),
    };
    let result = tokio::select! {
        result = files.put(name, body, options) => result.map_err(Failure::from),
        () = stalled(watched) => Err(Failure::new(
            Code::Unavailable,
            format!("cannot store {name:?}: nothing moved for {}; whether it was stored is not known", human::span(STALLED_AFTER)),
        )),
    };
    bar.finish_and_clear();
    let sent = {
        let sent = sent.lock();
        (sent.bytes, sent.error.clone())
    };
    if let (_, Some(error)) = &sent {
        return Err(Failure::failed(format!(
            "cannot read {shown}: {error}; nothing was stored"
        )));
    }
    Ok((result?, sent.0))
}

#[derive(Debug, Default)]
struct Sent {
    bytes: u64,
    error: Option<String>,
}

/// Who is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moving {
    Source,
    Network,
}

fn stream<R: tokio::io::AsyncRead + Send + Unpin + 'static>(
    source: R,
    sent: Arc<Mutex<Sent>>,
    moving: watch::Sender<Moving>,
    bar: ProgressBar,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures::stream::try_unfold(source, move |mut source| {
        moving.send_replace(Moving::Source);
        let (sent, moving, bar) = (Arc::clone(&sent), moving.clone(), bar.clone());
        async move {
            let mut buffer = bytes::BytesMut::with_capacity(READ_BYTES);
            let read = source.read_buf(&mut buffer).await;
            moving.send_replace(Moving::Network);
            match &read {
                Ok(n) => sent.lock().bytes += *n as u64,
                Err(e) => sent.lock().error = Some(e.to_string()),
            }
            let n = read?;
            bar.inc(n as u64);
            Ok(if n == 0 {
                None
            } else {
                Some((buffer.freeze(), source))
            })
        }
    })
}

/// Ends when the network has taken nothing for long. Waiting for a slow source is
/// no stall.
async fn stalled(mut moving: watch::Receiver<Moving>) {
    loop {
        let who = *moving.borrow_and_update();
        let changed = match who {
            Moving::Source => moving.changed().await,
            Moving::Network => match tokio::time::timeout(STALLED_AFTER, moving.changed()).await {
                Ok(changed) => changed,
                Err(_) => return,
            },
        };
        if changed.is_err() {
            // The whole body went: only the answer is awaited.
            tokio::time::sleep(STALLED_AFTER).await;
            return;
        }
    }
}
