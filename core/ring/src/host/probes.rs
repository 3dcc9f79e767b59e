//! How a host makes sure of others, and of itself.
//!
//! Those that it points at and suspects are asked again every round, and after
//! the second failure its other neighbours are asked about them: neighbours have the same ones in
//! their lists. One asked says what it knows at once and, where that is old, asks
//! the suspect itself, so that it knows more the next time; so nobody has to keep
//! an account of questions, and a death noticed by one is soon noticed by all it
//! concerns, each for itself.

use std::collections::BTreeSet;

use chord_types::Ordinal;

use super::{Host, Phase};
use crate::message::{Envelope, Message, Peer, Word};

/// Suspects asked in one round.
const SUSPECTS: usize = 12;
/// Others asked about them.
const HELPERS: usize = 3;

/// When suspects are asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Probes {
    /// Never, while there are none.
    at: u64,
    turn: usize,
}

impl Default for Probes {
    fn default() -> Probes {
        Probes {
            at: u64::MAX,
            turn: 0,
        }
    }
}

impl Probes {
    /// When the next are due.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Somebody is suspected.
    pub fn hurry(&mut self, now: u64, within: u64) {
        self.at = self.at.min(now.saturating_add(within));
    }
}

fn in_turn<T: Copy>(all: &[T], from: usize, most: usize) -> Vec<T> {
    let round = all.iter().cycle().skip(from % all.len().max(1));
    round.take(most.min(all.len())).copied().collect()
}

impl Host {
    /// The time, which never goes back. Notices when this process was not run for
    /// a while, or its clock jumped: nobody is to blame for what did not come then.
    pub(super) fn awake(&mut self, now: u64) -> u64 {
        let now = now.max(self.now);
        let planned = self.next_tick().max(self.now);
        let lost = now.saturating_sub(planned);
        self.now = now;
        if lost > self.config.stabilize_ms && !matches!(self.phase, Phase::Waiting) {
            self.liveness.slept(now, lost);
            let waiting = self.slots.iter_mut().flat_map(|s| &mut s.waiting);
            let lookups = self.lookups.values_mut().map(|r| &mut r.fails_at);
            for at in waiting.map(|w| &mut w.2).chain(lookups) {
                *at = at.saturating_add(lost);
            }
        }
        now
    }

    /// Asks suspects, and others about them.
    pub(super) fn probe(&mut self, now: u64) {
        if self.probes.at > now {
            return;
        }
        let near = self.near();
        // One lost message to a host that nothing points to concerns nobody.
        let suspects: Vec<(Ordinal, bool)> = self
            .liveness
            .suspects()
            .filter(|(o, serious)| *serious || near.contains(o))
            .collect();
        if suspects.is_empty() {
            self.probes.at = u64::MAX;
            return;
        }
        // Spoken to by a virtual node of theirs: the view knows whose each is, and a
        // node refuses what is not for it.
        let helpers: Vec<Peer> = self
            .members
            .hosts()
            .iter()
            .filter(|p| near.contains(&p.ordinal) && self.liveness.trusted(p.ordinal))
            .copied()
            .collect();
        let turn = self.probes.turn % 1000;
        let suspects = in_turn(&suspects, turn * SUSPECTS, SUSPECTS);
        // Not everybody's first helper is the lowest ordinal.
        let helpers = in_turn(&helpers, turn * HELPERS + self.ordinal.0 as usize, HELPERS);
        self.probes.turn = turn.wrapping_add(1);
        self.probes.at = now.saturating_add(self.config.stabilize_ms);
        let from = self.speaker();
        for (of, serious) in suspects {
            // An empty batch: that it is answered is all that counts.
            self.outbox.entry(of).or_default();
            for to in helpers.iter().copied().filter(|_| serious) {
                let request = self.request();
                self.post(Envelope {
                    from,
                    to,
                    message: Message::Probe { request, of },
                });
            }
        }
    }

    /// A host asks what is known of another.
    pub(super) fn probed(&mut self, now: u64, of: Ordinal) -> Word {
        if of == self.ordinal {
            return Word::Heard { ago: 0 };
        }
        if !self.members.has(of) {
            return Word::Unknown;
        }
        let (word, ask) = self.liveness.word(now, of);
        if ask {
            self.outbox.entry(of).or_default();
        }
        word
    }

    /// The hosts that its virtual nodes point at.
    pub(super) fn near(&self) -> BTreeSet<Ordinal> {
        let vnodes = self.slots.iter().map(|s| &s.vnode);
        vnodes
            .flat_map(|v| {
                v.successors()
                    .iter()
                    .chain(v.fingers())
                    .copied()
                    .chain(v.pred())
            })
            .map(|p| p.ordinal)
            .filter(|o| *o != self.ordinal)
            .collect()
    }
}
