//! Each kind of message: read to what it says, and written as it was.

use std::fmt::Debug;

use bytes::Bytes;
use chord_node::peer::ring::decode;
use chord_node::peer::wire::{Answer, Call, ChunkHeader, Header, Reply, Request};
use chord_register::{OpId, Outcome, Pending, Value};
use chord_ring::wire::{RING_VERSION, RING_VERSION_OLDEST, RingExchange};
use chord_types::blocks::Root;
use chord_types::manifest::Body;
use chord_types::{ChunkRef, ClusterUid, Manifest, Ordinal, UploadId, View};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::expected::{self, PAYLOAD};
use crate::harness::UID;
use crate::recorded::{message, messages, said};

/// The recorded bytes say this, and this is written as the recorded bytes.
fn same<T: Serialize + DeserializeOwned + Debug>(what: &str, recorded: &[u8], says: &T) {
    let read: T = rmp_serde::from_slice(recorded).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(format!("{read:?}"), format!("{says:?}"), "{what}");
    let written = rmp_serde::to_vec_named(says).unwrap();
    assert_eq!(hex::encode(written), hex::encode(recorded), "{what}");
}

pub fn header() -> Header {
    let view = expected::view();
    Header {
        cluster: ClusterUid(UID.into()),
        view: view.reference(),
        to: view.members()[0].disk,
        from: Ordinal(1),
    }
}

#[test]
fn every_kind_of_request_is_read_and_written_as_0_1_0_has_it() {
    let mut kinds = std::collections::BTreeSet::new();
    for (turn, request) in expected::requests() {
        // A kind that is added has to be added here, with the release it came in.
        kinds.insert(match &request {
            Request::Prepare { .. } => 0,
            Request::Accept { .. } => 1,
            Request::Read { .. } => 2,
            Request::Ballots { .. } => 3,
            Request::Names { .. } => 4,
            Request::HasChunks { .. } => 5,
            Request::Ensure { .. } => 6,
            Request::Committed { .. } => 7,
            Request::Reap { .. } => 8,
            Request::UploadActive { .. } => 9,
            Request::VerifyChunk { .. } => 10,
            Request::Reading { .. } => 11,
        });
        let call = Call {
            header: header(),
            request,
        };
        same(turn, &said(turn).body, &call);
    }
    assert_eq!(kinds.len(), 12);
}

#[test]
fn every_kind_of_answer_and_refusal_is_read_and_written_as_0_1_0_has_it() {
    let mut kinds = std::collections::BTreeSet::new();
    for (name, reply) in expected::replies() {
        if let Ok(answer) = &reply {
            kinds.insert(match answer {
                Answer::Promise(_) => 0,
                Answer::Vote(_) => 1,
                Answer::Read { .. } => 2,
                Answer::Ballots(_) => 3,
                Answer::Names(_) => 4,
                Answer::Has(_) => 5,
                Answer::Active(_) => 6,
                Answer::Checked(_) => 7,
                Answer::Done => 8,
            });
        }
        same::<Reply>(name, &message(&format!("reply.{name}")), &reply);
        if let Err(refusal) = &reply {
            same(name, &message(&format!("refusal.{name}")), refusal);
        }
    }
    assert_eq!(kinds.len(), 9);
    let recorded = messages().into_keys().filter(|n| n.starts_with("reply."));
    assert_eq!(recorded.count(), expected::replies().len());
}

#[test]
fn values_and_manifests_are_written_as_0_1_0_has_them() {
    for name in expected::VALUES {
        let value = expected::value(name);
        same::<Value>(name, &message(&format!("value.{name}")), &value);
        if let Some(manifest) = &value.current {
            same::<Manifest>(name, &message(&format!("manifest.{name}")), manifest);
        }
    }
    same("a ballot", &message("ballot"), &expected::ballot(1, 7));
}

fn remembers(value: &Value, counter: u64) -> Option<&Outcome> {
    value.remembers(&OpId {
        disk: expected::disk(9),
        boot: 4,
        counter,
    })
}

#[test]
fn values_of_0_1_0_say_what_they_said() {
    assert_eq!(expected::value("absent"), Value::default());

    let inline = expected::value("inline");
    assert_eq!((inline.seq, inline.version), (1, 1));
    assert!(inline.pending.is_empty());
    let outcome = Outcome::Committed {
        version: 1,
        etag: "1-f1".into(),
        replaced: false,
    };
    assert_eq!(remembers(&inline, 1), Some(&outcome));
    assert_eq!(remembers(&inline, 2), None);
    let file = inline.current.unwrap();
    assert_eq!(
        (file.version, file.etag.as_str(), file.size),
        (1, "1-f1", 5)
    );
    assert_eq!(file.modified_ms, 1_790_000_000_123);
    assert_eq!(file.content_type.as_deref(), Some("text/plain"));
    let meta = serde_json::to_value(&file.meta).unwrap();
    assert_eq!(meta, serde_json::json!([["colour", "blue"]]));
    assert_eq!(file.body, Body::Inline(Bytes::from_static(b"hello")));

    let pending = expected::value("pending");
    assert_eq!((pending.seq, pending.version), (1, 0));
    assert_eq!(pending.current, None);
    let upload = UploadId::from_bytes([2; 16]);
    let begun = Pending {
        upload,
        disk: expected::disk(9),
        boot: 4,
        since_ms: 1_790_000_000_000,
    };
    assert_eq!(pending.pending, [begun]);

    let chunked = expected::value("chunked");
    assert_eq!((chunked.seq, chunked.version), (2, 1));
    assert!(chunked.pending.is_empty() && chunked.names_upload(&upload));
    let part = |payload: &[u8]| ChunkRef {
        size: payload.len() as u32,
        root: Root::of(payload).0,
    };
    let chunks = vec![part(PAYLOAD), part(b"hello")];
    assert_eq!(
        chunked.current.unwrap().body,
        Body::Chunks { upload, chunks }
    );

    let tombstone = expected::value("tombstone");
    assert_eq!((tombstone.seq, tombstone.version), (2, 2));
    assert_eq!(tombstone.current, None);
    let outcome = Outcome::Deleted { version: 2 };
    assert_eq!(remembers(&tombstone, 3), Some(&outcome));

    let big = expected::value("big");
    assert_eq!((big.seq, big.version), (3, 2));
    let replaced = remembers(&big, 5).cloned();
    let body = Body::Inline(Bytes::from(vec![b'b'; 600]));
    assert_eq!(big.current.unwrap().body, body);
    assert!(matches!(
        replaced,
        Some(Outcome::Committed { replaced: true, .. })
    ));
}

#[test]
fn the_header_of_a_chunk_is_read_and_written_as_0_1_0_has_it() {
    let recorded = hex::decode(said("put-chunk").head.unwrap()).unwrap();
    let head = ChunkHeader {
        header: header(),
        name: expected::name("n4"),
        chunk: expected::put(),
        committed: false,
    };
    same("the header of a chunk", &recorded, &head);
}

#[test]
fn exchanges_of_the_ring_of_both_versions_are_read() {
    let view = expected::view();
    let says = RingExchange {
        version: RING_VERSION,
        cluster: ClusterUid(UID.into()),
        from: Ordinal(1),
        disk: view.members()[1].disk,
        boot: 1,
        number: 1,
        view: view.reference(),
        available: 1 << 30,
        messages: expected::envelopes(),
    };
    same("an exchange", &message("ring.2"), &says);
    assert_eq!(decode(&message("ring.2")).unwrap(), says);
    // Written before exchanges had a version and a number.
    let first = decode(&message("ring.1")).unwrap();
    let as_first = RingExchange {
        version: RING_VERSION_OLDEST,
        number: 0,
        ..says
    };
    assert_eq!(first, as_first);
}

#[test]
fn views_are_read_and_hashed_as_0_1_0_has_them() {
    let (mut before, mut epoch) = (None::<View>, 0);
    for name in ["first", "joint", "placed", "stable"] {
        let recorded = message(&format!("view.{name}"));
        let view = View::decode(&recorded).unwrap();
        epoch += 1;
        assert_eq!(view.epoch.0, epoch, "{name}");
        assert_eq!(hex::encode(view.encode()), hex::encode(&recorded), "{name}");
        let hash = message(&format!("hash.{name}"));
        assert_eq!(view.hash().0[..], hash[..], "{name}");
        if let Some(before) = &before {
            assert_eq!(view.parent, before.hash(), "{name} follows the one before");
        }
        before = Some(view);
    }
    let placed = View::decode(&message("view.placed")).unwrap();
    let member = &placed.new_table().members[1];
    assert_eq!(member.zone.as_deref(), Some("z"));
    assert_eq!(member.machine.as_deref(), Some("m1"));
    assert!(member.out && placed.stable().is_none());
}

#[test]
fn fields_that_a_later_release_adds_are_passed_over() {
    #[derive(Serialize)]
    struct Later<T: Serialize> {
        #[serde(flatten)]
        now: T,
        and_more: Vec<u32>,
    }
    fn read<T: Serialize + DeserializeOwned + Debug>(now: T) {
        let says = format!("{now:?}");
        let later = Later {
            now,
            and_more: vec![1, 2],
        };
        let bytes = rmp_serde::to_vec_named(&later).unwrap();
        let read: T = rmp_serde::from_slice(&bytes).unwrap_or_else(|e| panic!("{says}: {e}"));
        assert_eq!(format!("{read:?}"), says);
    }
    read(header());
    read(Call {
        header: header(),
        request: Request::Committed { chunks: vec![] },
    });
    read(expected::value("chunked"));
    read(expected::value("big").current.unwrap());
    read(expected::ballot(1, 2));
    read(expected::put());
    read(decode(&message("ring.2")).unwrap());
    read(expected::envelopes()[7].clone());
    read(expected::view().members()[0].clone());
    read(expected::view().reference());
}
