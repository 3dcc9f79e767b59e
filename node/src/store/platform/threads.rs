//! Where blocking work runs: the one place through which the store starts any.

use std::fmt::Debug;
use std::io::Result;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::store::error::StoreError;

/// Something to do that may block.
pub type Work = Box<dyn FnOnce() + Send>;

/// Threads for what blocks.
pub trait Threads: Debug + Send + Sync {
    /// Has work done to its end, once, later or before this returns. Work handed over
    /// here may wait for the writer of its store, never for other such work.
    fn run(&self, work: Work);

    /// Starts a thread for work that lasts: the writer of a store. `None`: there are no
    /// threads here and the work was dropped; whoever waits for the writer does what
    /// it would have done.
    fn spawn(&self, name: &str, work: Work) -> Result<Option<JoinHandle<()>>>;
}

/// Everything on the thread of whoever asks for it, at once: one order of events, the
/// same each time. For tests and simulators; it blocks the caller's runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoThreads;

impl Threads for NoThreads {
    fn run(&self, work: Work) {
        work();
    }

    fn spawn(&self, _: &str, _: Work) -> Result<Option<JoinHandle<()>>> {
        Ok(None)
    }
}

/// Work that was handed over, and will answer. It goes on when this is dropped.
#[derive(Debug)]
pub(in crate::store) struct Pending<R>(oneshot::Receiver<R>);

/// Hands work over.
pub(in crate::store) fn start<R: Send + 'static>(
    threads: &dyn Threads,
    work: impl FnOnce() -> R + Send + 'static,
) -> Pending<R> {
    let (asker, answer) = oneshot::channel();
    threads.run(Box::new(move || {
        // Whoever asked may have gone away.
        drop(asker.send(work()));
    }));
    Pending(answer)
}

impl<R, E: From<StoreError>> Pending<std::result::Result<R, E>> {
    /// Waits for the answer; an error if the work panicked or was given up.
    pub(in crate::store) async fn answer(self) -> std::result::Result<R, E> {
        match self.0.await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Internal(
                "a thread of the store ended before its work was done".into(),
            )
            .into()),
        }
    }
}
