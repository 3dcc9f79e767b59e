//! One cluster is restarted at a time: a bad image then hurts one, not all.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After this long without a restart, a cluster that does not come to an end no
/// longer keeps the others waiting.
const GIVES_WAY: Duration = Duration::from_secs(600);

/// Who is being restarted.
#[derive(Default)]
pub struct Rolling(Mutex<Option<(String, Instant)>>);

impl Rolling {
    /// Whether this cluster may restart a node now; from then on it is its turn.
    pub fn may(&self, whose: &str) -> bool {
        let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = turn
            .as_ref()
            .is_none_or(|(who, since)| who == whose || since.elapsed() > GIVES_WAY);
        if free {
            *turn = Some((whose.to_string(), Instant::now()));
        }
        free
    }

    /// All nodes of this cluster run as they shall.
    pub fn done(&self, whose: &str) {
        let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let rolling = Rolling::default();
        assert!(rolling.may("a"));
        assert!(rolling.may("a"));
        assert!(!rolling.may("b"));
        rolling.done("b");
        assert!(!rolling.may("b"), "it was not its turn to end");
        rolling.done("a");
        assert!(rolling.may("b"));
    }
}
