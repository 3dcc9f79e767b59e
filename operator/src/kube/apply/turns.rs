//! One cluster is restarted at a time: a bad image then hurts one, not all.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;

/// After this long without a restart, a cluster that does not come to an end no
/// longer keeps the others waiting.
const GIVES_WAY: Duration = Duration::from_secs(600);

/// Whose turn it is.
pub struct Turns {
    /// Which cluster's, and the uptime of its last restart. parking_lot's mutex, and not
    /// tokio's: nothing is awaited while it is held.
    turn: Mutex<Option<(String, Duration)>>,
    clock: Clock,
}

impl Turns {
    /// It is nobody's turn yet.
    pub fn new(clock: Clock) -> Turns {
        Turns {
            turn: Mutex::default(),
            clock,
        }
    }

    /// Whether this cluster may restart a node now; from then on it is its turn.
    pub fn may(&self, whose: &str) -> bool {
        let mut turn = self.turn.lock();
        let free = turn
            .as_ref()
            .is_none_or(|(who, since)| who == whose || self.clock.since(*since) > GIVES_WAY);
        if free {
            *turn = Some((whose.to_string(), self.clock.uptime()));
        }
        free
    }

    /// All nodes of this cluster run as they shall.
    pub fn done(&self, whose: &str) {
        let mut turn = self.turn.lock();
        if turn.as_ref().is_some_and(|(who, _)| who == whose) {
            *turn = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cluster_at_a_time() {
        let clock = Clock::by_hand();
        let turns = Turns::new(clock.clone());
        assert!(turns.may("a"));
        assert!(turns.may("a"));
        assert!(!turns.may("b"));
        turns.done("b");
        assert!(!turns.may("b"), "it was not its turn to end");
        turns.done("a");
        assert!(turns.may("b"));
        clock.forward(GIVES_WAY);
        assert!(!turns.may("a"));
        clock.forward(Duration::from_millis(1));
        assert!(turns.may("a"), "it does not come to its end");
    }
}
