//! Whether what a look-up found is still so: asks the successor itself.
//!
//! The virtual node before an id may not have noticed yet that its successor
//! has died, or that another has joined in between. The successor knows both:
//! by being alive, and by its predecessor. So one more question, answered from
//! what it holds and without any effect there, makes the answer as fresh as the
//! ring is. A plain state machine beside [`super::Lookup`].

use chord_types::Id;

use super::{Found, LookupFailed};
use crate::message::{Message, Peer};

/// Virtual nodes asked before the best answer so far has to do.
const MOST_ASKED: usize = 24;

/// A confirmation under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Confirm {
    id: Id,
    found: Found,
    /// Who is asked next; None: nobody, the outcome stands.
    next: Option<Peer>,
    /// The nearest one that has answered.
    alive: Option<Peer>,
    asked: Vec<Peer>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextConfirm {
    /// Ask this peer with [`Message::Query`].
    Ask(Peer),
    /// It has ended.
    Done(Result<Found, LookupFailed>),
}

impl Confirm {
    /// Of what a look-up for `id` found.
    pub fn new(id: Id, found: Found) -> Confirm {
        Confirm {
            id,
            next: Some(found.successor),
            found,
            alive: None,
            asked: Vec::new(),
        }
    }

    /// What to do next. A peer that is to be asked counts as asked.
    pub fn step(&mut self) -> NextConfirm {
        let next = self.next.take().filter(|_| self.asked.len() < MOST_ASKED);
        match (next, self.alive) {
            (Some(peer), _) => {
                self.asked.push(peer);
                NextConfirm::Ask(peer)
            }
            (None, None) => NextConfirm::Done(Err(LookupFailed::Nobody)),
            (None, Some(successor)) => {
                let mut found = self.found.clone();
                found.others.insert(0, found.successor);
                let behind = |p: &Peer| *p != successor && p.id.between(&successor.id, &self.id);
                found.others.retain(behind);
                found.successor = successor;
                NextConfirm::Done(Ok(found))
            }
        }
    }

    /// Takes the answer of a peer that was asked; None: there was none.
    pub fn reply(&mut self, from: Peer, reply: Option<Message>) {
        match reply {
            Some(Message::State { pred, .. }) => {
                self.alive = Some(from);
                // Nobody is nearer than who stands on the id itself.
                let nearer = |p: &Peer| {
                    from.id != self.id && (p.id == self.id || p.id.between(&self.id, &from.id))
                };
                self.next = pred.filter(nearer).filter(|p| !self.asked.contains(p));
            }
            // Alive, and cannot say more now.
            Some(Message::Busy { .. } | Message::Pong { .. }) => self.alive = Some(from),
            // Dead, or no member. Whoever led here is the answer, else the next
            // of those after the id.
            _ if self.alive.is_some() => {}
            _ => {
                let mut others = self.found.others.iter();
                self.next = others.find(|p| !self.asked.contains(p)).copied();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RequestId;
    use chord_types::{Ordinal, Token};

    fn peer(n: u64) -> Peer {
        Peer {
            id: Token(n).id(),
            ordinal: Ordinal(n as u32),
        }
    }
    /// Confirms that 120 is the successor of 100; `pred` says what who is alive
    /// has for a predecessor.
    fn confirm(pred: &dyn Fn(u64) -> Option<u64>) -> (Result<u64, LookupFailed>, usize) {
        let found = Found {
            successor: peer(120),
            others: vec![peer(130), peer(140)],
            before: peer(90),
            path: Vec::new(),
        };
        let mut confirm = Confirm::new(Token(100).id(), found);
        let mut asked = 0;
        loop {
            match confirm.step() {
                NextConfirm::Done(end) => return (end.map(|f| f.successor.id.prefix()), asked),
                NextConfirm::Ask(p) => {
                    asked += 1;
                    let state = pred(p.id.prefix()).map(|pred| Message::State {
                        request: RequestId::default(),
                        pred: Some(peer(pred)),
                        succ: Vec::new(),
                    });
                    confirm.reply(p, state);
                }
            }
        }
    }

    #[test]
    fn the_successor_confirms_itself_in_one_question() {
        assert_eq!(confirm(&|_| Some(90)), (Ok(120), 1));
    }

    #[test]
    fn a_dead_successor_gives_way_to_the_next() {
        let pred = |n| (n > 120).then_some(120);
        assert_eq!(confirm(&pred), (Ok(130), 2), "120 is not asked twice");
    }

    #[test]
    fn who_has_joined_in_between_is_found_and_a_dead_one_is_not() {
        let joined = |n| Some(if n == 120 { 100 } else { 90 });
        assert_eq!(confirm(&joined), (Ok(100), 2), "the id itself");
        let dead = |n| (n != 110).then_some(110);
        assert_eq!(confirm(&dead), (Ok(120), 2));
        assert_eq!(confirm(&|_| None), (Err(LookupFailed::Nobody), 3));
    }

    #[test]
    fn it_ends_whatever_the_others_answer() {
        let endless = |n: u64| Some(100 + (n - 100) / 2);
        assert!(confirm(&endless).1 <= MOST_ASKED);
    }
}
