//! Which hosts are alive, as far as the ring has noticed.
//!
//! Any message proves life. A request that fails once proves nothing (pods move,
//! packets drop); a host is dead when requests keep failing for a while with no
//! word from it in between.

use std::collections::BTreeMap;

use chord_api::Ordinal;

/// What is known about the hosts met so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Liveness {
    dead_after_ms: u64,
    hosts: BTreeMap<Ordinal, Health>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Health {
    heard: Option<u64>,
    /// The first and the last failed request since it was heard.
    missed: Option<(u64, u64)>,
    dead: bool,
}

impl Liveness {
    pub fn new(dead_after_ms: u64) -> Liveness {
        Liveness {
            dead_after_ms,
            hosts: BTreeMap::new(),
        }
    }

    /// It said something. True if it was thought dead.
    pub fn heard(&mut self, now: u64, ordinal: Ordinal) -> bool {
        let health = self.hosts.entry(ordinal).or_default();
        let back = health.dead;
        *health = Health {
            heard: Some(now),
            missed: None,
            dead: false,
        };
        back
    }

    /// A request to it failed. True if it is to be taken for dead.
    pub fn missed(&mut self, now: u64, ordinal: Ordinal) -> bool {
        let health = self.hosts.entry(ordinal).or_default();
        // Failures far apart are two accidents, not one death.
        let since = match health.missed {
            Some((first, last))
                if now.saturating_sub(last) <= self.dead_after_ms.saturating_mul(8) =>
            {
                first
            }
            _ => now,
        };
        health.missed = Some((since, now));
        health.dead |= now.saturating_sub(since) >= self.dead_after_ms;
        health.dead
    }

    /// Whether it is not known to be dead.
    pub fn alive(&self, ordinal: Ordinal) -> bool {
        self.hosts.get(&ordinal).is_none_or(|h| !h.dead)
    }

    /// When it was last heard.
    pub fn last_heard(&self, ordinal: Ordinal) -> Option<u64> {
        self.hosts.get(&ordinal).and_then(|h| h.heard)
    }

    /// Whether requests to some host have failed, and it is not yet dead.
    pub fn suspects_any(&self) -> bool {
        self.hosts.values().any(|h| h.missed.is_some() && !h.dead)
    }

    /// Forgets hosts that are members no more.
    pub fn retain(&mut self, keep: impl Fn(Ordinal) -> bool) {
        self.hosts.retain(|ordinal, _| keep(*ordinal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_is_not_death_and_a_word_undoes_it() {
        let it = Ordinal(3);
        let mut liveness = Liveness::new(2000);
        assert!(!liveness.missed(0, it));
        assert!(!liveness.missed(1999, it));
        assert!(!liveness.heard(1999, it));
        assert!(
            !liveness.missed(2500, it),
            "counted from the first failure since"
        );
        assert!(liveness.alive(it));
        assert!(liveness.missed(4500, it));
        assert!(!liveness.alive(it));
        assert!(liveness.heard(5000, it), "it is back");
        assert!(liveness.alive(it));
        assert!(!liveness.missed(10_000, it));
        assert!(!liveness.missed(100_000, it), "an accident each");
    }
}
