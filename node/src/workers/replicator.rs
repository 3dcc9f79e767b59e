//! The replicator: keeps R copies of what this node answers for, by comparing with
//! the other owners on a schedule.
//!
//! Of the owners of a name the first that is alive does the comparing, so that
//! work is done once; when it falls silent the next one takes over. What that one
//! lacks it cannot find: each owner asks for that, and compares it itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chord_register::Value;
use chord_types::manifest::PlacedChunk;
use chord_types::report::Copies;
use chord_types::{DiskId, FileName, Id, Ordinal};
use futures::StreamExt;

use super::owners::{Owners, Tally, is_whole};
use super::repair::{Left, Repairer};
use crate::notes::{Debts, Progress, Standing};
use crate::peer::wire::{Answer, Request};
use crate::quorum::Quorum;
use crate::ring::Ring;
use crate::store::{Register, Store};
use crate::view::{Current, Identity, Interrupted, ViewKeeper, walk};

/// Its name in the status.
const NAME: &str = "replicator";
/// Registers that are compared together.
const BATCH: usize = 128;
/// Chunks that are compared together.
const CHUNKS: usize = 1024;
/// Names that are repaired at a time.
const AT_ONCE: usize = 4;

/// Compares and repairs.
pub struct Replicator {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) store: Store,
    pub(crate) ring: Arc<Ring>,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) owners: Owners,
    pub(crate) repairer: Repairer,
    pub(crate) debts: Arc<Debts>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) progress: Arc<Progress>,
    /// Between two passes.
    pub every: Duration,
}

impl Replicator {
    /// Runs until the node stops.
    pub async fn run(self: Arc<Replicator>) {
        let mut view = self.view.watch();
        loop {
            view.mark_unchanged();
            if let Some(current) = self.view.current()
                && let Err(why) = self.pass(&current).await
            {
                self.progress.set(NAME, "waiting", why.to_string());
            }
            tokio::select! {
                changed = view.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    /// The one that looks after a key: the first owner in the target table that is
    /// alive; `None` where this node is no owner of it.
    fn caretaker(&self, current: &Current, key: &Id) -> Option<(Ordinal, DiskId)> {
        let owners = current.target_owners(key);
        if !owners.iter().any(|(_, disk)| *disk == self.me.disk) {
            return None;
        }
        owners
            .into_iter()
            .find(|(ordinal, disk)| *disk == self.me.disk || self.ring.alive(*ordinal))
    }

    /// Those of `registers` that this node is to compare; `unknown` takes in how many
    /// there are of which that could not be found out.
    async fn to_compare<'r>(
        &self,
        current: &Current,
        registers: &'r [Register],
        unknown: &mut Tally,
    ) -> Vec<&'r Register> {
        let mut mine = Vec::new();
        let mut others: BTreeMap<(Ordinal, DiskId), Vec<&Register>> = BTreeMap::new();
        for register in registers {
            match self.caretaker(current, &register.key) {
                Some((_, disk)) if disk == self.me.disk => mine.push(register),
                Some(other) => others.entry(other).or_default().push(register),
                None => {}
            }
        }
        for ((ordinal, disk), theirs) in others {
            let names = theirs.iter().map(|r| r.name.clone()).collect();
            let request = Request::Ballots { names };
            match self.quorum.ask(current, ordinal, disk, request).await {
                Ok(Answer::Ballots(ballots)) if ballots.len() == theirs.len() => {
                    let lacks = theirs.iter().zip(&ballots).filter(|(_, b)| b.is_none());
                    mine.extend(lacks.map(|(register, _)| *register));
                }
                answer => {
                    let why = match answer {
                        Err(error) => error.to_string(),
                        Ok(_) => format!("node {ordinal} answered something else"),
                    };
                    unknown.take_in(Tally {
                        count: theirs.len() as u64,
                        why: Some(why),
                    });
                }
            }
        }
        mine
    }

    /// One pass over all registers of this node.
    async fn pass(&self, current: &Arc<Current>) -> Result<(), Interrupted> {
        let detail = "comparing with the other owners";
        self.progress.set(NAME, "working", detail);
        self.debts.forget_overflow();
        let mut left = Left::default();
        let mut repaired = 0;
        let mut pages = walk::registers(&self.store, BATCH);
        while let Some(page) = pages.next().await? {
            let mine = self.to_compare(current, &page, &mut left.unknown).await;
            let broken = self.incomplete(current, &mine).await;
            repaired += self.repair(current, broken, &mut left).await;
        }
        let errors = u64::from(left.missing.count > 0);
        self.progress.count(NAME, repaired, errors);
        self.note(current, left);
        Ok(())
    }

    /// Repairs names; how many are in order now.
    async fn repair(&self, current: &Arc<Current>, names: Vec<FileName>, left: &mut Left) -> u64 {
        let all = names.len() as u64;
        let results: Vec<_> = futures::stream::iter(names)
            .map(|name| async move { self.repairer.repair(current, &name).await })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut open = 0;
        let mut suspects = Vec::new();
        for repaired in results {
            open += u64::from(repaired.missing.count > 0 || repaired.suspect.is_some());
            left.missing.take_in(repaired.missing);
            suspects.extend(repaired.suspect);
        }
        let confirmed = self.repairer.confirm(current, suspects).await;
        left.missing.take_in(confirmed.missing);
        left.unknown.take_in(confirmed.unknown);
        all - open
    }

    /// Notes what a pass has found, for reports and for people.
    fn note(&self, current: &Current, left: Left) {
        let Left { missing, unknown } = left;
        let mut live = current.view.new_table().live();
        let all_alive = live.all(|m| m.disk == self.me.disk || self.ring.alive(m.ordinal));
        let known = unknown.count == 0 && all_alive && self.view.holds(current);
        self.standing.set_copies(Copies {
            epoch: current.reference.epoch,
            complete: missing.count == 0 && known,
            missing: missing.count,
            unrepaired: missing.count,
            waiting: missing.why,
        });
        let (state, detail) = match (missing.count, unknown.count) {
            (0, 0) => ("idle", "all copies are there".to_string()),
            (0, names) => {
                let why = unknown.why.unwrap_or_default();
                let detail = format!("the copies of {names} names are not known: {why}");
                ("waiting", detail)
            }
            (copies, _) => ("waiting", format!("{copies} copies are missing")),
        };
        self.progress.set(NAME, state, detail);
    }

    /// Those of `registers` of which some owner lacks the register or a chunk.
    async fn incomplete(&self, current: &Current, registers: &[&Register]) -> Vec<FileName> {
        let names: Vec<FileName> = registers.iter().map(|r| r.name.clone()).collect();
        let agreed = self.owners.agreement(current, &names).await;
        let mut broken: BTreeSet<FileName> = names
            .iter()
            .zip(&agreed)
            .filter(|(_, agreement)| !agreement.is_settled())
            .map(|(name, _)| name.clone())
            .collect();
        let chunks: Vec<(FileName, PlacedChunk)> = registers
            .iter()
            .filter_map(|r| current_chunks(&r.name, &r.value))
            .flatten()
            .collect();
        for batch in chunks.chunks(CHUNKS) {
            let only: Vec<PlacedChunk> = batch.iter().map(|(_, c)| *c).collect();
            let holders = self.owners.who_has(current, &only).await;
            for ((name, chunk), holders) in batch.iter().zip(holders) {
                if !is_whole(current, chunk, &holders) {
                    broken.insert(name.clone());
                }
            }
        }
        broken.into_iter().collect()
    }
}

fn current_chunks(name: &FileName, value: &Value) -> Option<Vec<(FileName, PlacedChunk)>> {
    let manifest = value.current.as_ref()?;
    let chunks = manifest.chunks(name);
    Some(chunks.map(|chunk| (name.clone(), chunk)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{Nodes, file};

    #[tokio::test]
    async fn a_name_that_its_first_owner_lacks_is_found() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        let current = all.nodes[0].view.current().unwrap();
        let name = file("a");
        let key = Id::of_file(&name);
        let first = current.placements.target().owners(&key).next().unwrap();
        let first = first.ordinal.0 as usize;
        let other = (first + 1) % 3;
        all.silence(first, true);
        all.put(other, "a", vec![7; 100_000]).await.unwrap();
        // No debt is paid here: who owed the copies has been restarted.
        all.silence(first, false);
        let node = &all.nodes[first];
        let lacks = node.store.counts().unwrap();
        assert_eq!((lacks.registers, lacks.chunks), (0, 0));
        for node in &all.nodes {
            node.workers.replicator.pass(&current).await.unwrap();
        }
        let has = node.store.counts().unwrap();
        assert_eq!(
            (has.registers, has.chunks),
            (1, 2),
            "100 000 bytes are two chunks"
        );
    }
}
