//! What a member does with what it hears: how it gives its pointers, adopts a list,
//! checks its predecessor and buries the dead.

use chord_types::Id;

use super::fingers::Fingers;
use super::rules::{Flaw, Rules, cut};
use super::turn::Turn;
use super::{Asked, Member, Note, Rectify};
use crate::circle::distance;
use crate::message::{Message, Peer, RequestId, Who};

impl Member {
    /// The member that joins behind `from`, which has these successors; `None` where it
    /// does not come between `from` and the first of them.
    pub(super) fn joins(rules: &Rules, me: &Peer, from: Peer, succ: Vec<Peer>) -> Option<Member> {
        let next = succ.first()?;
        if !me.id.between(&from.id, &next.id) {
            return None;
        }
        let known = if rules.has(Flaw::JoinCopiesHead) {
            1
        } else {
            succ.len()
        };
        Some(Member {
            pred: Some(from),
            succ: cut(rules, me, succ.into_iter().take(known)),
            fingers: Fingers::default(),
            asking: None,
            rectify: None,
        })
    }

    /// Gives its pointers, unless they may be about to change.
    pub(super) fn queried(
        &mut self,
        turn: &mut Turn,
        from: Peer,
        request: RequestId,
        joining: bool,
    ) {
        let answer = if self.asking.is_some() {
            Message::Busy { request }
        } else {
            Message::State {
                request,
                pred: self.pred,
                succ: self.succ.clone(),
            }
        };
        turn.send(from, answer);
        // Our successor is no member: most likely it has restarted, and it cannot
        // join before our list is rid of it.
        if joining && from == self.first(&turn.me) {
            self.stabilize(turn);
        }
    }

    /// Takes the pointers of a peer that it has asked.
    pub(super) fn answered(
        &mut self,
        turn: &mut Turn,
        from: Peer,
        pred: Option<Peer>,
        succ: Vec<Peer>,
    ) {
        self.adopt(turn, from, succ);
        if let Some(nearer) = pred
            && turn.rules.has(Flaw::AdoptUnanswered)
            && nearer.id.between(&turn.me.id, &from.id)
        {
            self.adopt(turn, nearer, self.succ.clone());
            turn.send(nearer, Message::Notify);
            return;
        }
        match pred.filter(|p| p.id.between(&turn.me.id, &from.id)) {
            // However it was asked: that its answer is also that of a round which
            // begins now saves a round for each node between.
            Some(nearer) => self.asking = Some(turn.query(nearer, false)),
            None => turn.send(self.first(&turn.me), Message::Notify),
        }
    }

    pub(super) fn first(&self, me: &Peer) -> Peer {
        self.succ.first().copied().unwrap_or(*me)
    }

    pub(super) fn stabilize(&mut self, turn: &mut Turn) {
        if self.asking.is_some() {
            return;
        }
        let first = self.first(&turn.me);
        if first != turn.me {
            self.asking = Some(turn.query(first, false));
        } else if let Some(pred) = self.pred.filter(|p| *p != turn.me) {
            // Alone, it would ask itself; the answer is known.
            self.asking = Some(turn.query(pred, false));
        }
    }

    pub(super) fn try_hint(&mut self, turn: &mut Turn, peer: Peer) {
        if self.asking.is_none() && peer.id.between(&turn.me.id, &self.first(&turn.me).id) {
            self.asking = Some(turn.query(peer, false));
        }
    }

    pub(super) fn adopt(&mut self, turn: &mut Turn, head: Peer, mut list: Vec<Peer>) {
        if turn.rules.has(Flaw::MergeLists) {
            list.extend(self.succ.iter().copied().filter(|p| *p != head));
            list.sort_by_cached_key(|p| distance(&head.id, &p.id));
            list.dedup();
        }
        let succ = cut(turn.rules, &turn.me, std::iter::once(head).chain(list));
        if !succ.is_empty() && succ != self.succ {
            self.succ = succ;
            self.fingers
                .beyond(&turn.me.id, &last(&self.succ, &turn.me));
            turn.note(Note::Changed);
        }
    }

    pub(super) fn notified(&mut self, turn: &mut Turn, from: Peer) {
        match self.pred {
            Some(pred) if pred == from => {}
            Some(pred) if !from.id.between(&pred.id, &turn.me.id) => {
                if self.rectify.is_none() && !turn.rules.has(Flaw::RectifyUnasked) {
                    let request = turn.request();
                    turn.send(pred, Message::Ping { request });
                    self.rectify = Some(Rectify {
                        candidate: from,
                        asked: Asked {
                            peer: pred,
                            request,
                        },
                    });
                }
            }
            _ => {
                self.pred = Some(from);
                turn.note(Note::Changed);
            }
        }
    }

    /// Takes in that somebody is dead. False: no successor is left.
    pub(super) fn bury(&mut self, turn: &mut Turn, who: Who) -> bool {
        let asked = self.asking.take_if(|a| who.covers(&a.peer)).is_some();
        let dead = self.succ.iter().take_while(|p| who.covers(p)).count();
        self.succ.drain(..dead);
        self.fingers.forget(&who);
        if self.succ.is_empty() {
            // More died at once than the theorem allows. A far successor is a
            // start: stabilising walks back from it. To leave instead would cost
            // those before us *their* last successor, and so on round the ring.
            self.succ = cut(turn.rules, &turn.me, self.fingers.iter().copied());
            if self.succ.is_empty() {
                return false;
            }
            self.fingers
                .beyond(&turn.me.id, &last(&self.succ, &turn.me));
        }
        if dead > 0 {
            turn.note(Note::Changed);
        }
        if asked || dead > 0 {
            turn.send(self.first(&turn.me), Message::Notify);
            turn.note(Note::Retry);
        }
        let waiting = self
            .rectify
            .take_if(|r| who.covers(&r.asked.peer) || who.covers(&r.candidate));
        if self.pred.is_some_and(|p| who.covers(&p)) {
            self.pred = waiting.map(|r| r.candidate).filter(|c| !who.covers(c));
            turn.note(Note::Changed);
        }
        true
    }
}

pub(super) fn last(succ: &[Peer], me: &Peer) -> Id {
    succ.last().unwrap_or(me).id
}
