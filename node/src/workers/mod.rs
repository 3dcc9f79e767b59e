//! What a node does by itself. Every worker has a name and a state that people
//! can see, and survives a restart because it derives its work from what is on
//! the disk and in the view.

pub mod census;
pub mod copies;
pub mod dropped;
pub mod leftovers;
pub mod migrator;
pub mod reaper;
pub mod replicator;
pub mod scrub;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chord_api::status::WorkerStatus;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::node::Node;

/// Small things left to finish after an answer was given, at a time.
const MAX_BACKGROUND: usize = 1024;

/// The one place that spawns background work.
pub struct Workers {
    tasks: TaskTracker,
    stop: CancellationToken,
    turns: Arc<Semaphore>,
    /// Wakes the migrator before its time.
    pub migrate_now: Notify,
    states: Mutex<BTreeMap<&'static str, WorkerStatus>>,
}

impl Default for Workers {
    fn default() -> Workers {
        Workers {
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            turns: Arc::new(Semaphore::new(MAX_BACKGROUND)),
            migrate_now: Notify::new(),
            states: Mutex::new(BTreeMap::new()),
        }
    }
}

impl Workers {
    /// Starts every worker of a node.
    pub fn start(&self, node: &Arc<Node>) {
        self.spawn(crate::ring::run(node.clone()));
        self.spawn(census::run(node.clone()));
        self.spawn(migrator::run(node.clone()));
        self.spawn(replicator::run(node.clone()));
        self.spawn(replicator::pay_debts(node.clone()));
        self.spawn(reaper::run(node.clone()));
        self.spawn(scrub::run(node.clone()));
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Finishes something small after its answer was given. When too much is left
    /// to do it is dropped, and the answer is false: a full pass finds it again,
    /// and a copy that goes missing by it is better owed at once.
    pub fn background(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let Ok(turn) = self.turns.clone().try_acquire_owned() else {
            return false;
        };
        self.spawn(async move {
            work.await;
            drop(turn);
        });
        true
    }

    /// Stops the workers and waits for them.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(10), self.tasks.wait()).await;
    }

    /// Notes what a worker does.
    pub fn say(&self, name: &'static str, state: &str, detail: impl Into<String>) {
        self.with(name, |status| {
            status.state = state.into();
            status.detail = detail.into();
        });
    }

    /// Notes the end of a round.
    pub fn count(&self, name: &'static str, done: u64, errors: u64) {
        self.with(name, |status| {
            status.rounds += 1;
            status.done += done;
            status.errors += errors;
        });
    }

    fn with(&self, name: &'static str, change: impl FnOnce(&mut WorkerStatus)) {
        let mut states = self.states.lock().unwrap_or_else(|p| p.into_inner());
        change(states.entry(name).or_insert_with(|| WorkerStatus {
            name: name.into(),
            state: "idle".into(),
            detail: String::new(),
            rounds: 0,
            done: 0,
            errors: 0,
        }));
    }

    /// Every worker's state.
    pub fn states(&self) -> Vec<WorkerStatus> {
        self.states
            .lock()
            .unwrap_or_else(|p| p.into_inner())
            .values()
            .cloned()
            .collect()
    }
}
