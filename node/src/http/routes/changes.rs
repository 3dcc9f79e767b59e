//! The changes that clients ask for: bounded in number, and each worked on to its end.

use std::sync::Arc;

use chord_api::problem::{Kind, Problem};
use tokio::sync::Semaphore;

use crate::world::Tasks;

/// Changes that are worked on at once; more are refused.
const MAX_CHANGES: usize = 1024;

/// The changes of one port; clones share the bound.
#[derive(Clone)]
pub(super) struct Changes {
    turns: Arc<Semaphore>,
    tasks: Tasks,
}

impl Changes {
    pub(super) fn new(tasks: Tasks) -> Changes {
        Changes {
            turns: Arc::new(Semaphore::new(MAX_CHANGES)),
            tasks,
        }
    }

    /// Works on a change to its end, also if the client goes away meanwhile: a
    /// change that is torn at some point leaves more for others to clear up.
    pub(super) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let Ok(turn) = self.turns.clone().try_acquire_owned() else {
            let detail = format!(
                "{MAX_CHANGES} changes are being made through this node already; try again, or elsewhere"
            );
            return Err(Problem::new(Kind::Overloaded, detail));
        };
        let task = self.tasks.to_its_end(async move {
            let _turn = turn;
            work.await
        });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Problem::new(
                    Kind::OutcomeUnknown,
                    "the node is stopping in the middle of this change",
                )),
            },
        }
    }
}
