//! Which nodes are ready, and when the cluster can be used.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use chord_api::client::builder;
use chord_api::files::FilesClient;
use chord_api::problem::Kind;
use chord_api::retry::{self, Retryable as _};
use chord_types::FileName;
use futures::StreamExt;
use tokio::sync::watch;

use crate::up::messages::Messages;

const ASK_EVERY: Duration = Duration::from_secs(1);
/// While not every node is ready, so that a start is not held up.
const ASK_AGAIN: Duration = Duration::from_millis(250);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Nodes asked side by side.
const AT_ONCE: usize = 32;
/// Names that are looked up to see whether files can be used: several, since each
/// is kept by other nodes.
const PROBES: usize = 8;

/// Asks every running node whether it is ready, again and again.
pub async fn poll(
    mut running: watch::Receiver<BTreeSet<SocketAddr>>,
    ready: watch::Sender<BTreeSet<SocketAddr>>,
) {
    let Ok(http) = builder::probe(ANSWER_WITHIN) else {
        return;
    };
    loop {
        let nodes = running.borrow_and_update().clone();
        let answers = futures::stream::iter(nodes.clone()).map(|node| {
            let request = http.get(format!("http://{node}/readyz"));
            async move {
                request
                    .send()
                    .await
                    .is_ok_and(|r| r.status().is_success())
                    .then_some(node)
            }
        });
        let now: BTreeSet<SocketAddr> = answers
            .buffer_unordered(AT_ONCE)
            .filter_map(|node| async move { node })
            .collect()
            .await;
        let pause = if now == nodes && !nodes.is_empty() {
            ASK_EVERY
        } else {
            ASK_AGAIN
        };
        ready.send_replace(now);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = running.changed() => if changed.is_err() { return },
        }
    }
}

/// Says where the cluster listens, as soon as files can be read and written there:
/// both need the same quorum.
pub async fn announce(endpoint: SocketAddr, messages: Messages) {
    let Ok(files) = FilesClient::new(&endpoint.to_string()) else {
        return;
    };
    let names: Vec<FileName> = (0..PROBES)
        .filter_map(|n| format!(".chord-up/{n}").parse().ok())
        .collect();
    let usable = || async {
        for name in &names {
            match files.head(name).await {
                Err(e) if e.kind() != Some(Kind::NotFound) => return Err(e),
                _ => {}
            }
        }
        Ok(())
    };
    if usable.retry(retry::however_long()).await.is_ok() {
        messages.listening(&format!("http://{endpoint}"));
    }
}
