//! The recorded conversation, said again to a node of today over real HTTP.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use chord_ring::wire::RingExchange;
use chord_types::report::NodeReport;
use chord_types::{ProtocolVersion, Speaks};
use serde_json::Value as Json;

use crate::harness::Today;
use crate::recorded::{self, Turn};

/// Node 1 as it was recorded: it gives out one chunk.
fn other() -> Router {
    let chunk = |Path((upload, part)): Path<(String, u32)>| async move {
        let payload = b"from another disk";
        let hash = *blake3::hash(payload).as_bytes();
        match (upload == "05".repeat(16), part) {
            (true, 1) => Ok([&hash[..], payload].concat()),
            _ => Err(axum::http::StatusCode::NOT_FOUND),
        }
    };
    Router::new().route("/peer/chunk/{upload}/{part}", get(chunk))
}

/// Whether today's answer has all that the recorded one has, with what differs from
/// one start to the next left out.
fn same_answer(turn: &Turn, answer: &[u8]) {
    if turn.path == "/peer/report" {
        let read = |bytes: &[u8]| serde_json::from_slice::<Json>(bytes).unwrap();
        return has_all(turn.name, &read(&turn.answer), &read(answer));
    }
    if turn.path == "/peer/ring" && turn.status == 200 {
        // Read, made alike in what differs, and written again: byte for byte.
        let (old, new) = (ring(&turn.answer), ring(answer));
        assert_eq!(new, old, "{}", turn.name);
        return;
    }
    assert_eq!(
        hex::encode(answer),
        hex::encode(&turn.answer),
        "{}: {:?}",
        turn.name,
        String::from_utf8_lossy(answer)
    );
}

fn ring(bytes: &[u8]) -> Vec<u8> {
    let mut exchange: RingExchange = rmp_serde::from_slice(bytes).unwrap();
    let written = rmp_serde::to_vec_named(&exchange).unwrap();
    assert_eq!(hex::encode(written), hex::encode(bytes), "another shape");
    (exchange.available, exchange.number) = (0, 0);
    rmp_serde::to_vec_named(&exchange).unwrap()
}

/// Every key that 0.1.0 looks for is there, with the value that it had.
fn has_all(at: &str, old: &Json, new: &Json) {
    const DIFFERS: [&str; 4] = ["version", "used", "available", "device"];
    match (old, new) {
        (Json::Object(old), Json::Object(new)) => {
            for (key, value) in old {
                let at = format!("{at}.{key}");
                let found = new.get(key).unwrap_or_else(|| panic!("{at} is gone"));
                if DIFFERS.contains(&key.as_str()) {
                    assert_eq!(found.is_string(), value.is_string(), "{at}");
                } else {
                    has_all(&at, value, found);
                }
            }
        }
        (old, new) => assert_eq!(new, old, "{at}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_0_1_0_hears_what_it_heard_then() {
    let today = Today::start(other()).await;
    for turn in recorded::talk() {
        // The message of the first version comes first elsewhere.
        let (status, answer, _) = today.send(&turn, &[]).await;
        assert_eq!(
            status,
            turn.status,
            "{}: {:?}",
            turn.name,
            String::from_utf8_lossy(&answer)
        );
        same_answer(&turn, &answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_conversation_goes_on_in_the_newest_version() {
    let today = Today::start(other()).await;
    let newest = Speaks::OURS.newest.to_string();
    let not_understood = [
        "ring-torn",
        "ring-later",
        "call-torn",
        "push-view-later-format",
    ];
    for turn in recorded::talk() {
        let (status, answer, speaks) = today.send(&turn, &[("x-chord-protocol", &newest)]).await;
        assert_eq!(speaks, Speaks::OURS.to_header(), "{}", turn.name);
        if not_understood.contains(&turn.name) {
            assert_eq!(status, 501, "{}", turn.name);
            assert!(std::str::from_utf8(&answer).is_ok_and(|text| !text.is_empty()));
        } else {
            assert_eq!(status, turn.status, "{}", turn.name);
            same_answer(&turn, &answer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_the_first_version_of_the_ring_is_taken() {
    let today = Today::start(other()).await;
    let turn = recorded::said("ring-first");
    let (status, answer, _) = today.send(&turn, &[]).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    assert_eq!(ring(&answer), ring(&recorded::said("ring").answer));
}

#[test]
fn a_report_of_0_1_0_is_read_and_speaks_the_first_version() {
    let report: NodeReport = serde_json::from_slice(&recorded::said("report").answer).unwrap();
    assert_eq!(report.name, "files-0");
    assert_eq!(report.version, "0.1.0");
    assert_eq!(report.boot, 2);
    assert_eq!(report.inventory.registers, 5);
    assert_eq!(report.speaks, Speaks::UNTOLD);
    assert_eq!(report.speaks.newest, ProtocolVersion::FIRST);
}
