//! Today's client and a node of 0.1.0: what it is sent is what 0.1.0 sent itself, and
//! its recorded answers are understood. Then nodes of releases to come.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chord_api::causes;
use chord_api::client::{NodeClient, NodeError};
use chord_node::peer::address::AddressBook;
use chord_node::peer::ring::decode;
use chord_node::peer::wire::{Call, ChunkHeader, Refusal, Request};
use chord_node::peer::{PeerClient, PeerError};
use chord_types::blocks::verify;
use chord_types::{Ordinal, ProtocolVersion, Speaks, View};
use parking_lot::Mutex;

use crate::expected::{self, chunk};
use crate::harness::{SECRET, addresses, serve};
use crate::messages::header;
use crate::recorded::{message, said};

const TO: Ordinal = Ordinal(0);

/// What a request was, as far as it counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    path: String,
    head: Option<String>,
    written: Option<String>,
    body: Vec<u8>,
}

/// Status, bytes, and the versions that are said to be spoken.
type Given = (u16, Vec<u8>, Option<&'static str>);

/// A node that gives a fixed answer and remembers what it was asked.
#[derive(Clone)]
struct Fake {
    answer: Arc<Mutex<Given>>,
    got: Arc<Mutex<Vec<Got>>>,
}

async fn answer(State(fake): State<Fake>, request: HttpRequest) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        let value = parts.headers.get(name)?;
        Some(value.to_str().unwrap().to_string())
    };
    let mut got = Got {
        path: parts.uri.to_string(),
        head: header("x-chord-chunk"),
        written: header("x-chord-protocol"),
        body: Vec::new(),
    };
    let body = axum::body::to_bytes(body, 1 << 20).await;
    got.body = body.unwrap().to_vec();
    fake.got.lock().push(got);
    let (status, body, speaks) = fake.answer.lock().clone();
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    if let Some(speaks) = speaks {
        let speaks = speaks.parse().unwrap();
        response.headers_mut().insert("x-chord-speaks", speaks);
    }
    response
}

/// A client of today, and the node that it asks.
struct Pair {
    client: PeerClient,
    fake: Fake,
    url: String,
    _dir: tempfile::TempDir,
}

impl Pair {
    async fn new() -> Pair {
        let fake = Fake {
            answer: Arc::default(),
            got: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(fake.clone());
        let url = serve(router).await;
        let dir = tempfile::tempdir().unwrap();
        let book = AddressBook::file(addresses(dir.path(), &[(TO.0, &url)]));
        Pair {
            client: PeerClient::new(SECRET.into(), Arc::new(book)).unwrap(),
            fake,
            url,
            _dir: dir,
        }
    }

    fn answers(&self, status: u16, body: impl Into<Vec<u8>>, speaks: Option<&'static str>) {
        *self.fake.answer.lock() = (status, body.into(), speaks);
    }

    /// Answers as in a turn of the recorded conversation.
    fn answers_as(&self, turn: &str) {
        let turn = said(turn);
        self.answers(turn.status, turn.answer, None);
    }

    fn got(&self) -> Got {
        self.fake.got.lock().pop().unwrap()
    }

    async fn call(&self, request: Request) -> Result<chord_node::peer::wire::Answer, PeerError> {
        let call = Call {
            header: header(),
            request,
        };
        self.client.call(TO, &call).await
    }

    async fn ask(&self) -> Result<chord_node::peer::wire::Answer, PeerError> {
        self.call(Request::Committed { chunks: vec![] }).await
    }
}

#[tokio::test]
async fn a_node_of_0_1_0_is_sent_what_0_1_0_sent() {
    let pair = Pair::new().await;
    let done = message("reply.done");
    pair.answers(200, done, None);
    let all: BTreeMap<_, _> = expected::requests().into_iter().collect();
    for (name, request) in all {
        assert!(pair.call(request).await.is_ok());
        let (turn, got) = (said(name), pair.got());
        assert_eq!(hex::encode(got.body), hex::encode(turn.body), "{name}");
        assert_eq!(got.path, turn.path);
        assert_eq!(got.written.as_deref(), Some("1"), "{name}");
    }
    let turn = said("put-chunk");
    let head = ChunkHeader {
        header: header(),
        name: expected::name("n4"),
        chunk: expected::put(),
        committed: false,
    };
    let pieces = vec![Bytes::from_static(b"pu"), Bytes::from_static(b"t")];
    pair.client.put_chunk(TO, &head, pieces).await.unwrap();
    let got = pair.got();
    assert_eq!((got.head.as_deref(), got.body), (turn.head, turn.body));

    let turn = said("push-view");
    let view = View::decode(&turn.body).unwrap();
    pair.client.push_view(TO, &view).await.unwrap();
    assert_eq!(pair.got().body, turn.body);

    let exchange = decode(&message("ring.2")).unwrap();
    pair.answers_as("ring");
    let answer = pair.client.ring(TO, &exchange).await.unwrap();
    assert_eq!(answer.speaks, None);
    assert!(decode(&answer.bytes).is_ok());
    assert_eq!(pair.got().body, message("ring.2"));
}

#[tokio::test]
async fn answers_of_0_1_0_are_understood() {
    let pair = Pair::new().await;
    for (name, reply) in expected::replies() {
        pair.answers(200, message(&format!("reply.{name}")), None);
        let answer = pair.ask().await;
        let same = match (&reply, &answer) {
            (Ok(says), Ok(read)) => format!("{says:?}") == format!("{read:?}"),
            (Err(says), Err(PeerError::Refused(TO, read))) => says == read,
            _ => false,
        };
        assert!(same, "{name}: {answer:?}");
        // The same refusals with a status of their own, as chunks have them.
        if let Err(says) = reply {
            pair.answers(409, message(&format!("refusal.{name}")), None);
            let answer = pair.ask().await;
            assert!(
                matches!(&answer, Err(PeerError::Refused(TO, read)) if *read == says),
                "{name}: {answer:?}"
            );
        }
    }
    pair.answers_as("view");
    assert_eq!(pair.client.view(TO).await.unwrap(), expected::view());
    pair.answers_as("report");
    let report = pair.client.report(TO).await.unwrap();
    assert_eq!(report.speaks, Speaks::UNTOLD);
    pair.answers_as("get-chunk");
    let blocks = pair.client.get_blocks(TO, chunk(4, 1), 0..1, 1).await;
    let blocks = blocks.unwrap();
    assert_eq!(blocks.data, b"put"[..]);
    let root = expected::put().root;
    assert_eq!(verify(root, &blocks.hashes, 0..1, &blocks.data), Ok(()));
    assert_eq!(pair.got().path, said("get-chunk").path);
    pair.answers_as("put-chunk-torn");
    let torn = pair.ask().await;
    assert!(matches!(
        torn,
        Err(PeerError::Refused(TO, Refusal::Failed(_)))
    ));
    assert_eq!(pair.client.speaks(TO), Some(Speaks::UNTOLD));
}

#[tokio::test]
async fn what_0_1_0_could_not_read_is_not_understood_and_no_refusal() {
    let pair = Pair::new().await;
    for turn in ["call-torn", "ring-torn"] {
        pair.answers_as(turn);
        match pair.ask().await {
            Err(PeerError::NotUnderstood(TO, what)) => {
                assert_eq!(what.speaks, Speaks::UNTOLD);
                assert_eq!(what.written, ProtocolVersion::FIRST);
                assert!(!what.why.is_empty());
            }
            other => panic!("{turn}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn each_node_is_written_to_in_the_newest_version_that_both_know() {
    let pair = Pair::new().await;
    let written = async |speaks: Option<&'static str>| {
        pair.answers(200, message("reply.done"), speaks);
        pair.ask().await.unwrap();
        pair.got().written.unwrap()
    };
    assert_eq!(
        written(Some("1-2")).await,
        "1",
        "nothing is known of it yet"
    );
    assert_eq!(written(Some("1-2")).await, "2");
    assert_eq!(written(Some("2-3")).await, "2");
    assert_eq!(written(None).await, "2");
    assert_eq!(written(Some("1-2")).await, "1", "it went back to 0.1.0");
    assert_eq!(written(Some("3-4")).await, "2");
    assert_eq!(
        written(Some("1-2")).await,
        "1",
        "it may have gone back since"
    );
}

#[tokio::test]
async fn a_node_that_does_not_understand_is_neither_silent_nor_does_it_refuse() {
    let pair = Pair::new().await;
    pair.answers(
        501,
        "it does not read version 1 of the protocol",
        Some("3-4"),
    );
    let error = pair.ask().await.unwrap_err();
    assert!(matches!(&error, PeerError::NotUnderstood(TO, what) if what.speaks.newest.0 == 4));
    let words = causes::words(&error);
    for part in [
        "node 0 does not understand this node",
        "does not read version 1",
        "node 0 speaks version 3 to 4",
        "this node 1 to 2",
        "upgrade this node to",
    ] {
        assert!(words.contains(part), "{part:?} is not in {words:?}");
    }
    // The next is written in what both know, once it is known.
    pair.answers(
        501,
        "it does not read version 1 of the protocol",
        Some("2-3"),
    );
    let error = pair.ask().await.unwrap_err();
    assert!(matches!(error, PeerError::NotUnderstood(..)), "{error:?}");
    pair.answers(200, message("reply.done"), Some("2-3"));
    assert!(pair.ask().await.is_ok());
    assert_eq!(pair.got().written.as_deref(), Some("2"));
    // The same status from something between says nothing of the node.
    pair.answers(501, "<html>", None);
    let error = pair.ask().await.unwrap_err();
    assert!(matches!(error, PeerError::Unreadable(..)), "{error:?}");
    assert_eq!(pair.client.speaks(TO).unwrap().newest.0, 3);
}

/// The operator's client, on the same nodes.
#[tokio::test]
async fn the_operator_reads_reports_of_both_releases_and_knows_who_does_not_understand_it() {
    let pair = Pair::new().await;
    let operator = NodeClient::new(SECRET, std::time::Duration::from_secs(5)).unwrap();
    pair.answers_as("report");
    let report = operator.report(&pair.url).await.unwrap();
    assert_eq!(report.speaks, Speaks::UNTOLD);
    assert_eq!(pair.got().written.as_deref(), Some("1"));
    // A later release's, with fields that are not known here.
    let mut later: serde_json::Value = serde_json::from_slice(&said("report").answer).unwrap();
    later["speaks"] = serde_json::json!({"oldest": 3, "newest": 4, "draft": true});
    later["weather"] = serde_json::json!("fine");
    pair.answers(200, later.to_string(), Some("3-4"));
    let report = operator.report(&pair.url).await.unwrap();
    assert_eq!(report.speaks.newest, ProtocolVersion(4));

    let view = View::decode(&said("push-view").body).unwrap();
    pair.answers(
        501,
        "it does not read version 1 of the protocol",
        Some("3-4"),
    );
    let error = operator.push_view(&pair.url, &view).await.unwrap_err();
    assert!(
        matches!(&error, NodeError::NotUnderstood { speaks, .. } if speaks.oldest.0 == 3),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("upgrade this program"),
        "{error}"
    );
    assert_eq!(pair.got().body, said("push-view").body);
    // A view that is refused is another matter.
    pair.answers_as("push-view-old");
    let error = operator.push_view(&pair.url, &view).await.unwrap_err();
    assert!(
        matches!(error, NodeError::Refused { status: 409, .. }),
        "{error:?}"
    );
}
