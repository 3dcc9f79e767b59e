//! What tests of the program share: a stand-in for a cluster, and waiting for processes.

#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Something that takes longer than this never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// parking_lot's mutex: nothing is awaited while it is held.
pub type Names = Arc<Mutex<BTreeSet<String>>>;

/// A cluster that keeps names, and gives each file half of what it promises.
pub struct Cluster {
    pub endpoint: String,
    names: Names,
    _runtime: tokio::runtime::Runtime,
}

impl Cluster {
    /// One that has these files.
    pub fn with(names: impl IntoIterator<Item = String>) -> Cluster {
        let names: Names = Arc::new(Mutex::new(names.into_iter().collect()));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let file = get(fetch).put(store).delete(delete);
        let router = axum::Router::new()
            .route("/files", get(list))
            .route("/files/{*name}", file)
            .with_state(Arc::clone(&names));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Cluster {
            endpoint,
            names,
            _runtime: runtime,
        }
    }

    /// The program, asked for this of the cluster.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chord"));
        command
            .args(args)
            .args(["--endpoint", &self.endpoint])
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// How many files there are.
    pub fn names(&self) -> usize {
        self.names.lock().len()
    }
}

async fn store(State(names): State<Names>, UrlPath(name): UrlPath<String>, _: Bytes) -> Response {
    names.lock().insert(name);
    (StatusCode::CREATED, [("etag", "\"v\"")]).into_response()
}

async fn delete(State(names): State<Names>, UrlPath(name): UrlPath<String>) -> StatusCode {
    match names.lock().remove(&name) {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::NOT_FOUND,
    }
}

async fn fetch(State(names): State<Names>, UrlPath(name): UrlPath<String>) -> Response {
    if name == "lost" {
        let problem = json!({
            "type": "urn:chord:no-quorum", "title": "No quorum", "status": 503,
            "detail": "2 of 3 nodes do not answer",
        });
        return (StatusCode::SERVICE_UNAVAILABLE, axum::Json(problem)).into_response();
    }
    if !names.lock().contains(&name) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"12345"))]);
    let rest = futures::stream::iter([Ok(Bytes::from_static(b"67890"))]);
    let body = if name == "endless" {
        Body::from_stream(first.chain(futures::stream::pending()))
    } else {
        Body::from_stream(first.chain(rest))
    };
    ([("etag", "\"v\""), ("content-length", "10")], body).into_response()
}

async fn list(State(names): State<Names>) -> axum::Json<Value> {
    let files: Vec<Value> = names
        .lock()
        .iter()
        .map(|name| json!({"name": name, "size": 10, "etag": "v", "modified": "", "contentType": null}))
        .collect();
    axum::Json(json!({"files": files, "prefixes": [], "next": null}))
}

/// Names with numbers.
pub fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("many/{n}"))
}

/// A pipe that nobody reads.
pub fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// How a process ends.
pub fn ends(child: &mut Child) -> Option<i32> {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < limit, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The names in a folder.
pub fn entries(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Waits for something to hold.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
