//! How a host routes: the best step of a look-up from all its virtual nodes know.

use chord_types::Id;

use super::Host;
use crate::circle::{distance, within};
use crate::lookup::Lookup;
use crate::message::{Envelope, Message, Peer, RequestId, Route};
use crate::vnode::Vnode;

/// Candidates in an answer to a look-up, besides the successor list.
const CANDIDATES: usize = 4;
/// Members of the view before an id that a look-up begins with.
const BY_VIEW: usize = 3;

impl Host {
    /// Starts a look-up, for the shell to drive with [`Host::ask`].
    pub fn lookup(&self, id: Id) -> Lookup {
        Lookup::start(self.ordinal, id, self.route(&id))
    }

    /// As [`Host::lookup`], but it begins with the members that the view has just
    /// before the id: where view and ring agree the first one asked knows the
    /// answer. Where they do not, the ring leads on, and decides anyway.
    pub fn lookup_by_view(&self, id: Id) -> Lookup {
        let mut lookup = self.lookup(id);
        let alive = |p: &Peer| p.ordinal != self.ordinal && self.alive(p.ordinal);
        lookup.begin_with(
            self.members
                .before(&id)
                .filter(alive)
                .take(BY_VIEW)
                .collect(),
        );
        lookup
    }

    /// The message that asks `peer` for the next step of a look-up. Its reply
    /// goes to [`Lookup::reply`], the peer's silence there, too.
    pub fn ask(&self, id: Id, peer: Peer) -> Envelope {
        let request = RequestId::default();
        Envelope {
            from: self.speaker(),
            to: peer,
            message: Message::FindSuccessor { request, id },
        }
    }

    /// One step of a look-up as this host knows it: the virtual node that
    /// answers, and its answer. None when it is in no ring.
    pub fn route(&self, id: &Id) -> Option<(Peer, Route)> {
        let members = || {
            self.slots
                .iter()
                .map(|s| &s.vnode)
                .filter(|v| v.is_member())
        };
        let after = members().min_by_key(|v| distance(id, &v.me().id))?;
        let owns = after.me().id == *id
            || after
                .pred()
                .is_some_and(|p| within(&p.id, id, &after.me().id));
        if owns {
            let before = after.pred().unwrap_or(after.me());
            let list = std::iter::once(after.me()).chain(after.successors().iter().copied());
            return Some((
                after.me(),
                Route::Found {
                    before,
                    successors: self.live(list),
                },
            ));
        }
        let at = members().min_by_key(|v| distance(&v.me().id, id))?;
        let first = *at.successors().first()?;
        if within(&at.me().id, id, &first.id) {
            let successors = self.live(at.successors().iter().copied());
            return Some((
                at.me(),
                Route::Found {
                    before: at.me(),
                    successors,
                },
            ));
        }
        // The nearest few first, and the safe steps last.
        let mut candidates = self.nearest(at, id);
        let past = at
            .successors()
            .iter()
            .position(|p| !p.id.between(&at.me().id, id));
        let (before, beyond) = at
            .successors()
            .split_at(past.unwrap_or(at.successors().len()));
        for peer in before {
            if !candidates.contains(peer) {
                candidates.push(*peer);
            }
        }
        Some((
            at.me(),
            Route::Nearer {
                at: at.me(),
                candidates,
                beyond: self.live(beyond.iter().copied()),
            },
        ))
    }

    /// The nearest few known between `at` and an id, on different hosts: with half of
    /// all hosts dead the list still leads on.
    fn nearest(&self, at: &Vnode, id: &Id) -> Vec<Peer> {
        let mut best: Vec<([u8; 20], Peer)> = Vec::with_capacity(CANDIDATES + 2);
        let members = self.slots.iter().map(|s| &s.vnode);
        let members = members.filter(|v| v.is_member());
        for peer in members.flat_map(|v| v.successors().iter().chain(v.fingers())) {
            let far = distance(&peer.id, id);
            let worst = best
                .last()
                .filter(|_| best.len() == CANDIDATES)
                .map(|w| w.0);
            if worst.is_some_and(|w| far >= w)
                || !peer.id.between(&at.me().id, id)
                || peer.ordinal == self.ordinal
                || !self.alive(peer.ordinal)
            {
                continue;
            }
            match best.iter().position(|(_, b)| b.ordinal == peer.ordinal) {
                Some(same) if best[same].0 <= far => continue,
                Some(same) => drop(best.remove(same)),
                None => {}
            }
            best.insert(best.partition_point(|(b, _)| *b < far), (far, *peer));
            best.truncate(CANDIDATES);
        }
        best.into_iter().map(|(_, p)| p).collect()
    }

    /// The best virtual node known before an id, this host's own among them.
    pub fn closest_preceding(&self, id: &Id) -> Option<Peer> {
        match self.route(id)? {
            (_, Route::Found { before, .. }) => Some(before),
            (at, Route::Nearer { candidates, .. }) => {
                Some(candidates.first().copied().unwrap_or(at))
            }
        }
    }

    fn live(&self, list: impl Iterator<Item = Peer>) -> Vec<Peer> {
        list.filter(|p| self.alive(p.ordinal)).collect()
    }
}

impl Host {
    /// The message that asks `peer` for its pointers.
    pub fn query(&self, peer: Peer) -> Envelope {
        Envelope {
            message: Message::Query {
                request: RequestId::default(),
                joining: false,
            },
            ..self.ask(peer.id, peer)
        }
    }

    /// What a virtual node of this host would answer to [`Host::query`]. None
    /// when it is of another host.
    pub fn own_state(&self, peer: &Peer) -> Option<Message> {
        let vnode = self.vnodes().find(|v| v.me() == *peer && v.is_member())?;
        Some(Message::State {
            request: RequestId::default(),
            pred: vnode.pred(),
            succ: vnode.successors().to_vec(),
        })
    }
}
