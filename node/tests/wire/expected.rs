//! What the recorded messages say, built with the code of today.

use chord_node::peer::wire::{
    Answer, ChunkState, NameEntry, NameFile, NamesPage, Refusal, Reply, Request,
};
use chord_register::acceptor::{Promise, Vote};
use chord_register::{Ballot, Value};
use chord_ring::{Envelope, Message, Peer, RequestId, Route, Standing, Word};
use chord_types::blocks::Root;
use chord_types::manifest::{PlacedChunk, chunk_key};
use chord_types::{ChunkId, DiskId, Epoch, FileName, Id, Ordinal, UploadId, View};

use crate::recorded;

pub fn name(text: &str) -> FileName {
    text.parse().unwrap()
}

pub fn disk(n: u8) -> DiskId {
    DiskId(uuid::Uuid::from_u128(0x1000 + u128::from(n)))
}

pub fn chunk(upload: u8, part: u32) -> ChunkId {
    ChunkId {
        upload: UploadId::from_bytes([upload; 16]),
        part,
    }
}

pub fn ballot(epoch: u64, counter: u64) -> Ballot {
    Ballot {
        epoch: Epoch(epoch),
        counter,
        member: Ordinal(1),
        boot: 300,
    }
}

/// The payload of the first chunk of the file of two.
pub const PAYLOAD: &[u8] = b"a chunk of a file, which is small here";

/// The recorded values of registers, one of each form. What they say is checked in
/// [`crate::messages`].
pub const VALUES: [&str; 6] = ["absent", "big", "chunked", "inline", "pending", "tombstone"];

/// One of them, as it was recorded.
pub fn value(of: &str) -> Value {
    rmp_serde::from_slice(&recorded::message(&format!("value.{of}"))).unwrap()
}

/// The first view of the recorded cluster.
pub fn view() -> View {
    View::decode(&recorded::message("view.first")).unwrap()
}

/// The chunk that is put in the conversation.
pub fn put() -> PlacedChunk {
    let id = chunk(4, 1);
    PlacedChunk {
        id,
        key: chunk_key(&name("n4"), id, false),
        size: 3,
        root: Root::of(b"put").0,
    }
}

fn moved() -> PlacedChunk {
    let payload = b"from another disk";
    let id = chunk(5, 1);
    PlacedChunk {
        id,
        key: chunk_key(&name("moved"), id, false),
        size: payload.len() as u32,
        root: Root::of(payload).0,
    }
}

/// Requests of the conversation, each kind at least once, by the names of their turns.
pub fn requests() -> Vec<(&'static str, Request)> {
    let read = |of: &str, with_value| Request::Read {
        name: name(of),
        with_value,
    };
    let prepare = |ballot, bytes| Request::Prepare {
        name: name("n"),
        ballot,
        bytes,
    };
    let accept = |ballot, of: &str, client| Request::Accept {
        name: name("n"),
        ballot,
        value: value(of),
        client,
    };
    let ensure = |of: &str, chunk, sources| Request::Ensure {
        name: name(of),
        chunk,
        committed: true,
        sources,
    };
    let upload = UploadId::from_bytes([4; 16]);
    vec![
        ("prepare", prepare(ballot(1, 1), 1029)),
        ("prepare-held", prepare(ballot(1, 2), 0)),
        ("accept", accept(ballot(1, 1), "inline", true)),
        ("accept-low", accept(ballot(1, 0), "tombstone", false)),
        ("read-big", read("big", true)),
        ("read-short", read("n", false)),
        (
            "ballots",
            Request::Ballots {
                names: vec![name("n"), name("absent")],
            },
        ),
        (
            "names",
            Request::Names {
                prefix: String::new(),
                after: "b".into(),
                limit: 2,
            },
        ),
        (
            "has-chunks",
            Request::HasChunks {
                chunks: vec![chunk(2, 1), chunk(2, 9), chunk(3, 1)],
            },
        ),
        ("ensure-held", ensure("n4", put(), vec![])),
        ("ensure-fetched", ensure("moved", moved(), vec![Ordinal(1)])),
        (
            "committed",
            Request::Committed {
                chunks: vec![chunk(4, 1)],
            },
        ),
        (
            "reap",
            Request::Reap {
                name: name("n4"),
                upload,
            },
        ),
        ("upload-active", Request::UploadActive { upload, boot: 2 }),
        ("reading", Request::Reading { upload }),
        ("verify-whole", Request::VerifyChunk { chunk: chunk(4, 1) }),
    ]
}

/// Every kind of answer and of refusal, by the names of the recorded replies.
pub fn replies() -> Vec<(&'static str, Reply)> {
    let page = NamesPage {
        names: vec![
            NameEntry {
                name: name("a"),
                ballot: ballot(1, 7),
                file: Some(NameFile {
                    size: 5,
                    etag: "1-f1".into(),
                    modified_ms: 1_790_000_000_123,
                    content_type: Some("text/plain".into()),
                }),
            },
            NameEntry {
                name: name("b"),
                ballot: ballot(1, 7),
                file: None,
            },
        ],
        more: true,
    };
    let promised = |accepted| Answer::Promise(Promise::Promised { accepted });
    let read = |ballot, value| Answer::Read { ballot, value };
    let low = ballot(1, 8);
    vec![
        (
            "promised",
            Ok(promised(Some((ballot(1, 7), value("inline"))))),
        ),
        ("promised-none", Ok(promised(None))),
        (
            "rejected",
            Ok(Answer::Promise(Promise::Rejected { promised: low })),
        ),
        ("accepted", Ok(Answer::Vote(Vote::Accepted))),
        (
            "vote-rejected",
            Ok(Answer::Vote(Vote::Rejected { promised: low })),
        ),
        ("read", Ok(read(Some(ballot(1, 7)), Some(value("chunked"))))),
        ("read-none", Ok(read(None, None))),
        (
            "ballots",
            Ok(Answer::Ballots(vec![Some(ballot(1, 7)), None])),
        ),
        ("names", Ok(Answer::Names(page))),
        ("has", Ok(Answer::Has(vec![true, false]))),
        ("active", Ok(Answer::Active(true))),
        ("whole", Ok(Answer::Checked(ChunkState::Whole))),
        ("missing", Ok(Answer::Checked(ChunkState::Missing))),
        ("damaged", Ok(Answer::Checked(ChunkState::Damaged))),
        ("done", Ok(Answer::Done)),
        ("other-view-none", Err(Refusal::OtherView(None))),
        (
            "other-view",
            Err(Refusal::OtherView(Some(view().reference()))),
        ),
        ("other-disk", Err(Refusal::OtherDisk(disk(1)))),
        ("other-cluster", Err(Refusal::OtherCluster)),
        ("not-owner", Err(Refusal::NotOwner)),
        ("full", Err(Refusal::Full)),
        (
            "failed",
            Err(Refusal::Failed("it has too much to do".into())),
        ),
    ]
}

/// Every kind of message of the ring, in the order of the recorded exchange.
pub fn envelopes() -> Vec<Envelope> {
    let view = view();
    let members = view.members();
    let peer = |n: usize, token: usize| Peer {
        id: members[n].tokens[token].id(),
        ordinal: members[n].ordinal,
    };
    let (p, q) = (peer(1, 0), peer(0, 1));
    let request = RequestId(1 << 40 | 5);
    let of = Ordinal(2);
    let messages = [
        Message::Query {
            request,
            joining: false,
        },
        Message::Notify,
        Message::Ping { request },
        Message::FindSuccessor {
            request,
            id: Id::hash(b"x"),
        },
        Message::Hail { request },
        Message::Probe {
            request,
            of: Ordinal(7),
        },
        Message::Query {
            request,
            joining: true,
        },
        Message::State {
            request,
            pred: Some(p),
            succ: vec![p, q],
        },
        Message::State {
            request,
            pred: None,
            succ: vec![],
        },
        Message::Busy { request },
        Message::Gone { request },
        Message::Pong { request },
        Message::Route {
            request,
            route: Route::Found {
                before: p,
                successors: vec![q],
            },
        },
        Message::Route {
            request,
            route: Route::Nearer {
                at: p,
                candidates: vec![q],
                beyond: vec![p],
            },
        },
        Message::Hailed {
            request,
            standing: Standing::Outside,
        },
        Message::Hailed {
            request,
            standing: Standing::Forming { members: 77 },
        },
        Message::Hailed {
            request,
            standing: Standing::Member,
        },
        Message::Probed {
            request,
            of,
            word: Word::Heard { ago: 1500 },
        },
        Message::Probed {
            request,
            of,
            word: Word::Silent,
        },
        Message::Probed {
            request,
            of,
            word: Word::Unknown,
        },
    ];
    let say = |message| Envelope {
        from: p,
        to: peer(0, 0),
        message,
    };
    messages.map(say).to_vec()
}
