//! Copies that this node no longer owes: hints of registers, and chunks of
//! ranges that belong to others. They go only on receipts from all R owners of
//! the present stable view, and not before their time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chord_api::causes::words;
use chord_register::agreement::Agreement;
use chord_types::FileName;
use chord_types::manifest::PlacedChunk;

use super::owners::{Owners, is_whole};
use crate::notes::progress::MIGRATOR as NAME;
use crate::notes::{Garbage, Progress, Standing};
use crate::quorum::Quorum;
use crate::store::{ChunkMeta, Register, Store, StoreError};
use crate::view::{Current, Identity, Interrupted, ViewKeeper, walk};

const BATCH: usize = 128;
/// Between two steps of what is in no hurry.
const PAUSE: Duration = Duration::from_millis(20);

/// Clears what may go.
pub struct Leftovers {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) store: Store,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) owners: Owners,
    pub(crate) garbage: Arc<Garbage>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) progress: Arc<Progress>,
    /// How long a view has been known here before anything goes.
    pub patience: Duration,
}

impl Leftovers {
    /// Clears what may go. A node outside the view clears at once: it is to leave.
    pub async fn clear(&self, current: &Arc<Current>) {
        let due = current.since.elapsed() >= self.patience || !self.view.is_member();
        if !due {
            return;
        }
        // Chunks first: while a hint is left, the operator sees that this disk is
        // fuller than it will be.
        match self.clear_chunks(current).await {
            Ok(left) => self.standing.set_foreign_chunks(current, left),
            Err(why) => self.progress.set(NAME, "waiting", why.to_string()),
        }
        if let Err(why) = self.clear_hints(current).await {
            self.progress.set(NAME, "waiting", why.to_string());
        }
    }

    /// Takes out promises of earlier views, which nobody is bound by any more.
    pub async fn forget_promises(&self, current: &Current) -> Result<(), StoreError> {
        let mut after: Option<FileName> = None;
        while self.view.holds(current) {
            let forgotten = self
                .store
                .transact_essential(move |txn| txn.forget_promises(after.as_ref()));
            after = forgotten.await?;
            if after.is_none() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// A hint goes when every owner holds a decided value that is not older.
    async fn clear_hints(&self, current: &Arc<Current>) -> Result<(), Interrupted> {
        let mut pages = walk::hints(&self.store, BATCH).while_holds(&self.view, current);
        while let Some(hints) = pages.next().await? {
            let gone = self.covered(current, hints).await;
            if !self.view.holds(current) {
                return Err(Interrupted::ViewChanged);
            }
            let epoch = current.reference.epoch;
            self.progress.count(NAME, gone.len() as u64, 0);
            self.store
                .transact(move |txn| {
                    if txn.view().is_some_and(|v| v.epoch == epoch) {
                        for name in &gone {
                            txn.remove_hint(name)?;
                        }
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    /// Those of these hints that may go.
    async fn covered(&self, current: &Current, hints: Vec<Register>) -> Vec<FileName> {
        let names: Vec<FileName> = hints.iter().map(|r| r.name.clone()).collect();
        let agreed = self.owners.agreement(current, &names).await;
        let mut gone = Vec::new();
        for (hint, agreement) in hints.into_iter().zip(agreed) {
            match agreement {
                said if said.covers(hint.ballot) => gone.push(hint.name),
                // Rule 2: a hint never becomes a value by itself; it starts a
                // reconciliation of what the owners hold, with a ballot of this view.
                Agreement::All(_) | Agreement::Differ => {
                    if let Err(why) = self.quorum.reconcile(&hint.name).await {
                        tracing::debug!(name = %hint.name, why = words(&why), "a hint has to stay");
                    }
                }
                Agreement::Silent => {}
            }
        }
        gone
    }

    /// A chunk of somebody else's range goes when all its owners hold it. One that
    /// its register no longer names is the reaper's. Answers how many are left.
    async fn clear_chunks(&self, current: &Arc<Current>) -> Result<u64, Interrupted> {
        let mut left = 0;
        let mut pages = walk::chunks(&self.store, BATCH).while_holds(&self.view, current);
        while let Some(page) = pages.next().await? {
            let foreign: BTreeMap<_, _> = page
                .into_iter()
                .filter(|c| !current.owns(self.me.disk, &c.key))
                .map(|c| (c.id, c))
                .collect();
            let chunks: Vec<PlacedChunk> = foreign.values().map(ChunkMeta::placed).collect();
            let holders = self.owners.who_has(current, &chunks).await;
            for (chunk, holders) in chunks.iter().zip(holders) {
                if !self.view.holds(current) {
                    return Err(Interrupted::ViewChanged);
                }
                if is_whole(current, chunk, &holders) {
                    self.store.chunk_remove(chunk.id).await?;
                    self.progress.count(NAME, 1, 0);
                } else if let Some(meta) = foreign.get(&chunk.id) {
                    left += 1;
                    self.garbage.expect(meta.name.clone(), chunk.id.upload);
                    self.hand_over(current, meta, chunk).await;
                }
            }
        }
        Ok(left)
    }

    /// Owners that lack a chunk which a register still names are given it.
    async fn hand_over(&self, current: &Current, meta: &ChunkMeta, chunk: &PlacedChunk) {
        let name = &meta.name;
        match self.quorum.read(name).await {
            Ok(Some(value)) if value.names_upload(&chunk.id.upload) => {
                let chunks = std::slice::from_ref(chunk);
                let given = self
                    .owners
                    .ensure_chunks(current, name, chunks, meta.committed);
                let missing = given.await;
                if missing.count > 0 {
                    let why = missing.why;
                    tracing::debug!(%name, ?why, "a chunk cannot be handed over yet");
                }
            }
            Ok(_) => {}
            Err(why) => {
                tracing::debug!(%name, why = words(&why), "cannot tell whether a chunk is needed");
            }
        }
    }
}
