//! The migrator: brings what this node holds and does not own to its owners. At
//! once when the view changes, and on a schedule.
//!
//! In a joint view it produces the evidence that the operator waits for
//! (`Sync::settled`): every register that this node held in a changing range has
//! been reconciled in both tables, and every chunk it holds, or that a register
//! of its own names, is durable on all its owners in the new table.

use std::sync::Arc;
use std::time::Duration;

use chord_api::causes::words;
use chord_types::FileName;
use chord_types::manifest::PlacedChunk;
use futures::StreamExt;
use tokio::sync::Notify;

use super::leftovers::Leftovers;
use super::owners::{Owners, Tally};
use super::repair::Repairer;
use super::takeover::Takeover;
use crate::notes::progress::MIGRATOR as NAME;
use crate::notes::{Progress, Standing};
use crate::quorum::Quorum;
use crate::report::Reporter;
use crate::store::{Register, Store};
use crate::view::{Current, Interrupted, ViewKeeper, walk};

/// Registers that are looked at together.
const BATCH: usize = 128;
/// Registers that are reconciled, and chunks that are moved, at a time.
const AT_ONCE: usize = 8;
/// How soon a change that could not be finished is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Pause before the next look while leftovers are here.
const SOON: Duration = Duration::from_secs(1);
/// Pause before the next look while there are none.
const LATE: Duration = Duration::from_secs(3600);

/// Moves what a view moves.
pub struct Migrator {
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) store: Store,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) owners: Owners,
    pub(crate) repairer: Repairer,
    pub(crate) leftovers: Leftovers,
    pub(crate) takeover: Takeover,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) progress: Arc<Progress>,
    /// Told of each file that is dropped here.
    pub dropped: Arc<Notify>,
    /// Between two rounds.
    pub every: Duration,
}

impl Migrator {
    /// Runs until the node stops.
    pub async fn run(self: Arc<Migrator>) {
        let mut view = self.view.watch();
        let mut tidied = None;
        loop {
            view.mark_unchanged();
            let wait = match self.view.current() {
                Some(current) => {
                    let wait = self.round(&current).await;
                    // Once a view, behind all that somebody waits for.
                    if wait > Duration::ZERO && tidied != Some(current.reference) {
                        match self.leftovers.forget_promises(&current).await {
                            Ok(()) => tidied = Some(current.reference),
                            Err(why) => tracing::debug!(%why, "cannot forget old promises"),
                        }
                    }
                    wait.min(self.every)
                }
                None => {
                    self.progress.set(NAME, "waiting", "for a view");
                    self.every
                }
            };
            tokio::select! {
                changed = view.changed() => if changed.is_err() { return },
                () = self.dropped.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One round; answers how long to wait for the next.
    async fn round(&self, current: &Arc<Current>) -> Duration {
        let mut wait = LATE;
        let stable = current.view.stable().is_some();
        if stable {
            self.standing.set_sync(current, true, 0, None);
        } else if !self.reporter.report().sync.settled && !self.settle(current).await {
            wait = RETRY;
        }
        if !self.view.holds(current) {
            return Duration::ZERO;
        }
        if stable {
            self.takeover.take_over(current).await;
            self.leftovers.clear(current).await;
        }
        let detail = "everything is where the view wants it, as far as this node knows";
        self.progress.set(NAME, "idle", detail);
        let inventory = self.reporter.report().inventory;
        if inventory.hints + inventory.dropped > 0 || !self.view.is_member() {
            wait.min(SOON)
        } else {
            wait
        }
    }

    /// Makes the evidence for a joint view; whether it is complete.
    async fn settle(&self, current: &Arc<Current>) -> bool {
        let detail = format!("moving what view {} moves", current.reference.epoch);
        self.progress.set(NAME, "working", detail);
        let left = match self.settle_all(current).await {
            Ok(left) => left,
            Err(why) => {
                let mut left = Tally::default();
                left.add(why.to_string());
                left
            }
        };
        let settled = left.count == 0 && self.view.holds(current);
        if let Some(why) = &left.why {
            self.progress.set(NAME, "waiting", why.clone());
        }
        self.standing
            .set_sync(current, settled, left.count, left.why);
        settled
    }

    /// What is left to do for the registers and the chunks of changing ranges.
    async fn settle_all(&self, current: &Arc<Current>) -> Result<Tally, Interrupted> {
        let mut left = self.settle_registers(current).await?;
        let chunks = self.settle_chunks(current).await?;
        left.count += chunks.count;
        left.why = left.why.or(chunks.why);
        Ok(left)
    }

    /// Reconciles every register of a changing range, and looks after the changing
    /// chunks of every register. Answers what is left to do.
    async fn settle_registers(&self, current: &Arc<Current>) -> Result<Tally, Interrupted> {
        let mut left = Tally::default();
        let mut done = 0;
        let mut pages = walk::registers(&self.store, BATCH).while_holds(&self.view, current);
        while let Some(page) = pages.next().await? {
            let moving: Vec<FileName> = page
                .iter()
                .filter(|r| current.placements.changes(&r.key))
                .map(|r| r.name.clone())
                .collect();
            let agreed = self.owners.agreement(current, &moving).await;
            let open = moving
                .into_iter()
                .zip(agreed)
                .filter(|(_, agreement)| !agreement.is_settled());
            let results: Vec<_> = futures::stream::iter(open)
                .map(|(name, _)| async move { self.quorum.settle(&name).await })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            for result in results {
                match result {
                    Ok(_) => done += 1,
                    Err(why) => left.add(words(&why)),
                }
            }
            left.take_in(self.settle_manifests(current, &page).await);
        }
        let errors = u64::from(left.count > 0);
        self.progress.count(NAME, done, errors);
        Ok(left)
    }

    /// The changing chunks that these registers' current versions name.
    async fn settle_manifests(&self, current: &Arc<Current>, registers: &[Register]) -> Tally {
        let work: Vec<(FileName, Vec<PlacedChunk>)> = registers
            .iter()
            .filter_map(|r| {
                let manifest = r.value.current.as_ref()?;
                let chunks: Vec<PlacedChunk> = manifest
                    .chunks(&r.name)
                    .filter(|c| current.placements.changes(&c.key))
                    .collect();
                (!chunks.is_empty()).then(|| (r.name.clone(), chunks))
            })
            .collect();
        let moves = futures::stream::iter(work).map(|(name, chunks)| async move {
            self.repairer.bring(current, &name, &chunks, true).await
        });
        let mut moves = moves.buffer_unordered(AT_ONCE);
        let mut left = Tally::default();
        while let Some(missing) = moves.next().await {
            left.take_in(missing);
        }
        left
    }

    /// Every chunk on this disk in a changing range, whoever names it.
    async fn settle_chunks(&self, current: &Arc<Current>) -> Result<Tally, Interrupted> {
        let mut left = Tally::default();
        let mut pages = walk::chunks(&self.store, BATCH).while_holds(&self.view, current);
        while let Some(page) = pages.next().await? {
            let moving = page
                .into_iter()
                .filter(|c| current.placements.changes(&c.key));
            let moves = futures::stream::iter(moving).map(|meta| async move {
                let chunk = meta.placed();
                self.repairer
                    .bring(current, &meta.name, &[chunk], meta.committed)
                    .await
            });
            let mut moves = moves.buffer_unordered(AT_ONCE);
            while let Some(missing) = moves.next().await {
                left.take_in(missing);
            }
        }
        Ok(left)
    }
}
