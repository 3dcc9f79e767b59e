//! Fetching one file: every byte of one version, over as many connections as it takes.

use std::path::Path;

use bytes::Bytes;
use chord_api::files::{FilesClient, FilesError, GetOptions};
use chord_types::FileName;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use super::sink::Sink;
use crate::failure::Failure;
use crate::output::{Output, stdout_result};

/// How often a transfer that broke is taken up again without a byte of progress.
const TRIES: u32 = 3;

/// One file that was fetched, as it is reported.
#[derive(Debug, Serialize)]
pub struct FetchedFile {
    /// Its name in the cluster.
    pub name: FileName,
    /// Where it was written.
    pub file: String,
    /// Bytes.
    pub size: u64,
    /// Of the version that was fetched.
    pub etag: String,
}

/// Fetches a file to standard output.
pub async fn to_stdout(files: &FilesClient, name: &FileName) -> Result<(), Failure> {
    let mut stdout = tokio::io::stdout();
    fetch(files, name, &ProgressBar::hidden(), async |piece: Bytes| {
        stdout_result(stdout.write_all(&piece).await)
    })
    .await?;
    stdout_result(stdout.flush().await)
}

/// Fetches a file to a path.
pub async fn to_file(
    files: &FilesClient,
    name: &FileName,
    path: &Path,
    out: Output,
) -> Result<FetchedFile, Failure> {
    let bar = out.progress(name.as_str(), Some(0));
    let mut sink = Sink::open(path).await?;
    let result = fetch(files, name, &bar, async |piece: Bytes| {
        sink.write(&piece).await
    })
    .await;
    bar.finish_and_clear();
    let (size, etag) = result?;
    sink.finish().await?;
    Ok(FetchedFile {
        name: name.clone(),
        file: path.display().to_string(),
        size,
        etag,
    })
}

/// Brings every byte of one version of a file, in order. A connection that breaks
/// is taken up where it broke, as long as the file is still the same version.
async fn fetch(
    files: &FilesClient,
    name: &FileName,
    bar: &ProgressBar,
    mut write: impl AsyncFnMut(Bytes) -> Result<(), Failure>,
) -> Result<(u64, String), Failure> {
    let mut download = files.get(name, &GetOptions::default()).await?;
    let (size, etag) = (download.info().size, download.info().etag.clone());
    bar.set_length(size.unwrap_or(0));
    let mut received = 0u64;
    let mut fruitless = 0;
    loop {
        let error = match download.next().await {
            Ok(None) => return Ok((received, etag)),
            Ok(Some(piece)) => {
                received += piece.len() as u64;
                bar.set_position(received);
                fruitless = 0;
                write(piece).await?;
                continue;
            }
            Err(error) => error,
        };
        let Some(size) = size else {
            return Err(error.into());
        };
        fruitless += 1;
        if etag.is_empty() || fruitless > TRIES || received >= size {
            return Err(error.into());
        }
        download = match resume(files, name, &etag, received, size).await {
            Some(download) => download,
            None => return Err(error.into()),
        };
    }
}

/// The rest of a file from a byte on; `None` where it cannot be had, or is not the
/// rest of the same version.
async fn resume(
    files: &FilesClient,
    name: &FileName,
    etag: &str,
    from: u64,
    size: u64,
) -> Option<chord_api::files::Download> {
    let options = GetOptions {
        range: Some((from, None)),
        if_match: Some(etag.to_string()),
    };
    let download: Result<_, FilesError> = files.get(name, &options).await;
    let download = download.ok()?;
    let info = download.info();
    (download.is_partial() && info.etag == etag && info.size == Some(size - from))
        .then_some(download)
}
