//! The program as scripts run it: with nobody reading what it says, ended in the
//! middle, and with its errors read by a program. The cluster is a stand-in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, which clippy does not know for such"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use serde_json::{Value, json};

/// Something that takes longer than this never comes.
const PATIENCE: Duration = Duration::from_secs(60);

type Names = Arc<Mutex<BTreeSet<String>>>;

/// A cluster that keeps names, and gives each file half of what it promises.
struct Cluster {
    endpoint: String,
    names: Names,
    _runtime: tokio::runtime::Runtime,
}

impl Cluster {
    fn with(names: impl IntoIterator<Item = String>) -> Cluster {
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

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chord"));
        command
            .args(args)
            .args(["--endpoint", &self.endpoint])
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn names(&self) -> usize {
        self.names.lock().unwrap().len()
    }
}

async fn store(State(names): State<Names>, UrlPath(name): UrlPath<String>, _: Bytes) -> Response {
    names.lock().unwrap().insert(name);
    (StatusCode::CREATED, [("etag", "\"v\"")]).into_response()
}

async fn delete(State(names): State<Names>, UrlPath(name): UrlPath<String>) -> StatusCode {
    match names.lock().unwrap().remove(&name) {
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
    if !names.lock().unwrap().contains(&name) {
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
        .unwrap()
        .iter()
        .map(|name| json!({"name": name, "size": 10, "etag": "v", "modified": "", "contentType": null}))
        .collect();
    axum::Json(json!({"files": files, "prefixes": [], "next": null}))
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("many/{n}"))
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn ends(child: &mut Child) -> Option<i32> {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < limit, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn entries(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn work_is_done_to_its_end_though_nobody_reads_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let many = dir.path().join("many");
    std::fs::create_dir(&many).unwrap();
    for n in 0..40 {
        std::fs::write(many.join(n.to_string()), "x").unwrap();
    }
    let cluster = Cluster::with([]);
    let many = many.display().to_string();
    for format in ["text", "json"] {
        let out = dir.path().join(format).display().to_string();
        for (args, left) in [
            (vec!["put", "-r", &many, "-o", format], 40),
            (vec!["get", "-r", "many", &out, "-o", format], 40),
            (vec!["rm", "-r", "-v", "many", "-o", format], 0),
        ] {
            let mut command = cluster.command(&args);
            let mut child = command.stdout(closed()).stderr(closed()).spawn().unwrap();
            assert_eq!(ends(&mut child), Some(0), "{args:?}");
            assert_eq!(cluster.names(), left, "{args:?}");
        }
        assert_eq!(entries(Path::new(&out)).len(), 40);
    }
}

#[test]
fn a_failure_is_one_though_nobody_reads_of_it() {
    let cluster = Cluster::with(numbered(1));
    let mut command = cluster.command(&["rm", "gone", "many/0", "gone-too"]);
    let mut child = command.stdout(closed()).stderr(closed()).spawn().unwrap();
    assert_eq!(ends(&mut child), Some(3));
    assert_eq!(cluster.names(), 0, "what could be deleted is");
}

#[test]
fn a_command_that_is_ended_takes_what_it_began_to_write_away() {
    let cluster = Cluster::with(["endless".to_string()]);
    let dir = tempfile::tempdir().unwrap();
    let mut child = cluster
        .command(&["get", "endless"])
        .current_dir(dir.path())
        .spawn()
        .unwrap();
    let limit = Instant::now() + PATIENCE;
    while entries(dir.path()).is_empty() {
        assert!(Instant::now() < limit, "it does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(ends(&mut child), Some(143));
    assert!(entries(dir.path()).is_empty(), "{:?}", entries(dir.path()));
}

#[test]
fn programs_read_every_error_as_json() {
    let cluster = Cluster::with([]);
    for (args, code, lines) in [
        (&["rm", "a", "b", "-o", "json"][..], 3, 3),
        (&["stat", "a", "-o", "json"], 3, 1),
        (&["ls", "--limit", "x", "--output=json"], 2, 1),
        (&["nonsense", "-o", "json"], 2, 1),
        (&["put", "x", "--meta", "a b=c", "-o", "json"], 2, 1),
    ] {
        let ran = cluster.run(args);
        assert_eq!(ran.status.code(), Some(code), "{args:?}");
        let told: Vec<Value> = String::from_utf8(ran.stderr)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        assert_eq!(told.len(), lines, "{args:?}: {told:?}");
        for one in told {
            assert!(one["error"].is_string() && one["exit"] == code, "{one}");
        }
    }
}

#[test]
fn stat_says_why_a_file_cannot_be_looked_up() {
    let ran = Cluster::with([]).run(&["stat", "lost"]);
    assert_eq!(ran.status.code(), Some(5));
    let told = String::from_utf8(ran.stderr).unwrap();
    for words in ["lost", "2 of 3 nodes do not answer"] {
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_media_type_that_nobody_said_is_listed_as_none() {
    let ran = Cluster::with(numbered(1)).run(&["ls", "-o", "json"]);
    let listed: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(listed["files"][0].get("contentType"), Some(&Value::Null));
}

#[test]
fn errors_name_what_they_are_about() {
    let cluster = Cluster::with(numbered(3));
    let ran = cluster.run(&["stat", "letter.txt"]);
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(told.contains("letter.txt"), "{told}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let ran = cluster.run(&["get", "-r", "many", &file.display().to_string()]);
    assert_eq!(ran.status.code(), Some(1));
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(told.lines().count(), 1, "once, not for each file: {told}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}
