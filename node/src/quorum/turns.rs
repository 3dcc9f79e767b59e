//! Turns: of the operations on one register that start at this node, one is at it
//! at a time. Any two at once only outbid each other, ballot after ballot; so what
//! is left to compete are as many as there are nodes, not as many as clients.

use std::collections::HashMap;
use std::sync::Arc;

use chord_types::FileName;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::Instant;

/// The registers that somebody is at. The map is under no lock of tokio's: nothing is
/// awaited while it is held.
#[derive(Debug, Default)]
pub struct Turns(Arc<Mutex<HashMap<FileName, Arc<Turn<()>>>>>);

/// One's turn, until this is dropped.
pub struct HeldTurn {
    turns: Arc<Mutex<HashMap<FileName, Arc<Turn<()>>>>>,
    name: FileName,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn, in the order of asking; `None` where it has not come
    /// until `end`.
    pub async fn take(&self, name: &FileName, end: Instant) -> Option<HeldTurn> {
        let turn = {
            let mut turns = self.0.lock();
            turns.entry(name.clone()).or_default().clone()
        };
        // Made before the wait, so that a wait that is given up clears up too.
        let mut held = HeldTurn {
            turns: self.0.clone(),
            name: name.clone(),
            turn: None,
        };
        let waited = tokio::time::timeout_at(end, turn.lock_owned()).await;
        held.turn = Some(waited.ok()?);
        Some(held)
    }
}

impl Drop for HeldTurn {
    fn drop(&mut self) {
        let mut turns = self.turns.lock();
        self.turn = None;
        // Only the map has it: nobody waits. Who comes next makes another.
        if turns
            .get(&self.name)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            turns.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn soon(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    #[tokio::test]
    async fn one_at_a_time_for_each_name_and_nothing_is_kept() {
        let turns = Turns::default();
        let (hot, other) = ("hot".parse().unwrap(), "other".parse().unwrap());
        let at = AtomicUsize::new(0);
        let all = (0..50).map(|_| async {
            let _turn = turns.take(&hot, soon(60_000)).await.unwrap();
            assert_eq!(at.fetch_add(1, Ordering::SeqCst), 0);
            tokio::task::yield_now().await;
            at.fetch_sub(1, Ordering::SeqCst);
        });
        futures::future::join_all(all).await;
        let held = turns.take(&hot, soon(60_000)).await.unwrap();
        assert!(turns.take(&hot, soon(1)).await.is_none(), "it is taken");
        assert!(turns.take(&other, soon(60_000)).await.is_some());
        drop(held);
        assert!(turns.take(&hot, soon(60_000)).await.is_some());
        assert!(turns.0.lock().is_empty());
    }
}
