//! What a node tells of itself: to the operator and other nodes as a report, to
//! people as a status with the reports of all members.

pub mod status;

use std::sync::Arc;

use chord_types::report::{Copies, Inventory, NodeReport, Sync};
use chord_types::view::{ViewHash, ViewRef};
use chord_types::{Epoch, Speaks};

use crate::notes::{Debts, Standing};
use crate::store::Store;
use crate::view::{Current, Identity, ViewKeeper};

/// Reports.
pub struct Reporter {
    pub(crate) me: Arc<Identity>,
    pub(crate) store: Store,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) debts: Arc<Debts>,
    pub(crate) standing: Arc<Standing>,
}

impl Reporter {
    /// What is on the disk; an error counts as something, never as nothing.
    fn inventory(&self, current: Option<&Current>) -> Inventory {
        let counts = match self.store.failure() {
            Some(failure) => Err(failure),
            None => self.store.counts(),
        };
        let foreign = current.and_then(|current| self.standing.foreign_chunks(current));
        match counts {
            Ok(c) => Inventory {
                registers: c.registers,
                // Leftover chunks count too: while there are any, or may be some,
                // this node's disk is fuller than it will be.
                hints: c.hints + foreign.unwrap_or(u64::from(c.chunks > 0)),
                // What is left of a damaged copy may be the last of it.
                chunks: c.chunks + c.missing,
                dropped: c.dropped,
            },
            Err(error) => {
                tracing::error!(%error, "cannot count what is on the disk");
                Inventory {
                    registers: 1,
                    hints: 1,
                    chunks: 1,
                    dropped: 1,
                }
            }
        }
    }

    /// How far the change of the view has been settled. A disk that takes nothing
    /// proves nothing.
    fn sync(&self, current: Option<&Current>, failure: Option<&String>) -> Sync {
        let proved = match (current, failure) {
            (Some(current), None) => self.standing.sync(current),
            _ => None,
        };
        let none = ViewRef {
            epoch: Epoch(0),
            hash: ViewHash::NONE,
        };
        let at = current.map_or(none, |c| c.reference);
        let waiting = failure.cloned();
        proved.unwrap_or_else(|| Sync {
            epoch: at.epoch,
            hash: at.hash,
            settled: false,
            pending: 0,
            waiting: Some(waiting.unwrap_or("it has just started".into())),
        })
    }

    /// How complete the copies are, what is owed counted in. A disk that takes nothing
    /// holds no copy that counts.
    fn copies(&self, sound: bool) -> Copies {
        let found = self.standing.copies();
        // No pass has been made: nothing is known to be missing.
        if found.epoch == Epoch(0) {
            return found;
        }
        let (debts, overflowed) = self.debts.count();
        Copies {
            complete: sound && found.complete && debts == 0 && !overflowed,
            missing: found.missing.max(debts as u64),
            ..found
        }
    }

    /// What the operator is told.
    pub fn report(&self) -> NodeReport {
        let current = self.view.current();
        let current = current.as_deref();
        let failure = self.store.failure().map(|e| e.to_string());
        let sound = failure.is_none();
        NodeReport {
            name: self.me.name.clone(),
            ordinal: self.me.ordinal,
            disk: self.me.disk,
            cluster: current.map(|c| c.view.cluster.clone()),
            version: env!("CARGO_PKG_VERSION").to_string(),
            speaks: Speaks::OURS,
            boot: self.me.boot,
            view: current.map(|c| c.reference),
            ready: sound && self.view.is_member(),
            space: self.store.space(),
            files: self.standing.primary_files(),
            inventory: self.inventory(current),
            sync: self.sync(current, failure.as_ref()),
            copies: self.copies(sound),
            refused_view: self.view.refused(),
            failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Nodes;
    use crate::store::StoreError;

    #[tokio::test]
    async fn a_damaged_disk_says_so_and_proves_nothing_any_more() {
        let all = Nodes::start(1).await;
        all.form(1).await;
        let node = &all.nodes[0];
        node.standing.set_copies(Copies {
            epoch: Epoch(1),
            complete: true,
            missing: 0,
            unrepaired: 0,
            waiting: None,
        });
        let sound = node.reporter.report();
        assert!(sound.ready && sound.copies.complete && sound.sync.settled);
        assert_eq!(sound.failure, None);
        let torn = || StoreError::Damaged("a record is torn".into());
        let failed = node.store.transact(move |_| Err::<(), _>(torn())).await;
        assert!(failed.is_err());
        let report = node.reporter.report();
        assert!(report.failure.unwrap().contains("a record is torn"));
        assert!(!report.ready && !report.copies.complete && !report.sync.settled);
        assert!(!report.inventory.is_empty(), "nor that it is empty");
    }
}
