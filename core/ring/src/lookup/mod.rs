//! An iterative look-up: finds the successor of an id, driven by the one who
//! asks.
//!
//! A plain state machine. It never asks a host twice, since a host answers with
//! all that its virtual nodes know, and takes at most [`MOST_STEPS`] steps; so
//! it ends whatever the others answer. It does not depend on the view.

pub mod confirm;

use chord_types::{Id, Ordinal};
use serde::{Deserialize, Serialize};

use crate::circle::distance;
use crate::message::{Message, Peer, Route};

/// Hosts asked before a look-up gives up.
pub const MOST_STEPS: usize = 160;
/// Candidates held for when better ones are dead.
const MOST_CANDIDATES: usize = 48;

/// A look-up under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    id: Id,
    path: Vec<Peer>,
    /// The best last, so that it can be popped.
    candidates: Vec<Peer>,
    /// Hosts asked, sorted; the asking one itself among them.
    tried: Vec<Ordinal>,
    /// The answer if every candidate is dead: from which virtual node, and what
    /// it has past the id.
    last_resort: Option<(Peer, Vec<Peer>)>,
    outcome: Option<Result<Found, LookupFailed>>,
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Found {
    /// The virtual node that the id belongs to.
    pub successor: Peer,
    /// Those after it, for when it is dead.
    pub others: Vec<Peer>,
    /// The virtual node before the id: where one joins.
    pub before: Peer,
    /// The virtual nodes it went through, the starting one first.
    pub path: Vec<Peer>,
}

/// Why a look-up found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LookupFailed {
    #[error(
        "the ring has no answer: this node is in no ring yet, or none of the nodes asked could tell"
    )]
    /// Nobody could tell.
    Nobody,
    /// It did not come to an end.
    #[error("the look-up took more than {MOST_STEPS} steps")]
    TooLong,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask this peer with [`Message::FindSuccessor`].
    Ask(Peer),
    /// It has ended.
    Done(Result<Found, LookupFailed>),
}

impl Lookup {
    /// Starts with what the own host knows: the virtual node that knew it, and
    /// its answer.
    pub fn start(own: Ordinal, id: Id, local: Option<(Peer, Route)>) -> Lookup {
        let (path, candidates, tried) = (Vec::new(), Vec::new(), vec![own]);
        let mut lookup = Lookup {
            id,
            path,
            candidates,
            tried,
            last_resort: None,
            outcome: None,
        };
        if let Some((at, route)) = local {
            lookup.take(at, route);
        }
        lookup
    }

    /// Starts by asking members one knows of: the way in for a host that joins.
    pub fn via(own: Ordinal, id: Id, members: Vec<Peer>) -> Lookup {
        let mut lookup = Lookup::start(own, id, None);
        lookup.add(members);
        lookup
    }

    /// Peers that may be nearer than what it starts with; wrong ones cost a
    /// question each.
    pub fn begin_with(&mut self, peers: Vec<Peer>) {
        if self.outcome.is_none() {
            self.add(peers);
        }
    }

    /// The id looked for.
    pub fn id(&self) -> Id {
        self.id
    }

    /// What to do next. A peer that is to be asked counts as asked.
    pub fn step(&mut self) -> Next {
        if let Some(outcome) = &self.outcome {
            return Next::Done(outcome.clone());
        }
        if self.tried.len() > MOST_STEPS {
            return self.end(Err(LookupFailed::TooLong));
        }
        while let Some(peer) = self.candidates.pop() {
            // Nobody is left between the last resort and the id.
            if self
                .last_resort
                .as_ref()
                .is_some_and(|(at, _)| !peer.id.between(&at.id, &self.id))
            {
                break;
            }
            if let Err(place) = self.tried.binary_search(&peer.ordinal) {
                self.tried.insert(place, peer.ordinal);
                return Next::Ask(peer);
            }
        }
        if let Some((before, successors)) = self.last_resort.take() {
            self.found(before, successors);
        }
        let outcome = self.outcome.clone().unwrap_or(Err(LookupFailed::Nobody));
        self.end(outcome)
    }

    /// Takes the reply of a peer that was asked; whatever is no [`Message::Route`]
    /// (`Busy`, `Gone`, no reply at all) means that the next candidate is tried.
    pub fn reply(&mut self, from: Peer, reply: Option<Message>) {
        if let Some(Message::Route { route, .. }) = reply {
            self.take(from, route);
        }
    }

    fn take(&mut self, from: Peer, route: Route) {
        if self.outcome.is_some() {
            return;
        }
        self.path.push(from);
        match route {
            Route::Found { before, successors } => self.found(before, successors),
            Route::Nearer {
                at,
                candidates,
                beyond,
            } => {
                self.add(candidates);
                let far = distance(&at.id, &self.id);
                let better = |(best, _): &(Peer, Vec<Peer>)| far < distance(&best.id, &self.id);
                if !beyond.is_empty() && self.last_resort.as_ref().is_none_or(better) {
                    self.last_resort = Some((at, beyond));
                }
            }
        }
    }

    fn found(&mut self, before: Peer, successors: Vec<Peer>) {
        let mut rest = successors.into_iter();
        // An answer without a successor is none.
        if let Some(successor) = rest.next() {
            let path = std::mem::take(&mut self.path);
            self.outcome = Some(Ok(Found {
                successor,
                others: rest.collect(),
                before,
                path,
            }));
        }
    }

    fn add(&mut self, peers: Vec<Peer>) {
        for peer in peers.into_iter().take(MOST_CANDIDATES) {
            let known = self
                .candidates
                .iter()
                .any(|c| c.ordinal == peer.ordinal && c.id == peer.id);
            if !known && self.tried.binary_search(&peer.ordinal).is_err() {
                self.candidates.push(peer);
            }
        }
        let id = self.id;
        self.candidates
            .sort_by_cached_key(|c| std::cmp::Reverse((distance(&c.id, &id), *c)));
        let surplus = self.candidates.len().saturating_sub(MOST_CANDIDATES);
        self.candidates.drain(..surplus);
    }

    fn end(&mut self, outcome: Result<Found, LookupFailed>) -> Next {
        self.outcome = Some(outcome.clone());
        Next::Done(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_types::Token;

    fn peer(n: u64) -> Peer {
        Peer {
            id: Token(n).id(),
            ordinal: Ordinal(n as u32),
        }
    }
    fn route(route: Route) -> Option<Message> {
        Some(Message::Route {
            request: Default::default(),
            route,
        })
    }
    fn nearer(of: &[u64]) -> Route {
        Route::Nearer {
            at: peer(1),
            candidates: of.iter().map(|n| peer(*n)).collect(),
            beyond: Vec::new(),
        }
    }

    #[test]
    fn it_takes_the_nearest_before_the_id_and_the_next_when_that_is_dead() {
        let mut lookup = Lookup::start(
            Ordinal(1),
            Token(100).id(),
            Some((peer(1), nearer(&[20, 50, 40]))),
        );
        assert_eq!(lookup.step(), Next::Ask(peer(50)));
        lookup.reply(peer(50), None);
        assert_eq!(lookup.step(), Next::Ask(peer(40)));
        lookup.reply(peer(40), route(nearer(&[90, 50])));
        assert_eq!(lookup.step(), Next::Ask(peer(90)), "never a host twice");
        let successors = vec![peer(101), peer(102)];
        lookup.reply(
            peer(90),
            route(Route::Found {
                before: peer(90),
                successors,
            }),
        );
        let Next::Done(Ok(found)) = lookup.step() else {
            panic!("not found")
        };
        assert_eq!(found.successor, peer(101));
        assert_eq!(found.others, [peer(102)]);
        assert_eq!(found.path, [peer(1), peer(40), peer(90)]);
    }

    #[test]
    fn when_all_before_the_id_are_dead_the_nearest_list_that_reaches_past_it_decides() {
        let near = |at, candidates: &[u64], beyond: &[u64]| Route::Nearer {
            at: peer(at),
            candidates: candidates.iter().map(|n| peer(*n)).collect(),
            beyond: beyond.iter().map(|n| peer(*n)).collect(),
        };
        let mut lookup = Lookup::start(
            Ordinal(1),
            Token(100).id(),
            Some((peer(1), near(1, &[50, 80], &[120]))),
        );
        assert_eq!(lookup.step(), Next::Ask(peer(80)));
        lookup.reply(peer(80), None);
        assert_eq!(lookup.step(), Next::Ask(peer(50)));
        lookup.reply(peer(50), route(near(50, &[80, 90], &[110, 120])));
        assert_eq!(lookup.step(), Next::Ask(peer(90)));
        lookup.reply(peer(90), None);
        let Next::Done(Ok(found)) = lookup.step() else {
            panic!("not found")
        };
        assert_eq!((found.successor, found.before), (peer(110), peer(50)));
    }

    #[test]
    fn it_ends_whatever_the_others_answer() {
        let mut lookup = Lookup::start(
            Ordinal(0),
            Token(u64::MAX).id(),
            Some((peer(0), nearer(&[1]))),
        );
        let mut asked = 0;
        let end = loop {
            match lookup.step() {
                Next::Ask(p) => {
                    asked += 1;
                    let further: Vec<u64> = (1..9).map(|n| p.id.prefix() + n).collect();
                    lookup.reply(p, route(nearer(&further)));
                }
                Next::Done(end) => break end,
            }
        };
        assert_eq!((end, asked), (Err(LookupFailed::TooLong), MOST_STEPS));
        let mut nobody = Lookup::start(Ordinal(0), Token(9).id(), None);
        assert_eq!(nobody.step(), Next::Done(Err(LookupFailed::Nobody)));
    }
}
