//! The keeper of the view: takes views, refuses others, and tells who waits for one.
//! The shell of [`chord_register::view_change`]: what that decides is on the disk
//! before anybody acts by it.

use std::sync::Arc;

use chord_register::view_change::{self, Offer, Unfit, Votes};
use chord_types::View;
use chord_types::view::ViewRef;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Current;
use super::Identity;
use crate::store::{Store, StoreError};

/// Why a view was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It must not be.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// It is none the less the view to take.
    #[error("it could not be kept on disk: {0}")]
    Disk(#[source] StoreError),
}

/// Keeps the view of one disk.
pub struct ViewKeeper {
    me: Arc<Identity>,
    store: Store,
    view: watch::Sender<Option<Arc<Current>>>,
    /// One adoption at a time; held while the disk is written.
    adopting: tokio::sync::Mutex<()>,
    /// The last that was refused. (No lock of tokio's: nothing is awaited while it
    /// is held.)
    refused: Mutex<Option<String>>,
}

impl ViewKeeper {
    /// Begins with the view that is on the disk.
    pub fn new(me: Arc<Identity>, store: Store) -> ViewKeeper {
        let held = store
            .view()
            .map(|view| Arc::new(Current::new((*view).clone(), false)));
        ViewKeeper {
            me,
            store,
            view: watch::channel(held).0,
            adopting: tokio::sync::Mutex::new(()),
            refused: Mutex::new(None),
        }
    }

    /// The view in force here.
    pub fn current(&self) -> Option<Arc<Current>> {
        self.view.borrow().clone()
    }

    /// Its number and hash.
    pub fn reference(&self) -> Option<ViewRef> {
        self.view.borrow().as_ref().map(|c| c.reference)
    }

    /// Whether this view is still in force.
    pub fn holds(&self, current: &Current) -> bool {
        self.reference() == Some(current.reference)
    }

    /// Told of every new view.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Current>>> {
        self.view.subscribe()
    }

    /// Whether this name with this disk is in the current or the next table.
    pub fn is_member(&self) -> bool {
        let held = self.view.borrow();
        held.as_ref()
            .is_some_and(|c| c.view.has(self.me.ordinal, self.me.disk))
    }

    /// Why a view was refused last, in words.
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().clone()
    }

    /// Takes a view if it is newer, of this cluster, and chained where that can be
    /// seen. It is on disk when this returns, and what it takes from this node
    /// votes no more.
    pub async fn adopt(&self, view: View) -> Result<(), NotTaken> {
        let _one = self.adopting.lock().await;
        let held = self.current();
        match view_change::judge(&self.me.cluster, held.as_ref().map(|c| &c.view), &view) {
            Ok(Offer::Held) => return Ok(()),
            Ok(Offer::New) => {}
            Err(why @ Unfit::Old(..)) => return Err(why.into()),
            Err(why) => {
                tracing::warn!(%why, "refused a view");
                *self.refused.lock() = Some(why.to_string());
                return Err(why.into());
            }
        }
        let next = Arc::new(Current::new(view, true));
        let (me, before, after) = (self.me.disk, held, next.clone());
        // Promises stay: to take them all out at once would need room that a full
        // disk does not have.
        self.store
            .transact_alone(move |txn| {
                let before = before.as_ref().map(|c| (&c.view, &c.placements));
                let votes = Votes::new(me, before, (&after.view, &after.placements));
                txn.move_to_hints(|key| !votes.keeps(key))?;
                txn.set_view(&after.view)
            })
            .await
            .map_err(NotTaken::Disk)?;
        tracing::info!(
            epoch = next.reference.epoch.0,
            state = next.view.state(),
            member = next.view.has(self.me.ordinal, me),
            "took a view"
        );
        self.view.send_replace(Some(next));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chord_types::FileName;

    use crate::node::testing::Nodes;

    #[tokio::test]
    async fn a_view_is_taken_on_a_disk_that_is_nearly_full_of_small_files() {
        let all = Nodes::start(2).await;
        let view = all.form(1).await;
        let node = &all.nodes[0];
        let many = 3000u64;
        let at = |counter| chord_register::Ballot {
            epoch: view.epoch,
            counter,
            member: node.me.ordinal,
            boot: 1,
        };
        let (promised, accepted) = (at(9), at(8));
        let name = |n: u64| FileName::new(format!("file-{n}")).unwrap();
        let filled = node.store.transact_alone(move |txn| {
            for n in 0..many {
                txn.set_promise(&name(n), promised)?;
                txn.set_register(&name(n), accepted, &chord_register::Value::default())?;
            }
            Ok(())
        });
        filled.await.unwrap();
        all.faults[0].set_free(Some(4 << 20));
        // All its registers are lost, each a change of four tables.
        let joint = view.change_to(all.table(1, &[1])).unwrap();
        all.give(&[0], &joint).await;
        all.give(&[0], &joint.complete().unwrap()).await;
        let counts = node.store.counts().unwrap();
        assert_eq!((counts.registers, counts.hints), (0, many));
    }
}
