//! The payer of debts: completes the copies of names that somebody owes, as they
//! come.

use std::sync::Arc;
use std::time::Duration;

use chord_types::FileName;

use super::repair::{Left, Repairer};
use crate::notes::{Debts, Progress};
use crate::view::ViewKeeper;

/// Its name in the status.
const NAME: &str = "debts";
/// How long a debt that could not be paid rests.
const REST: Duration = Duration::from_secs(2);
/// A moment, so that many debts of one name are paid once.
const GATHER: Duration = Duration::from_millis(200);

/// Pays debts.
pub struct Payer {
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) repairer: Repairer,
    pub(crate) debts: Arc<Debts>,
    pub(crate) progress: Arc<Progress>,
}

impl Payer {
    /// Runs until the node stops.
    pub async fn run(self: Arc<Payer>) {
        loop {
            let Some(name) = self.debts.next() else {
                self.progress.set(NAME, "idle", "no copy is owed");
                self.debts.changed().await;
                tokio::time::sleep(GATHER).await;
                continue;
            };
            let detail = format!("completing the copies of {name:?}");
            self.progress.set(NAME, "working", detail);
            let left = self.pay(&name).await;
            if left.missing.count + left.unknown.count == 0 {
                self.progress.count(NAME, 1, 0);
                continue;
            }
            self.progress.count(NAME, 0, 1);
            let why = left.missing.why.or(left.unknown.why).unwrap_or_default();
            self.progress.set(NAME, "waiting", why);
            self.debts.owe(&name);
            tokio::time::sleep(REST).await;
        }
    }

    /// Completes the copies of one name; what is left.
    async fn pay(&self, name: &FileName) -> Left {
        // Without a view nobody owns anything.
        let Some(current) = self.view.current() else {
            return Left::default();
        };
        let repaired = self.repairer.repair(&current, name).await;
        let suspects = repaired.suspect.into_iter().collect();
        let mut left = self.repairer.confirm(&current, suspects).await;
        left.missing.take_in(repaired.missing);
        left
    }
}
