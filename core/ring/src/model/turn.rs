//! Worlds that differ only by a turn of the circle.
//!
//! The protocol asks of ids only who is between whom, which no turn changes: each
//! step of a world is, turned, a step of the turned world, and what holds of one
//! holds of the other. So one of them is explored for all, as with symmetric
//! processes in any model checker (Ip and Dill, "Better verification through
//! symmetry", 1996), and five nodes cost a fifth.

use super::rest::hash;
use super::{Place, World};
use crate::message::{Envelope, Message, Peer};

impl World {
    /// The one among all turns of this world that stands for them.
    pub fn upright(self, peers: &[Peer]) -> World {
        let turns = (1..peers.len()).map(|by| self.turned(by, peers));
        let all = turns.map(|w| (hash(&w), w));
        let mine = hash(&self);
        match all.min_by_key(|(hash, _)| *hash) {
            Some((least, world)) if least < mine => world,
            _ => self,
        }
    }

    /// Everybody moved on by some places.
    fn turned(&self, by: usize, peers: &[Peer]) -> World {
        let count = peers.len();
        let moved = |at: usize| (at + by) % count;
        let name = |peer: Peer| peers[moved(peer.ordinal.0 as usize)];
        let place = |at: usize| match &self.places[(at + count - by) % count] {
            Place::Down => Place::Down,
            Place::Saved(vnode) => Place::Saved(vnode.renamed(name)),
            Place::Up(vnode) => Place::Up(vnode.renamed(name)),
        };
        let envelope = |e: &Envelope| Envelope {
            from: name(e.from),
            to: name(e.to),
            message: renamed(&e.message, name),
        };
        World {
            places: (0..count).map(place).collect(),
            wire: self.wire.iter().map(envelope).collect(),
            unanswered: self.unanswered.map(moved),
        }
    }
}

/// Names stand in no other message that a model sends.
fn renamed(message: &Message, name: impl Fn(Peer) -> Peer) -> Message {
    match message {
        Message::State {
            request,
            pred,
            succ,
        } => Message::State {
            request: *request,
            pred: pred.map(&name),
            succ: succ.iter().copied().map(&name).collect(),
        },
        other => other.clone(),
    }
}
