//! `chord get` and `chord cat`: where a file goes, and that it comes whole or not
//! at all.
//!
//! A file is written beside its place and renamed once every byte has come, so
//! that what was there stays until then.

mod sink;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chord_api::files::{FilesClient, FilesError, GetOptions, ListQuery};
use chord_types::FileName;
use futures::StreamExt;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use self::sink::Sink;
use super::AT_ONCE;
use super::put::{ask_where, places};
use crate::args::{Cat, Get};
use crate::failure::{Failure, Tally};
use crate::output::{Output, bytes, written};
use crate::target::Target;

/// How often a transfer that broke is taken up again without a byte of progress.
const TRIES: u32 = 3;

/// One file that was fetched, as it is told.
#[derive(Debug, Serialize)]
struct Told {
    name: FileName,
    file: String,
    size: u64,
    etag: String,
}

pub async fn run(args: &Get, target: &Target, out: Output) -> Result<(), Failure> {
    if args.recursive {
        return folder(args, target, out).await;
    }
    let name = checked(&args.name)?;
    let files = target.files().await?;
    if args.file.as_deref() == Some(Path::new("-")) {
        return to_stdout(&files, &name).await;
    }
    let place = match &args.file {
        Some(path) if path.is_dir() => path.join(last_part(&name)?),
        Some(path) => path.clone(),
        None => PathBuf::from(last_part(&name)?),
    };
    let told = to_file(&files, &name, &place, out).await?;
    if out.is_json() {
        return out.tell_json(&told);
    }
    out.tell(format!("{}  {}", told.file, bytes(told.size)))?;
    for line in ask_where(&files, &name, out).await.iter().flat_map(places) {
        out.tell(line)?;
    }
    Ok(())
}

pub async fn cat(args: &Cat, target: &Target) -> Result<(), Failure> {
    let files = target.files().await?;
    for name in &args.names {
        to_stdout(&files, name).await?;
    }
    Ok(())
}

/// Everything below a name, into a folder.
async fn folder(args: &Get, target: &Target, out: Output) -> Result<(), Failure> {
    let prefix = if args.name.is_empty() || args.name.ends_with('/') {
        args.name.clone()
    } else {
        format!("{}/", args.name)
    };
    let into = match (&args.file, prefix.trim_end_matches('/').rsplit('/').next()) {
        (Some(path), _) if path == Path::new("-") => {
            return Err(Failure::usage(
                "a folder cannot go to standard output: name a folder for it",
            ));
        }
        (Some(path), _) => path.clone(),
        (None, Some(last)) if is_plain(last) => PathBuf::from(last),
        (None, _) => PathBuf::from("."),
    };
    if into.exists() && !into.is_dir() {
        return Err(Failure::failed(format!(
            "cannot fetch a folder into {}, which is a file: name a folder",
            into.display()
        )));
    }
    let files = target.files().await?;
    let mut tally = Tally::new(out);
    let mut told = Vec::new();
    let mut after = None;
    let mut any = false;
    loop {
        let query = ListQuery {
            prefix: Some(prefix.clone()),
            after,
            ..ListQuery::default()
        };
        let page = files.list(&query).await?;
        any |= !page.files.is_empty();
        let (files, prefix, into) = (&files, prefix.as_str(), into.as_path());
        let mut gets = futures::stream::iter(page.files)
            .map(|entry| async move {
                let name = checked(&entry.name)?;
                let place = below(into, prefix, &name)?;
                make_way(into, &place)?;
                to_file(files, &name, &place, out).await
            })
            .buffer_unordered(AT_ONCE);
        while let Some(result) = gets.next().await {
            match result {
                Ok(one) => {
                    tally.done();
                    if out.is_json() {
                        told.push(one);
                    } else {
                        out.tell(format!("{}  {}", one.file, bytes(one.size)))?;
                    }
                }
                Err(failure) => tally.failed(failure)?,
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !any {
        return Err(Failure::new(
            crate::failure::Code::NotFound,
            format!("there is no file below {prefix:?}"),
        ));
    }
    if out.is_json() {
        out.tell_json(&told)?;
    }
    tally.finish()
}

fn checked(name: &str) -> Result<FileName, Failure> {
    FileName::new(name)
        .map_err(|e| Failure::usage(format!("{name:?} cannot be the name of a file: {e}")))
}

/// Whether a part of a name can be the name of a file on this machine.
fn is_plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".."
}

/// What a file is called here when nobody says.
fn last_part(name: &FileName) -> Result<String, Failure> {
    match name.as_str().rsplit('/').next() {
        Some(part) if is_plain(part) => Ok(part.to_string()),
        _ => Err(Failure::usage(format!(
            "{name:?} ends in nothing that a file can be called: say where to write it"
        ))),
    }
}

/// Where a file goes below a folder; never anywhere else, whatever its name.
fn below(into: &Path, prefix: &str, name: &FileName) -> Result<PathBuf, Failure> {
    let rest = name.as_str().strip_prefix(prefix).unwrap_or(name.as_str());
    if !rest.split('/').all(is_plain) {
        return Err(Failure::failed(format!(
            "{name:?} cannot be a path here: fetch it by itself, with a path for it"
        )));
    }
    Ok(into.join(rest))
}

/// Makes the folders that a file below `into` lies in. A link that is there may lead
/// anywhere: names of the cluster are not to choose what is written through it.
fn make_way(into: &Path, place: &Path) -> Result<(), Failure> {
    let cannot = |path: &Path, e: std::io::Error| {
        Failure::failed(format!("cannot make the folder {}: {e}", path.display()))
    };
    std::fs::create_dir_all(into).map_err(|e| cannot(into, e))?;
    let rest = place.strip_prefix(into).unwrap_or(place);
    let mut path = into.to_path_buf();
    let mut parts = rest.components().peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        let last = parts.peek().is_none();
        if !last {
            match std::fs::create_dir(&path) {
                Ok(()) => continue,
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(cannot(&path, e)),
            }
        }
        match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                return Err(Failure::failed(format!(
                    "cannot write {}: {} is a link, and may lead out of {}: take it away, or fetch this file by itself",
                    place.display(),
                    path.display(),
                    into.display()
                )));
            }
            Ok(found) if !last && !found.is_dir() => {
                return Err(Failure::failed(format!(
                    "cannot write {}: {} is a file",
                    place.display(),
                    path.display()
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Fetches a file to standard output.
async fn to_stdout(files: &FilesClient, name: &FileName) -> Result<(), Failure> {
    let mut stdout = tokio::io::stdout();
    fetch(files, name, &ProgressBar::hidden(), async |piece: Bytes| {
        written(stdout.write_all(&piece).await)
    })
    .await?;
    written(stdout.flush().await)
}

/// Fetches a file to a path.
async fn to_file(
    files: &FilesClient,
    name: &FileName,
    path: &Path,
    out: Output,
) -> Result<Told, Failure> {
    let bar = out.progress(name.as_str(), Some(0));
    let mut sink = Sink::open(path).await?;
    let result = fetch(files, name, &bar, async |piece: Bytes| {
        sink.write(&piece).await
    })
    .await;
    bar.finish_and_clear();
    let (size, etag) = result?;
    sink.finish().await?;
    Ok(Told {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use axum::body::Body;
    use axum::http::{HeaderMap, StatusCode};
    use axum::response::{IntoResponse, Response};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const OUT: Output = Output {
        format: Format::Text,
        verbose: false,
    };

    fn name(text: &str) -> FileName {
        text.parse().unwrap()
    }

    #[test]
    fn names_lead_nowhere_outside_the_folder() {
        assert_eq!(
            below(Path::new("out"), "p/", &name("p/a/b")).unwrap(),
            Path::new("out/a/b")
        );
        for bad in ["p/../../etc/passwd", "p//etc/passwd", "p/a/.", "p/"] {
            assert!(below(Path::new("out"), "p/", &name(bad)).is_err(), "{bad}");
        }
        assert_eq!(last_part(&name("a/b")).unwrap(), "b");
        assert!(last_part(&name("a/..")).is_err());
        assert!(last_part(&name("a/")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_a_link_below_the_folder() {
        use std::os::unix::fs::symlink;
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("into");
        std::fs::create_dir(&into).unwrap();
        symlink(outside.path(), into.join("out")).unwrap();
        symlink(outside.path().join("file"), into.join("file")).unwrap();
        std::fs::write(into.join("plain"), "x").unwrap();
        for bad in ["out/x", "out/deep/x", "file", "plain/x"] {
            let failure = make_way(&into, &into.join(bad)).unwrap_err();
            assert_eq!(failure.code(), Some(crate::failure::Code::Failed), "{bad}");
        }
        assert!(entries(outside.path()).is_empty());
        make_way(&into, &into.join("a/b/c")).unwrap();
        make_way(&into, &into.join("a/b/d")).unwrap();
        make_way(&into, &into.join("plain")).unwrap();
        assert!(into.join("a/b").is_dir());
        let link = folder.path().join("link");
        symlink(&into, &link).unwrap();
        make_way(&link, &link.join("e/f")).unwrap();
        assert!(
            into.join("e").is_dir(),
            "the folder itself is one's own choice"
        );
    }

    /// A server whose first `breaks` answers stop after half of the body.
    async fn server(breaks: usize, ranges: bool) -> FilesClient {
        let left = Arc::new(AtomicUsize::new(breaks));
        let answer = move |headers: HeaderMap| {
            let left = Arc::clone(&left);
            async move {
                let from = match headers.get("range").and_then(|v| v.to_str().ok()) {
                    Some(range) if ranges => {
                        range["bytes=".len()..range.len() - 1].parse().unwrap()
                    }
                    _ => 0,
                };
                let whole = &b"0123456789"[from..];
                let cut = left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok();
                let body = if cut {
                    let half = Bytes::copy_from_slice(&whole[..whole.len() / 2]);
                    let pieces = [Ok(half), Err(std::io::Error::other("gone"))];
                    Body::from_stream(futures::stream::iter(pieces).then(|piece| async {
                        tokio::task::yield_now().await;
                        piece
                    }))
                } else {
                    Body::from(whole)
                };
                let status = if from > 0 {
                    StatusCode::PARTIAL_CONTENT
                } else {
                    StatusCode::OK
                };
                let length = whole.len().to_string();
                let headers = [("content-length", length.as_str()), ("etag", "\"v\"")];
                let answer: Response = (status, headers, body).into_response();
                answer
            }
        };
        let router = axum::Router::new().route("/files/{*name}", axum::routing::get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        FilesClient::new(&address.to_string()).unwrap()
    }

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_whole_file_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("f");
        std::fs::write(&place, "old").unwrap();
        let told = to_file(&server(0, true).await, &name("f"), &place, OUT)
            .await
            .unwrap();
        assert_eq!((told.size, told.etag.as_str()), (10, "v"));
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "0123456789");
        assert_eq!(entries(folder.path()), ["f"]);
    }

    #[tokio::test]
    async fn a_file_that_breaks_off_leaves_the_old_one_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("f");
        std::fs::write(&place, "old").unwrap();
        let failure = to_file(&server(usize::MAX, false).await, &name("f"), &place, OUT)
            .await
            .unwrap_err();
        assert_eq!(failure.code(), Some(crate::failure::Code::Failed));
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "old");
        assert_eq!(entries(folder.path()), ["f"]);
    }

    #[tokio::test]
    async fn a_broken_connection_is_taken_up_where_it_broke() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("f");
        to_file(&server(2, true).await, &name("f"), &place, OUT)
            .await
            .unwrap();
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "0123456789");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn links_stay_and_what_they_lead_to_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        to_file(&server(0, true).await, &name("f"), &link, OUT)
            .await
            .unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "0123456789");
        to_file(
            &server(0, true).await,
            &name("f"),
            Path::new("/dev/null"),
            OUT,
        )
        .await
        .unwrap();
        assert!(
            !Path::new("/dev/null").metadata().unwrap().is_file(),
            "a device stays a device"
        );
    }
}
