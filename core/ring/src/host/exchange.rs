//! What a host does with messages and failures: it hands them to its virtual
//! nodes, carries out what they want, and drives its own look-ups.

use chord_types::Ordinal;

use super::outside::{Outside, Verdict};
use super::{Failure, Host, HostAction, Phase, Running, Slot};
use crate::circle::octave;
use crate::lookup::Next;
use crate::message::{Envelope, Message, Peer, RequestId, Standing};
use crate::vnode::{Action, Event, Note, Vnode, Who};

/// Marks the request ids of the host apart from those of its virtual nodes.
const HOST_REQUEST: u32 = 1 << 31;

impl Host {
    pub(super) fn deliver(&mut self, now: u64, envelope: Envelope) {
        let Envelope { from, to, message } = envelope;
        let answer = |message| Envelope {
            from: to,
            to: from,
            message,
        };
        match message {
            Message::Hail { request } => {
                let standing = self.standing(now);
                self.post(answer(Message::Hailed { request, standing }));
            }
            Message::Hailed { standing, .. } => {
                if let Phase::Outside(outside) = &mut self.phase {
                    outside.heard(from.ordinal, standing, &self.members);
                    self.get_inside(now);
                }
            }
            Message::FindSuccessor { request, id } => {
                let message = match self.route(&id) {
                    Some((_, route)) => Message::Route { request, route },
                    None => Message::Busy { request },
                };
                self.post(answer(message));
            }
            Message::Probe { request, of } => {
                let word = self.probed(now, of);
                self.post(answer(Message::Probed { request, of, word }));
            }
            Message::Probed { of, word, .. } => self.liveness.told(now, from.ordinal, of, word),
            message => {
                if let Some(request) = message.answers()
                    && let Some(running) = self.lookups.remove(&request)
                {
                    if running.asked == from {
                        self.advance(now, running, Some(message));
                    } else {
                        self.lookups.insert(request, running);
                    }
                } else if let (Some(request), Some(reply)) = (message.asks(), self.evasion(&to)) {
                    self.post(answer(reply(request)));
                } else if let Some(index) = self.slot(&to.id) {
                    self.apply(now, index, Event::Message { from, message });
                }
            }
        }
    }

    /// How a request to a virtual node is answered that cannot answer itself.
    pub(super) fn evasion(&self, to: &Peer) -> Option<fn(RequestId) -> Message> {
        let busy: fn(RequestId) -> Message = |request| Message::Busy { request };
        let gone: fn(RequestId) -> Message = |request| Message::Gone { request };
        match &self.phase {
            Phase::Waiting => Some(busy),
            Phase::Outside(outside) if !self.slots.is_empty() && !outside.knows_a_ring() => {
                Some(busy)
            }
            _ => self.slot(&to.id).is_none().then_some(gone),
        }
    }

    pub(super) fn standing(&self, now: u64) -> Standing {
        match self.phase {
            Phase::Inside { forming } if now < forming => Standing::Forming {
                members: self.members.digest(),
            },
            Phase::Inside { .. } => Standing::Member,
            Phase::Waiting | Phase::Outside(_) => Standing::Outside,
        }
    }

    pub(super) fn form(&mut self, now: u64) {
        for slot in &mut self.slots {
            *slot = Slot::new(Vnode::ideal(
                &self.config.rules,
                slot.vnode.me(),
                self.members.peers(),
            ));
        }
        self.lookups.clear();
        self.phase = Phase::Inside {
            forming: now.saturating_add(self.config.stabilize_ms.saturating_mul(10)),
        };
        self.rounds.hurry(now, self.config.stabilize_ms);
    }

    pub(super) fn settle_phase(&mut self) {
        let inside = self.slots.iter().any(|s| s.vnode.is_member());
        match self.phase {
            Phase::Inside { .. } if !inside => self.phase = Phase::Outside(Outside::default()),
            Phase::Outside(_) if inside => self.phase = Phase::Inside { forming: 0 },
            _ => {}
        }
    }

    pub(super) fn get_inside(&mut self, now: u64) {
        let Phase::Outside(outside) = &self.phase else {
            return;
        };
        if self.slots.is_empty() {
            return;
        }
        match outside.verdict(&self.members) {
            Verdict::Wait => {}
            Verdict::Form => self.form(now),
            Verdict::Join(at) => {
                for index in 0..self.slots.len() {
                    self.join(now, index, Some(&at));
                }
            }
        }
    }

    /// Gives one event to all virtual nodes.
    pub(super) fn each(&mut self, now: u64, event: &Event) {
        for index in 0..self.slots.len() {
            self.apply(now, index, event.clone());
        }
    }

    pub(super) fn apply(&mut self, now: u64, index: usize, event: Event) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let me = slot.vnode.me();
        let fails_at = now.saturating_add(self.config.request_timeout_ms);
        let mut out = Vec::new();
        let mut after = Vec::new();
        for action in slot.vnode.step(&self.config.rules, event) {
            match action {
                Action::Send { to, message } => {
                    if let Some(request) = message.asks().filter(|_| to.ordinal != self.ordinal) {
                        slot.waiting.push((request, to.ordinal, fails_at));
                    }
                    out.push(Envelope {
                        from: me,
                        to,
                        message,
                    });
                }
                Action::Note(note) => after.push(note),
            }
        }
        let vnode = &slot.vnode;
        slot.waiting.retain(|(request, ..)| vnode.awaits(*request));
        out.into_iter().for_each(|e| self.post(e));
        for note in after {
            match note {
                Note::Changed => self.rounds.hurry(now, self.config.stabilize_ms),
                Note::Retry => self.retry(now, index),
                Note::Joined => {
                    self.settle_phase();
                    self.rounds.hurry(now, self.config.stabilize_ms);
                    self.apply(now, index, Event::Stabilize);
                }
                Note::Lost => {
                    self.settle_phase();
                    self.rounds.hurry(now, self.config.stabilize_ms / 8);
                }
            }
        }
    }

    pub(super) fn failed(&mut self, now: u64, ordinal: Ordinal, why: Failure) {
        if ordinal == self.ordinal {
            return;
        }
        let known = self.liveness.alive(ordinal);
        let dead = self.liveness.missed(now, ordinal, why);
        if known && dead {
            self.rounds.hurry(now, self.config.stabilize_ms);
        } else if known && why != Failure::Busy {
            self.probes.hurry(now, self.config.stabilize_ms / 4);
        }
        if let Phase::Outside(outside) = &mut self.phase {
            outside.lost(ordinal);
        }
        let event = if dead {
            Event::Dead(Who::Host(ordinal))
        } else {
            Event::Unanswered(ordinal)
        };
        self.each(now, &event);
        let asked = |r: &Running| r.asked.ordinal == ordinal;
        let stuck: Vec<RequestId> = self
            .lookups
            .iter()
            .filter(|(_, r)| asked(r))
            .map(|(k, _)| *k)
            .collect();
        for request in stuck {
            if let Some(running) = self.lookups.remove(&request) {
                self.advance(now, running, None);
            }
        }
    }

    /// Takes a look-up of the host's own one step on.
    pub(super) fn advance(&mut self, now: u64, mut running: Running, reply: Option<Message>) {
        running.lookup.reply(running.asked, reply);
        self.drive(now, running);
    }

    pub(super) fn drive(&mut self, now: u64, mut running: Running) {
        let Some(index) = self.slot(&running.vnode) else {
            return;
        };
        loop {
            match running.lookup.step() {
                Next::Ask(peer) if !self.alive(peer.ordinal) => {}
                Next::Ask(peer) => {
                    let request = self.request();
                    let from = self.slots[index].vnode.me();
                    let message = Message::FindSuccessor {
                        request,
                        id: running.lookup.id(),
                    };
                    self.post(Envelope {
                        from,
                        to: peer,
                        message,
                    });
                    running.asked = peer;
                    running.fails_at = now.saturating_add(self.config.request_timeout_ms);
                    self.lookups.insert(request, running);
                    return;
                }
                Next::Done(outcome) => {
                    let event = outcome.ok().and_then(|found| {
                        let mut list = std::iter::once(found.successor).chain(found.others);
                        match running.bit {
                            None => Some(Event::Join { via: found.before }),
                            Some(bit) => list
                                .find(|p| self.alive(p.ordinal))
                                .map(|found| Event::Finger { bit, found }),
                        }
                    });
                    if let Some(event) = event {
                        if let Event::Finger { bit, found } = &event {
                            let slot = &mut self.slots[index];
                            let settled =
                                octave(&slot.vnode.me().id, &found.id).filter(|o| o >= bit);
                            slot.finger = settled.map_or(160, |o| o + 1);
                        }
                        self.apply(now, index, event);
                    }
                    return;
                }
            }
        }
    }

    pub(super) fn request(&mut self) -> RequestId {
        let number = self.next_request | HOST_REQUEST;
        self.next_request = (self.next_request + 1) % HOST_REQUEST;
        RequestId(u64::from(self.config.rules.boot) << 32 | u64::from(number))
    }

    pub(super) fn post(&mut self, envelope: Envelope) {
        if envelope.to.ordinal == self.ordinal {
            self.local.push_back(envelope);
        } else if envelope.message.is_reply() {
            self.replies.push(envelope);
        } else {
            self.outbox
                .entry(envelope.to.ordinal)
                .or_default()
                .push(envelope);
        }
    }

    /// Messages between virtual nodes of this host. Every exchange is finite;
    /// the budget is for what nobody thought of, and drops, which is harmless.
    pub(super) fn drain_local(&mut self, now: u64) {
        let mut budget = 1000 + 64 * self.slots.len();
        while let Some(envelope) = self.local.pop_front() {
            if budget > 0 {
                budget -= 1;
                self.deliver(now, envelope);
            }
        }
    }

    pub(super) fn flush(&mut self, now: u64) -> Vec<HostAction> {
        self.drain_local(now);
        let outbox = std::mem::take(&mut self.outbox);
        outbox
            .into_iter()
            .map(|(to, messages)| HostAction::Send { to, messages })
            .collect()
    }
}
