//! What the virtual nodes of the ring say to each other.
//!
//! Requests carry an id that their reply repeats, so that replies which come
//! twice, late or out of order do nothing. Over HTTP the replies to a batch
//! travel in its response.

use chord_types::{Id, Ordinal};
use serde::{Deserialize, Serialize};

/// A virtual node: where it stands, and the storage node it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// Its place on the circle.
    pub id: Id,
    /// The storage node that it is on.
    pub ordinal: Ordinal,
}

/// Matches a reply with its request; unique for one sender.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Message {
    /// "What are your pointers?" `joining`: the sender is no member yet.
    Query {
        /// Repeated in the reply, so that the two find each other.
        request: RequestId,
        /// Whether the sender is no member yet.
        joining: bool,
    },
    /// The pointers of a member.
    State {
        /// Of the query.
        request: RequestId,
        /// The predecessor, where one is known.
        pred: Option<Peer>,
        /// The successor list, nearest first.
        succ: Vec<Peer>,
    },
    /// "Alive, but not now": proves nothing but life.
    Busy {
        /// Of the request.
        request: RequestId,
    },
    /// "I am no member": for the ring the same as dead.
    Gone {
        /// Of the request.
        request: RequestId,
    },
    /// "I may be your predecessor."
    Notify,
    /// "Are you a member?"
    Ping {
        /// Repeated in the reply, so that the two find each other.
        request: RequestId,
    },
    /// "I am."
    Pong {
        /// Of the ping.
        request: RequestId,
    },
    /// One step of a look-up.
    FindSuccessor {
        /// Repeated in the reply, so that the two find each other.
        request: RequestId,
        /// What is looked for.
        id: Id,
    },
    /// The answer to one step of a look-up.
    Route {
        /// Of the question.
        request: RequestId,
        /// Where to go on, or the end.
        route: Route,
    },
    /// "Does your host know of a ring?" Asked by a host that is in none.
    Hail {
        /// Repeated in the reply, so that the two find each other.
        request: RequestId,
    },
    /// The answer to a hail.
    Hailed {
        /// Of the hail.
        request: RequestId,
        /// Where the host stands.
        standing: Standing,
    },
    /// "I ask this host in vain: have you heard it?"
    Probe {
        /// Repeated in the reply, so that the two find each other.
        request: RequestId,
        /// The host that is asked in vain.
        of: Ordinal,
    },
    /// The answer to a probe.
    Probed {
        /// Of the probe.
        request: RequestId,
        /// The host that was asked about.
        of: Ordinal,
        /// Whether it was heard.
        word: Word,
    },
}

impl Message {
    /// Whether this answers a request: then it goes back in the response.
    pub fn is_reply(&self) -> bool {
        self.answers().is_some()
    }

    /// The request that this answers.
    pub fn answers(&self) -> Option<RequestId> {
        match self {
            Message::State { request, .. }
            | Message::Busy { request }
            | Message::Gone { request }
            | Message::Pong { request }
            | Message::Route { request, .. }
            | Message::Hailed { request, .. }
            | Message::Probed { request, .. } => Some(*request),
            _ => None,
        }
    }

    /// The id that the reply to this will repeat.
    pub fn asks(&self) -> Option<RequestId> {
        match self {
            Message::Query { request, .. }
            | Message::Ping { request }
            | Message::FindSuccessor { request, .. }
            | Message::Hail { request }
            | Message::Probe { request, .. } => Some(*request),
            _ => None,
        }
    }
}

/// The answer to one step of a look-up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Route {
    /// The id lies between `before` and the first of `successors`; the others
    /// follow it, for when it is dead.
    Found {
        /// The virtual node before the id.
        before: Peer,
        /// Those after it, nearest first.
        successors: Vec<Peer>,
    },
    /// Ask one of these, the best first. Should all of them be dead, `beyond`
    /// is what comes after the id, as far as the one `at` which this is from
    /// can see: else a look-up would end at a dead node before the id.
    Nearer {
        /// Who answers.
        at: Peer,
        /// Virtual nodes nearer to the id, the nearest first.
        candidates: Vec<Peer>,
        /// What comes after the id.
        beyond: Vec<Peer>,
    },
}

/// What a host says of itself to one that is in no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// In no ring, or not told yet who the members are.
    Outside,
    /// Has just started from the ideal ring of the members with this digest.
    Forming {
        /// The digest of the members.
        members: u64,
    },
    /// In a ring that one can join.
    Member,
}

/// What one host knows of another by its own experience.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Word {
    /// So many milliseconds ago.
    Heard {
        /// Milliseconds.
        ago: u64,
    },
    /// It asks in vain, too.
    Silent,
    /// It knows nothing of it.
    Unknown,
}

/// A message with its sender and receiver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Envelope {
    /// The sender.
    pub from: Peer,
    /// The receiver.
    pub to: Peer,
    /// What is said.
    pub message: Message,
}

/// Who is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// A host, with all its virtual nodes.
    Host(Ordinal),
    /// One virtual node.
    Peer(Peer),
}

impl Who {
    /// Whether `peer` is meant.
    pub fn covers(&self, peer: &Peer) -> bool {
        match self {
            Who::Host(ordinal) => peer.ordinal == *ordinal,
            Who::Peer(one) => one == peer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_survives_the_wire_and_stays_small() {
        let peer = |n: u8| Peer {
            id: Id::hash(&[n]),
            ordinal: Ordinal(u32::from(n)),
        };
        let batch = vec![
            Envelope {
                from: peer(1),
                to: peer(2),
                message: Message::State {
                    request: RequestId(u64::MAX),
                    pred: Some(peer(3)),
                    succ: (0..16).map(peer).collect(),
                },
            },
            Envelope {
                from: peer(1),
                to: peer(2),
                message: Message::Notify,
            },
        ];
        let bytes = rmp_serde::to_vec(&batch).unwrap();
        assert_eq!(
            rmp_serde::from_slice::<Vec<Envelope>>(&bytes).unwrap(),
            batch
        );
        assert!(bytes.len() < 700, "{}", bytes.len());
    }
}
