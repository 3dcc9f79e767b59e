//! A file comes whole or not at all, over connections that break.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chord_api::files::FilesClient;
use futures::StreamExt;

use super::{entries, name};
use crate::commands::files::get::fetch::to_file;
use crate::failure::Code;
use crate::output::{Format, Output};

const OUT: Output = Output {
    format: Format::Text,
    verbose: false,
};

/// A server whose first `breaks` answers stop after half of the body.
async fn server(breaks: usize, ranges: bool) -> FilesClient {
    let left = Arc::new(AtomicUsize::new(breaks));
    let answer = move |headers: HeaderMap| {
        let left = Arc::clone(&left);
        async move {
            let from = match headers.get("range").and_then(|v| v.to_str().ok()) {
                Some(range) if ranges => range["bytes=".len()..range.len() - 1].parse().unwrap(),
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

#[tokio::test]
async fn a_whole_file_takes_the_place_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("f");
    std::fs::write(&place, "old").unwrap();
    let fetched = to_file(&server(0, true).await, &name("f"), &place, OUT)
        .await
        .unwrap();
    assert_eq!((fetched.size, fetched.etag.as_str()), (10, "v"));
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
    assert_eq!(failure.code(), Some(Code::Failed));
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
