//! When a host does what: rounds, retries, expiry, fingers, hints, joining.
//!
//! The little disorder that keeps hosts from asking each other in step comes
//! from a hash of the host and the number of the round, so that a run repeats.

use chord_types::{Id, Ordinal};

use super::{Failure, Host, Phase, Running};
use crate::lookup::Lookup;
use crate::message::{Envelope, Message, Peer};
use crate::vnode::Event;

/// Quiet rounds before the next is put off longer.
const QUIET_ROUNDS: u32 = 3;
/// Members looked at for a hint; the next ones in another round.
const HINTS: usize = 16;

/// The timing of rounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rounds {
    at: u64,
    /// Rounds so far.
    count: u64,
    /// Rounds since something changed.
    quiet: u32,
    /// The slot whose fingers are next.
    fingers: usize,
}

impl Rounds {
    /// When the next round is due.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Something changed: the next round comes within `period`.
    pub fn hurry(&mut self, now: u64, period: u64) {
        self.quiet = 0;
        self.at = self.at.min(now.saturating_add(period));
    }

    fn next(&mut self, now: u64, ordinal: Ordinal, period: u64, backoff: u64) {
        let doublings = (self.quiet / QUIET_ROUNDS).min(16);
        let period = period.saturating_mul((1 << doublings).min(backoff.max(1)));
        self.count += 1;
        self.quiet = self.quiet.saturating_add(1);
        // Between 3/4 and 5/4 of the period.
        let jitter = mix(u64::from(ordinal.0), self.count) % (period / 2).max(1);
        self.at = now.saturating_add((period * 3 / 4 + jitter).max(1));
    }
}

/// A hash of two numbers (the finaliser of splitmix64).
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_add(0x632b_e59b_d9b4_e019);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Host {
    /// Requests without a reply have failed.
    pub(super) fn expire(&mut self, now: u64) {
        let vnodes = self
            .slots
            .iter()
            .flat_map(|s| &s.waiting)
            .map(|(_, o, at)| (*o, *at));
        let lookups = self.lookups.values().map(|r| (r.asked.ordinal, r.fails_at));
        let mut late: Vec<Ordinal> = vnodes
            .chain(lookups)
            .filter(|(_, at)| *at <= now)
            .map(|(o, _)| o)
            .collect();
        late.sort_unstable();
        late.dedup();
        for ordinal in late {
            self.failed(now, ordinal, Failure::Silent);
        }
    }

    /// Retries and the round, where they are due.
    pub(super) fn run_due(&mut self, now: u64) {
        for index in 0..self.slots.len() {
            if self.slots[index].retry_at.is_some_and(|at| at <= now) {
                self.slots[index].retry_at = None;
                self.apply(now, index, Event::Stabilize);
                self.drain_local(now);
            }
        }
        if self.rounds.at <= now {
            let (period, backoff) = (self.config.stabilize_ms, self.config.backoff);
            // A ring is asked again soon by those that are not in it.
            if self.slots.iter().any(|s| !s.vnode.is_member()) {
                self.rounds.quiet = 0;
            }
            self.rounds.next(now, self.ordinal, period, backoff);
            self.round(now);
        }
    }

    /// Stabilises a virtual node again soon, each time within a round later.
    pub(super) fn retry(&mut self, now: u64, index: usize) {
        let step = (self.config.stabilize_ms / 8).max(1);
        let place = (u64::from(self.ordinal.0) << 20) + index as u64;
        if let Some(slot) = self.slots.get_mut(index) {
            let wait = step << slot.retries.min(3);
            slot.retries += 1;
            let jitter =
                mix(place, self.rounds.count + (u64::from(slot.retries) << 40)) % (step * 2);
            slot.retry_at = Some(now.saturating_add(wait + jitter));
        }
    }

    fn round(&mut self, now: u64) {
        match &mut self.phase {
            Phase::Waiting => return,
            Phase::Outside(outside) => {
                if !self.slots.is_empty() {
                    for to in outside.hail(self.ordinal, &self.members) {
                        let request = self.request();
                        let from = self.speaker();
                        self.post(Envelope {
                            from,
                            to,
                            message: Message::Hail { request },
                        });
                    }
                    self.get_inside(now);
                }
                return;
            }
            Phase::Inside { .. } => {}
        }
        let count = self.slots.len();
        let start = self.rounds.count as usize % count.max(1);
        let mut probes = if self.rounds.count % 2 == 1 {
            self.config.hint_probes
        } else {
            0
        };
        for index in (start..count).chain(0..start) {
            self.slots[index].retries = 0;
            if !self.slots[index].vnode.is_member() {
                self.join(now, index, None);
            } else if let Some(hint) = self.hint(index).filter(|_| probes > 0) {
                probes -= 1;
                self.apply(now, index, Event::Hint(hint));
            } else {
                self.apply(now, index, Event::Stabilize);
            }
            self.drain_local(now);
        }
        self.fix_fingers(now);
    }

    /// A member by the view that should be a nearer successor, if there is one.
    fn hint(&self, index: usize) -> Option<Peer> {
        let vnode = &self.slots[index].vnode;
        let first = vnode.successors().first()?;
        let unknown = |p: &Peer| {
            p.ordinal != self.ordinal
                || self
                    .slot(&p.id)
                    .is_some_and(|s| self.slots[s].vnode.is_member())
        };
        let me = vnode.me();
        let hints: Vec<Peer> = self
            .members
            .between(&me.id, &first.id)
            .take(HINTS)
            .filter(unknown)
            .collect();
        let turn = self.rounds.count as usize / 2;
        hints.get(turn % hints.len().max(1)).copied()
    }

    /// Looks for the place of a virtual node in the ring, through members one
    /// knows of or through the others here.
    pub(super) fn join(&mut self, now: u64, index: usize, at: Option<&[Peer]>) {
        let vnode = &self.slots[index].vnode;
        let id = vnode.me().id;
        let under_way = self
            .lookups
            .values()
            .any(|r| r.bit.is_none() && r.vnode == id);
        if vnode.is_member() || vnode.is_asking() || under_way {
            return;
        }
        let lookup = match at {
            Some(members) => Lookup::via(self.ordinal, id, members.to_vec()),
            None => self.lookup(id),
        };
        self.begin(now, id, None, lookup);
    }

    fn fix_fingers(&mut self, now: u64) {
        let mut free = self
            .config
            .finger_lookups
            .saturating_sub(self.lookups.len());
        for _ in 0..self.slots.len() {
            if free == 0 {
                return;
            }
            let index = self.rounds.fingers % self.slots.len();
            let slot = &mut self.slots[index];
            match slot.vnode.finger_due(slot.finger) {
                Some((bit, start)) => {
                    free -= 1;
                    // Past this one whatever comes of the look-up.
                    slot.finger = bit + 1;
                    let id = slot.vnode.me().id;
                    let lookup = self.lookup(start);
                    self.begin(now, id, Some(bit), lookup);
                    self.drain_local(now);
                }
                None => {
                    slot.finger = 0;
                    self.rounds.fingers = (index + 1) % self.slots.len();
                }
            }
        }
    }

    fn begin(&mut self, now: u64, vnode: Id, bit: Option<u8>, lookup: Lookup) {
        let asked = self.speaker();
        self.drive(
            now,
            Running {
                lookup,
                vnode,
                bit,
                asked,
                fails_at: now,
            },
        );
    }
}
