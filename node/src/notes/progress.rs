//! What each worker does at the moment, for people to see.

use std::collections::BTreeMap;

use chord_api::status::WorkerStatus;
use parking_lot::Mutex;

/// The states of the workers by their names. (No lock of tokio's: nothing is awaited
/// while it is held.)
#[derive(Debug, Default)]
pub struct Progress(Mutex<BTreeMap<&'static str, WorkerStatus>>);

impl Progress {
    /// What a worker does from now on: its state in one word, and the details.
    pub fn set(&self, worker: &'static str, state: &str, detail: impl Into<String>) {
        self.change(worker, |status| {
            status.state = state.into();
            status.detail = detail.into();
        });
    }

    /// Counts one round of a worker.
    pub fn count(&self, worker: &'static str, done: u64, errors: u64) {
        self.change(worker, |status| {
            status.rounds += 1;
            status.done += done;
            status.errors += errors;
        });
    }

    fn change(&self, worker: &'static str, change: impl FnOnce(&mut WorkerStatus)) {
        let mut states = self.0.lock();
        change(states.entry(worker).or_insert_with(|| WorkerStatus {
            name: worker.into(),
            state: "idle".into(),
            detail: String::new(),
            rounds: 0,
            done: 0,
            errors: 0,
        }));
    }

    /// Every worker's state.
    pub fn states(&self) -> Vec<WorkerStatus> {
        self.0.lock().values().cloned().collect()
    }
}
