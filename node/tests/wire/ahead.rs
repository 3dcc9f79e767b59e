//! What a release to come may send: it is answered "not understood", with the versions
//! that are spoken here, and changes nothing.

use chord_node::node::Node;
use chord_node::peer::wire::{Call, Request};
use chord_ring::wire::RING_VERSION;
use chord_types::Speaks;
use serde::Serialize;

use crate::expected::{self, ballot, name};
use crate::harness::Today;
use crate::messages::header;
use crate::recorded::{Turn, message, said};

/// All that a message could have changed.
async fn state(node: &Node) -> String {
    let kept = node
        .store
        .read(|txn| {
            let registers = txn.registers_by_name("", None, 100)?;
            Ok((
                registers,
                txn.promise(&name("n"))?,
                txn.view(),
                txn.counts()?,
            ))
        })
        .await
        .unwrap();
    let points: Vec<_> = node.ring.read_host(|host| {
        let vnodes = host.vnodes();
        vnodes
            .map(|v| format!("{:?} {:?}", v.pred(), v.successors()))
            .collect()
    });
    format!("{kept:?} {points:?} {:?}", node.view.reference())
}

async fn is_not_understood(today: &Today, turn: &Turn, version: &str, part: &str) {
    let before = state(&today.node).await;
    let headers = [("x-chord-protocol", version)];
    let (status, answer, speaks) = today.send(turn, &headers).await;
    let text = String::from_utf8_lossy(&answer);
    assert_eq!(status, 501, "{}: {text}", turn.name);
    assert!(text.contains(part), "{}: {text}", turn.name);
    assert_eq!(speaks, Speaks::OURS.to_header());
    assert_eq!(state(&today.node).await, before, "{}", turn.name);
}

fn packed(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap()
}

#[derive(Serialize)]
struct LaterCall<R> {
    header: chord_node::peer::wire::Header,
    request: R,
    urgency: u8,
}

#[derive(Serialize)]
enum LaterRequest {
    Forget { everything: bool },
}

#[derive(Serialize)]
enum LongerRequest {
    Prepare {
        name: chord_types::FileName,
        ballot: chord_register::Ballot,
        bytes: u64,
        lease_ms: u64,
    },
}

fn call(request: impl Serialize) -> Turn {
    let later = LaterCall {
        header: header(),
        request,
        urgency: 9,
    };
    Turn {
        body: packed(&later),
        ..said("prepare")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_spoken_is_not_understood_whatever_it_says() {
    let today = Today::start(axum::Router::new()).await;
    let later = (Speaks::OURS.newest.0 + 1).to_string();
    for turn in [
        "prepare",
        "accept",
        "put-chunk",
        "ring",
        "push-view",
        "view",
        "get-chunk",
    ] {
        is_not_understood(&today, &said(turn), &later, "version 3").await;
    }
    is_not_understood(&today, &said("prepare"), "0", "version 0").await;
    is_not_understood(&today, &said("prepare"), "newest", "names no version").await;
    // Which versions a node speaks is told to everybody.
    let (status, _, speaks) = today
        .send(&said("report"), &[("x-chord-protocol", &later)])
        .await;
    assert_eq!((status, speaks), (200, Speaks::OURS.to_header()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_release_does_not_know_is_not_understood() {
    let today = Today::start(axum::Router::new()).await;
    let newest = Speaks::OURS.newest.to_string();
    let refused = async |turn: &Turn, part: &str| {
        is_not_understood(&today, turn, &newest, part).await;
    };
    let forget = call(LaterRequest::Forget { everything: true });
    refused(&forget, "cannot read the call").await;
    let path = Turn {
        path: "/peer/forget",
        ..said("prepare")
    };
    refused(&path, "it knows no POST /peer/forget").await;
    let method = Turn {
        method: "DELETE",
        ..said("view")
    };
    refused(&method, "it knows no DELETE /peer/view").await;
    let chunk = Turn {
        head: Some("83a4"),
        ..said("put-chunk")
    };
    refused(&chunk, "X-Chord-Chunk").await;
    refused(&said("push-view-later-format"), "format 3").await;
    let mut ring = chord_node::peer::ring::decode(&message("ring.2")).unwrap();
    ring.version = RING_VERSION + 1;
    let ring = Turn {
        body: packed(&ring),
        ..said("ring")
    };
    refused(&ring, "version 3").await;

    // To who speaks the first version it is said as 0.1.0 said it.
    let before = state(&today.node).await;
    let (status, answer, _) = today.send(&forget, &[]).await;
    assert_eq!(status, 400);
    let refusal = rmp_serde::from_slice(&answer).unwrap();
    assert!(
        matches!(&refusal, chord_node::peer::wire::Refusal::Failed(why) if why.to_string().contains("cannot read the call")),
        "{refusal:?}"
    );
    assert_eq!(state(&today.node).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_this_release_does_not_know_is_passed_over() {
    let today = Today::start(axum::Router::new()).await;
    let newest = Speaks::OURS.newest.to_string();
    let longer = call(LongerRequest::Prepare {
        name: name("n"),
        ballot: ballot(1, 1),
        bytes: 1029,
        lease_ms: 7,
    });
    let headers = [("x-chord-protocol", newest.as_str())];
    let (status, answer, _) = today.send(&longer, &headers).await;
    assert_eq!((status, answer), (200, said("prepare").answer));
}

/// The owners that do not understand have no vote, and the client is told whom to
/// upgrade.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_understand_is_no_part_of_a_quorum() {
    let foreign = axum::Router::new().fallback(|| async {
        let speaks = [("x-chord-speaks", "3-4")];
        (
            axum::http::StatusCode::NOT_IMPLEMENTED,
            speaks,
            "it does not read this",
        )
    });
    let today = Today::start(foreign).await;
    let refused = today.node.quorum.read(&name("inline")).await.unwrap_err();
    let text = chord_api::causes::words(&refused);
    assert!(text.contains("upgrade this node"), "{text}");
    let held = today.node.store.read(|txn| txn.register(&name("inline")));
    let held = held.await.unwrap().unwrap();
    assert_eq!(held, (ballot(1, 7), expected::value("inline")));
}

/// A call of today still has the shape of the recorded one.
#[test]
fn the_calls_of_these_tests_differ_from_todays_in_what_is_new_only() {
    let today = Call {
        header: header(),
        request: Request::Prepare {
            name: name("n"),
            ballot: ballot(1, 1),
            bytes: 1029,
        },
    };
    assert_eq!(packed(&today), said("prepare").body);
}
