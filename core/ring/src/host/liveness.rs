//! Which hosts are alive, as far as this one can tell.
//!
//! Suspicion as in SWIM, with Lifeguard's doubt in oneself; not phi-accrual. An
//! accrual detector learns the gaps between heartbeats, and there are none here:
//! a quiet ring speaks ever more rarely, on purpose, and to whom changes with its
//! pointers. It also takes the gaps of a starved observer for those of its peers.
//! So a failed request is where it starts, not a late word.
//!
//! - Any word from a host proves life and ends the suspicion, a late answer too.
//! - *Refused* is told from *silent*. A connection that is refused, twice and
//!   `patience` apart, is a process that is gone. Silence may be a busy machine,
//!   so it takes several requests and much longer.
//! - A suspect is asked again every round, and others are asked whether they have
//!   heard it. That they have puts death off, for a while; that they ask it in
//!   vain brings it nearer, but proves nothing: there is no rumour of death that
//!   one confused host could spread.
//! - A host that was not run for a while takes that time off every suspicion,
//!   believes no silence of just then, and is slower to believe it for a while.
//!   Where most of those it knows are silent, the fault is likelier its own.

use std::collections::BTreeMap;

use chord_types::Ordinal;

use crate::message::Word;

/// Requests without an answer before silence can mean death.
const MISSES: u32 = 3;
/// From this many on a suspicion is serious, whoever it is of.
const SERIOUS: u32 = 2;
/// Silence is one silence only while requests fail no farther apart than this
/// many times the patience; two accidents with nothing between are two.
const GAP: u64 = 3;
/// Silence is death after this many times the patience if nobody agrees...
const ALONE: u64 = 5;
/// ...and after this many if [`OPINIONS`] others do.
const AGREED: u64 = 2;
/// How many others count.
const OPINIONS: usize = 3;
/// How far agreement goes from [`ALONE`] to [`AGREED`], in thousandths: its
/// logarithm, since the first opinion says most.
const WEIGHT: [u64; OPINIONS + 1] = [0, 500, 792, 1000];
/// What others heard keeps a host alive for this many times the longest wait:
/// one that cannot be reached from here is of no use in the ring.
const VOUCHED: u64 = 4;
/// Failures that are this many times the patience apart are accidents.
const ACCIDENTS: u64 = 20;
/// The most doubt in oneself: so many times more patience, and one...
const MOST_DOUBT: u64 = 3;
/// ...and how long each takes to pass, in units of patience.
const DOUBTS: u64 = 20;

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// Nobody is there: the connection was refused, or another node answered.
    Gone,
    /// No answer in time: it is gone, or slow, or the fault is here.
    Silent,
    /// It answered that it cannot: it is alive.
    Busy,
}

/// What is known about the hosts met so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Liveness {
    patience: u64,
    hosts: BTreeMap<Ordinal, Health>,
    doubt: Doubt,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Health {
    heard: Option<u64>,
    suspicion: Option<Suspicion>,
    dead: bool,
    /// When it was asked for somebody else's sake.
    pinged: Option<u64>,
}

/// Requests failed since it was heard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Suspicion {
    first: u64,
    last: u64,
    /// The first failure since anybody heard it.
    since: u64,
    misses: u32,
    /// The first refusal.
    refused: Option<u64>,
    /// Who else asks it in vain.
    agree: Vec<Ordinal>,
}

/// How far this host can trust what it sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Doubt {
    level: u64,
    at: u64,
    /// Silence counts for nothing until then.
    deaf_until: u64,
}

impl Liveness {
    /// `patience`: how long refusals have to last until a host is dead.
    pub fn new(patience: u64) -> Liveness {
        Liveness {
            patience: patience.max(1),
            hosts: BTreeMap::new(),
            doubt: Doubt::default(),
        }
    }

    /// It said something. True if it was thought dead.
    pub fn heard(&mut self, now: u64, ordinal: Ordinal) -> bool {
        let health = self.hosts.entry(ordinal).or_default();
        health.heard = Some(now);
        health.suspicion = None;
        std::mem::take(&mut health.dead)
    }

    /// A request to it failed. True if it is to be taken for dead.
    pub fn missed(&mut self, now: u64, ordinal: Ordinal, why: Failure) -> bool {
        let deaf = now < self.doubt.deaf_until;
        let forget = self.patience.saturating_mul(ACCIDENTS);
        let health = self.hosts.entry(ordinal).or_default();
        if health.dead || why == Failure::Busy || (why == Failure::Silent && deaf) {
            return health.dead;
        }
        health
            .suspicion
            .take_if(|s| now.saturating_sub(s.last) > forget);
        let suspicion = health.suspicion.get_or_insert(Suspicion {
            first: now,
            last: now,
            since: now,
            misses: 0,
            refused: None,
            agree: Vec::new(),
        });
        if now.saturating_sub(suspicion.last) > self.patience.saturating_mul(GAP) {
            (suspicion.first, suspicion.since) = (now, now);
            suspicion.agree.clear();
        }
        suspicion.last = now;
        suspicion.misses = suspicion.misses.saturating_add(1);
        let dead = match why {
            Failure::Gone => {
                let since = *suspicion.refused.get_or_insert(now);
                now.saturating_sub(since) >= self.patience
            }
            _ => self.silent_for_too_long(now, ordinal),
        };
        if dead && let Some(health) = self.hosts.get_mut(&ordinal) {
            health.dead = true;
            health.suspicion = None;
        }
        dead
    }

    fn silent_for_too_long(&self, now: u64, ordinal: Ordinal) -> bool {
        let Some(suspicion) = self.hosts.get(&ordinal).and_then(|h| h.suspicion.as_ref()) else {
            return false;
        };
        if suspicion.misses < MISSES {
            return false;
        }
        let mut unit = self.patience.saturating_mul(1 + self.doubt(now));
        if self.most_are_silent() {
            unit = unit.saturating_mul(2);
        }
        let alone = unit.saturating_mul(ALONE);
        let weight = WEIGHT.get(suspicion.agree.len()).copied().unwrap_or(1000);
        let limit = alone - unit.saturating_mul(ALONE - AGREED) / 1000 * weight;
        now.saturating_sub(suspicion.since) >= limit
            || now.saturating_sub(suspicion.first) >= alone.saturating_mul(VOUCHED)
    }

    fn most_are_silent(&self) -> bool {
        let living = self.hosts.values().filter(|h| !h.dead).count();
        let silent = self.hosts.values().filter(|h| h.suspicion.is_some());
        silent.count() * 2 > living
    }

    fn doubt(&self, now: u64) -> u64 {
        let eased = now.saturating_sub(self.doubt.at) / self.patience.saturating_mul(DOUBTS);
        self.doubt.level.saturating_sub(eased)
    }

    /// This process was not run for `lost` until just now, or its clock jumped:
    /// whatever did not answer in that time may have.
    pub fn slept(&mut self, now: u64, lost: u64) {
        let level = (self.doubt(now) + 1).min(MOST_DOUBT);
        self.doubt = Doubt {
            level,
            at: now,
            deaf_until: now.saturating_add(self.patience),
        };
        for suspicion in self.hosts.values_mut().filter_map(|h| h.suspicion.as_mut()) {
            let times = [
                &mut suspicion.first,
                &mut suspicion.since,
                &mut suspicion.last,
            ];
            for time in times.into_iter().chain(&mut suspicion.refused) {
                *time = time.saturating_add(lost).min(now);
            }
        }
    }

    /// What another host says of a suspect.
    pub fn told(&mut self, now: u64, by: Ordinal, of: Ordinal, word: Word) {
        let suspicion = self.hosts.get_mut(&of).and_then(|h| h.suspicion.as_mut());
        let Some(suspicion) = suspicion else {
            return;
        };
        match word {
            Word::Heard { ago } => {
                let at = now.saturating_sub(ago);
                if at > suspicion.since {
                    suspicion.since = at;
                    suspicion.agree.clear();
                }
            }
            Word::Silent => {
                if suspicion.agree.len() < OPINIONS && !suspicion.agree.contains(&by) {
                    suspicion.agree.push(by);
                }
            }
            Word::Unknown => {}
        }
    }

    /// What can be said of a host to one that suspects it, and whether to ask it
    /// now, so that more can be said the next time.
    pub fn word(&mut self, now: u64, of: Ordinal) -> (Word, bool) {
        let half = self.patience / 2;
        let health = self.hosts.entry(of).or_default();
        let lately = |at: &u64| now.saturating_sub(*at) <= half * 4;
        let vain = health.suspicion.as_ref().map(|s| s.last).filter(lately);
        let word = if health.dead || vain.is_some() {
            Word::Silent
        } else {
            health.heard.map_or(Word::Unknown, |at| Word::Heard {
                ago: now.saturating_sub(at),
            })
        };
        let old = |at: Option<u64>| at.is_none_or(|at| now.saturating_sub(at) > half);
        let ask = word != Word::Silent && old(health.heard) && old(health.pinged);
        if ask {
            health.pinged = Some(now);
        }
        (word, ask)
    }

    /// Whether it is not known to be dead.
    pub fn alive(&self, ordinal: Ordinal) -> bool {
        self.hosts.get(&ordinal).is_none_or(|h| !h.dead)
    }

    /// Whether it is alive and nothing speaks against it.
    pub fn trusted(&self, ordinal: Ordinal) -> bool {
        self.hosts
            .get(&ordinal)
            .is_none_or(|h| !h.dead && h.suspicion.is_none())
    }

    /// When it was last heard.
    pub fn last_heard(&self, ordinal: Ordinal) -> Option<u64> {
        self.hosts.get(&ordinal).and_then(|h| h.heard)
    }

    /// Hosts whose requests have failed, and that are not yet dead; with each
    /// whether it is more than one lost message.
    pub fn suspects(&self) -> impl Iterator<Item = (Ordinal, bool)> + '_ {
        let serious = |s: &Suspicion| s.misses >= SERIOUS || s.refused.is_some();
        let suspect = move |(o, h): (&Ordinal, &Health)| Some((*o, serious(h.suspicion.as_ref()?)));
        self.hosts.iter().filter_map(suspect)
    }

    /// Forgets hosts that are members no more.
    pub fn retain(&mut self, keep: impl Fn(Ordinal) -> bool) {
        self.hosts.retain(|ordinal, _| keep(*ordinal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IT: Ordinal = Ordinal(3);

    /// Knows many hosts, so that one suspect is not most of them.
    fn liveness() -> Liveness {
        let mut liveness = Liveness::new(2000);
        (0..10).for_each(|n| assert!(!liveness.heard(0, Ordinal(n))));
        liveness
    }

    fn silent_until_dead(liveness: &mut Liveness, from: u64) -> u64 {
        (from..)
            .step_by(500)
            .find(|now| liveness.missed(*now, IT, Failure::Silent))
            .unwrap()
            - from
    }

    #[test]
    fn refusals_that_last_are_death_and_a_word_undoes_it() {
        let mut liveness = liveness();
        assert!(!liveness.missed(0, IT, Failure::Gone));
        assert!(!liveness.missed(1999, IT, Failure::Gone));
        assert!(!liveness.heard(1999, IT));
        assert!(!liveness.missed(2500, IT, Failure::Gone), "counted anew");
        assert!(liveness.missed(4500, IT, Failure::Gone));
        assert!(!liveness.alive(IT));
        assert!(liveness.heard(5000, IT), "it is back");
        assert!(liveness.alive(IT));
        assert!(!liveness.missed(10_000, IT, Failure::Gone));
        assert!(
            !liveness.missed(100_000, IT, Failure::Gone),
            "an accident each"
        );
    }

    #[test]
    fn silence_takes_longer_and_less_long_when_others_agree() {
        assert_eq!(silent_until_dead(&mut liveness(), 100), 10_000);
        let mut last = 10_000;
        for opinions in 1..=3 {
            let mut liveness = liveness();
            liveness.missed(100, IT, Failure::Silent);
            for by in 0..opinions {
                liveness.told(200, Ordinal(by + 5), IT, Word::Silent);
                liveness.told(200, Ordinal(by + 5), IT, Word::Silent);
            }
            let took = silent_until_dead(&mut liveness, 100);
            assert!(took < last, "{opinions} agree: {took}");
            last = took;
        }
        assert_eq!(last, 4000);
    }

    #[test]
    fn who_is_heard_by_another_lives_on_for_a_while() {
        let mut liveness = liveness();
        let mut now = 1000;
        while !liveness.missed(now, IT, Failure::Silent) {
            liveness.told(now, Ordinal(7), IT, Word::Silent);
            liveness.told(now, Ordinal(5), IT, Word::Heard { ago: 100 });
            now += 1000;
        }
        assert_eq!(now, 41_000, "but not for ever");
        // What was heard before it fell silent says nothing.
        liveness.heard(50_000, IT);
        liveness.missed(60_000, IT, Failure::Silent);
        liveness.told(61_000, Ordinal(5), IT, Word::Heard { ago: 2000 });
        assert_eq!(silent_until_dead(&mut liveness, 60_000), 10_000);
    }

    #[test]
    fn time_in_which_this_host_slept_does_not_count() {
        let mut liveness = liveness();
        for now in [1000, 2000, 3000, 4000] {
            assert!(!liveness.missed(now, IT, Failure::Silent));
        }
        liveness.slept(64_000, 60_000);
        assert!(!liveness.missed(64_000, IT, Failure::Silent));
        assert!(!liveness.missed(66_100, IT, Failure::Silent));
        let took = silent_until_dead(&mut liveness, 67_000);
        assert!(took > 10_000, "it doubts itself: {took}");
    }

    #[test]
    fn a_host_that_all_leave_without_an_answer_doubts_itself() {
        let mut liveness = liveness();
        for n in 4..10 {
            liveness.missed(0, Ordinal(n), Failure::Silent);
        }
        assert_eq!(silent_until_dead(&mut liveness, 0), 20_000);
    }

    #[test]
    fn it_says_of_others_what_it_knows_itself() {
        let mut liveness = Liveness::new(2000);
        let ago = |ago| Word::Heard { ago };
        assert_eq!(liveness.word(0, IT), (Word::Unknown, true));
        assert_eq!(liveness.word(500, IT), (Word::Unknown, false), "not twice");
        liveness.heard(900, IT);
        assert_eq!(liveness.word(1000, IT), (ago(100), false));
        assert_eq!(liveness.word(9000, IT), (ago(8100), true));
        liveness.missed(10_000, IT, Failure::Silent);
        assert_eq!(liveness.word(10_100, IT), (Word::Silent, false));
        let old = liveness.word(20_000, IT);
        assert_eq!(old, (ago(19_100), true), "one failure long ago");
    }
}
