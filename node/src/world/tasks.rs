//! The one place that spawns. What runs beside requests is counted and bounded, and
//! ends with the node.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// Small things left to finish after an answer was given, at a time.
const MAX_BACKGROUND: usize = 1024;
/// How long the end of all tasks is waited for.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The tasks of one node. Cheap to share.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    turns: Arc<Semaphore>,
}

impl Default for Tasks {
    fn default() -> Tasks {
        Tasks {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            turns: Arc::new(Semaphore::new(MAX_BACKGROUND)),
        }
    }
}

impl Tasks {
    /// Runs until it ends or the node stops.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
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

    /// A part of a request that goes on beside the rest of it, and ends when the
    /// handle is dropped. The caller bounds how many there are.
    pub fn beside<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.tracker.spawn(work))
    }

    /// Goes on to its end, whether or not the handle is dropped or the node stops.
    pub fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tracker.spawn(work)
    }

    /// Ends what runs until the node stops, and waits for all of it.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        let _ = tokio::time::timeout(STOP_LIMIT, self.tracker.wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_to_do_is_bounded_and_ends_with_the_node() {
        let tasks = Tasks::default();
        for _ in 0..MAX_BACKGROUND {
            assert!(tasks.background(std::future::pending()));
        }
        assert!(!tasks.background(async {}), "too much is left to do");
        let (told, hears) = tokio::sync::oneshot::channel();
        let end = tasks.to_its_end(hears);
        let stopping = tasks.clone();
        let stop = tasks.to_its_end(async move { stopping.stop.cancelled().await });
        tokio::join!(tasks.stop(), async {
            stop.await.unwrap();
            told.send(7).unwrap();
        });
        assert_eq!(end.await.unwrap(), Ok(7));
        assert!(tasks.turns.available_permits() > 0);
    }
}
