//! Look-ups in virtual time, through the network, as a node's shell drives them:
//! [`Lookup`] to find, then [`Confirm`] to ask the successor itself.
//!
//! Both answers are judged at the moment they are given, against the members
//! that are alive at that moment.

use chord_types::{Id, Ordinal};

use super::engine::{Errand, Sim};
use crate::lookup::confirm::{Confirm, NextConfirm};
use crate::lookup::{Found, Lookup, LookupFailed, Next};
use crate::message::{Message, Peer};

/// A look-up under way.
pub(super) struct Search {
    from: Ordinal,
    boot: u32,
    id: Id,
    started: u64,
    stage: Stage,
    asked: Option<Peer>,
    hops: u32,
    timeouts: u32,
    named_right: bool,
}

enum Stage {
    Finding(Lookup),
    Confirming(Confirm),
}

/// What became of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it began, in simulated milliseconds.
    pub started: u64,
    /// When it ended, in simulated milliseconds.
    pub ended: u64,
    /// Other hosts that answered on the way to the one that named the successor:
    /// the path length of the paper.
    pub hops: u32,
    /// Hosts asked that did not answer.
    pub timeouts: u32,
    /// Whether the look-up named the right successor.
    pub named_right: bool,
    /// Whether it was the right one that confirmed.
    pub right: bool,
}

impl Sim {
    /// Starts a look-up by a host, by the ring alone or by its view too. A host
    /// that crashes before it has the answer takes the look-up with it.
    pub fn search(&mut self, from: Ordinal, id: Id, by_view: bool) {
        let (Some(boot), Some(host)) = (self.boot(from), self.host(from)) else {
            return;
        };
        let lookup = match by_view {
            true => host.lookup_by_view(id),
            false => host.lookup(id),
        };
        let search = Search {
            from,
            boot,
            id,
            started: self.now(),
            stage: Stage::Finding(lookup),
            asked: None,
            hops: 0,
            timeouts: 0,
            named_right: false,
        };
        self.next_search += 1;
        self.pursue(self.next_search, search);
    }

    /// The answers since the last call.
    pub fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// Takes the reply to a look-up's question, or its absence.
    pub(super) fn answered(&mut self, number: u64, reply: Option<Message>) {
        let Some(mut search) = self.searches.remove(&number) else {
            return;
        };
        if self.boot(search.from) != Some(search.boot) {
            return;
        }
        search.timeouts += u32::from(reply.is_none());
        if let Some(peer) = search.asked.take() {
            match &mut search.stage {
                Stage::Finding(lookup) => lookup.reply(peer, reply),
                Stage::Confirming(confirm) => confirm.reply(peer, reply),
            }
        }
        self.pursue(number, search);
    }

    fn pursue(&mut self, number: u64, mut search: Search) {
        loop {
            let Some(host) = self.host(search.from) else {
                return;
            };
            let question = match &mut search.stage {
                Stage::Finding(lookup) => match lookup.step() {
                    Next::Ask(peer) => (peer, host.ask(search.id, peer)),
                    Next::Done(Err(_)) => return self.conclude(search, None),
                    Next::Done(Ok(found)) => {
                        search.hops = found.path.len().saturating_sub(1) as u32;
                        search.named_right = self.is_right(&search.id, &found.successor);
                        search.stage = Stage::Confirming(Confirm::new(search.id, found));
                        continue;
                    }
                },
                Stage::Confirming(confirm) => match confirm.step() {
                    NextConfirm::Ask(peer) if peer.ordinal == search.from => {
                        confirm.reply(peer, host.own_state(&peer));
                        continue;
                    }
                    NextConfirm::Ask(peer) => (peer, host.query(peer)),
                    NextConfirm::Done(end) => return self.conclude(search, Some(end)),
                },
            };
            let (peer, envelope) = question;
            search.asked = Some(peer);
            let (from, boot) = (search.from, search.boot);
            self.searches.insert(number, search);
            let errand = Errand::Search(number);
            return self.send(from, boot, peer.ordinal, errand, vec![envelope]);
        }
    }

    fn conclude(&mut self, search: Search, end: Option<Result<Found, LookupFailed>>) {
        let right = match end {
            Some(Ok(found)) => self.is_right(&search.id, &found.successor),
            _ => false,
        };
        self.answers.push(Answer {
            started: search.started,
            ended: self.now(),
            hops: search.hops,
            timeouts: search.timeouts,
            named_right: search.named_right,
            right,
        });
    }

    fn is_right(&self, id: &Id, named: &Peer) -> bool {
        self.true_successor(id) == Some(*named)
    }
}
