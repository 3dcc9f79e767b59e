//! Bringing all copies of one name to where the view wants them: the piece of work
//! that the replicator and the payer of debts share.
//!
//! A copy of a register counts as missing only on evidence: an owner that lacks the
//! ballot that was due at one look, and lacks it still, or does not answer, at
//! another a moment later. While somebody changes a name its owners are apart at
//! every moment, and none of them lacks anything.

use std::sync::Arc;
use std::time::Duration;

use chord_api::causes::words;
use chord_register::agreement::{Agreement, Lack, Look};
use chord_register::{Ballot, Value};
use chord_types::FileName;
use chord_types::manifest::PlacedChunk;

use super::owners::{Owners, Tally};
use crate::quorum::{Quorum, QuorumError};
use crate::view::Current;

/// Between two looks at an owner that seems to lack a register: what is on its way
/// to an owner that lives is there by then.
const MOMENT: Duration = Duration::from_secs(1);
/// Chunks that are looked after together.
const BATCH: usize = 256;

/// Repairs names.
#[derive(Clone)]
pub struct Repairer {
    pub(crate) owners: Owners,
    pub(crate) quorum: Arc<Quorum>,
}

/// What is left to do.
#[derive(Debug, Default)]
pub struct Left {
    /// Copies that are missing for certain.
    pub missing: Tally,
    /// Names of which that could not be found out.
    pub unknown: Tally,
}

/// A name that is to be looked at once more before anything is said of it.
#[derive(Debug)]
pub struct Suspect {
    name: FileName,
    /// What all owners should have, or something later.
    due: Option<Ballot>,
    /// Why its value could not be had, so that nobody has looked for its chunks.
    unread: Option<QuorumError>,
}

/// What was found of one name.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Copies of chunks that are missing for certain.
    pub missing: Tally,
    pub(crate) suspect: Option<Suspect>,
}

impl Repairer {
    /// Brings one name into order: its register to all owners, its chunks to all
    /// theirs. What it leaves in doubt is for [`confirm`](Repairer::confirm).
    pub async fn repair(&self, current: &Arc<Current>, name: &FileName) -> Repaired {
        let mut repaired = Repaired::default();
        let before = self.ballots(current, name).await;
        let agreement = before.as_ref().map(Look::agreement);
        let value = match agreement {
            Some(Agreement::All(Some(_))) => self.quorum.read(name).await,
            Some(Agreement::All(None)) => return repaired,
            _ => self.quorum.reconcile(name).await,
        };
        let due = before.as_ref().and_then(Look::due);
        let lacking = match agreement {
            Some(Agreement::All(_)) => false,
            // What was just proposed may have missed an owner again.
            _ => {
                let after = self.ballots(current, name).await;
                after.is_none_or(|look| !look.still_lack(due).is_empty())
            }
        };
        let unread = match value {
            Ok(value) => {
                repaired.missing = self.repair_chunks(current, name, value).await;
                None
            }
            Err(error) => Some(error),
        };
        repaired.suspect = (lacking || unread.is_some()).then(|| Suspect {
            name: name.clone(),
            due,
            unread,
        });
        repaired
    }

    /// Looks at suspects once more, after a moment.
    pub async fn confirm(&self, current: &Arc<Current>, suspects: Vec<Suspect>) -> Left {
        let mut left = Left::default();
        if suspects.is_empty() {
            return left;
        }
        tokio::time::sleep(MOMENT).await;
        let names: Vec<FileName> = suspects.iter().map(|s| s.name.clone()).collect();
        let looks = self.owners.ballots(current, &names).await;
        for (suspect, look) in suspects.into_iter().zip(looks) {
            let name = &suspect.name;
            let lacks = look.still_lack(suspect.due);
            for lack in &lacks {
                left.missing.add(match lack {
                    Lack::Silent(owner) => {
                        let owner = owner.ordinal;
                        format!("node {owner}, an owner of {name:?}, does not answer")
                    }
                    Lack::Behind(owner) => {
                        let (owner, error) = (owner.ordinal, &suspect.unread);
                        let why = error
                            .as_ref()
                            .map_or(String::new(), |e| format!(": {}", words(e)));
                        format!(
                            "node {owner}, an owner of {name:?}, does not have its register{why}"
                        )
                    }
                });
            }
            if suspect.unread.is_none() {
                continue;
            }
            match self.quorum.read(name).await {
                Ok(value) => {
                    let chunks = self.repair_chunks(current, name, value).await;
                    left.missing.take_in(chunks);
                }
                // Others are always faster: that is no evidence of anything.
                Err(error @ (QuorumError::Outbid { .. } | QuorumError::Unconfirmed { .. })) => {
                    left.unknown.add(format!("{name:?}: {}", words(&error)));
                }
                Err(error) if lacks.is_empty() => {
                    left.missing.add(format!("{name:?}: {}", words(&error)))
                }
                Err(error) => left.unknown.add(format!("{name:?}: {}", words(&error))),
            }
        }
        left
    }

    async fn ballots(&self, current: &Current, name: &FileName) -> Option<Look> {
        let names = std::slice::from_ref(name);
        self.owners.ballots(current, names).await.pop()
    }

    /// The chunks of the current version at their owners.
    async fn repair_chunks(
        &self,
        current: &Current,
        name: &FileName,
        value: Option<Value>,
    ) -> Tally {
        let mut missing = Tally::default();
        let manifest = value.and_then(|v| v.current);
        let chunks = manifest.iter().flat_map(|manifest| manifest.chunks(name));
        let chunks: Vec<PlacedChunk> = chunks.collect();
        for batch in chunks.chunks(BATCH) {
            missing.take_in(self.bring(current, name, batch, true).await);
        }
        missing
    }

    /// Brings chunks of one upload to their owners. A version that was replaced
    /// meanwhile needs none: its chunks count as missing only if the register still
    /// names them.
    pub async fn bring(
        &self,
        current: &Current,
        name: &FileName,
        chunks: &[PlacedChunk],
        committed: bool,
    ) -> Tally {
        let missing = self
            .owners
            .ensure_chunks(current, name, chunks, committed)
            .await;
        let Some(first) = chunks.first() else {
            return Tally::default();
        };
        if missing.count == 0 {
            return missing;
        }
        match self.quorum.read(name).await {
            Ok(Some(value)) if !value.names_upload(&first.id.upload) => Tally::default(),
            _ => missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{Nodes, file};

    /// Puts what node 1 holds of `a` under a later ballot on the first two nodes, as
    /// a writer does who has not reached the third yet.
    async fn write_two_of_three(all: &Nodes) -> (Ballot, Ballot) {
        let name = file("a");
        let of = name.clone();
        let held = all.nodes[1].store.read(move |txn| txn.register(&of)).await;
        let (before, value) = held.unwrap().unwrap();
        let after = Ballot {
            counter: before.counter + 1,
            ..before
        };
        for node in &all.nodes[..2] {
            let (name, value) = (name.clone(), value.clone());
            let written = node
                .store
                .transact(move |txn| txn.set_register(&name, after, &value));
            written.await.unwrap();
        }
        (before, after)
    }

    /// Three nodes of which each has `a` under one ballot. A writer's answer comes at a
    /// quorum, and so does a repair's.
    async fn all_have_a() -> (Nodes, Arc<Current>) {
        let all = Nodes::start(3).await;
        all.form(3).await;
        all.put(0, "a", "x").await.unwrap();
        let current = all.nodes[0].view.current().unwrap();
        let repairer = &all.nodes[0].workers.replicator.repairer;
        for _ in 0..1000 {
            repairer.repair(&current, &file("a")).await;
            let seen = repairer.ballots(&current, &file("a")).await.unwrap();
            if seen.agreement().is_settled() {
                return (all, current);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("an owner does not get its copy");
    }

    fn suspect(due: Ballot) -> Vec<Suspect> {
        vec![Suspect {
            name: file("a"),
            due: Some(due),
            unread: None,
        }]
    }

    #[tokio::test]
    async fn an_owner_that_a_newer_version_is_on_its_way_to_is_not_missing_a_copy() {
        let (all, current) = all_have_a().await;
        let repairer = &all.nodes[0].workers.replicator.repairer;
        let (due, _) = write_two_of_three(&all).await;
        let agreed = repairer.owners.agreement(&current, &[file("a")]).await;
        assert_eq!(
            agreed,
            [Agreement::Differ],
            "at this instant they are apart"
        );
        let left = repairer.confirm(&current, suspect(due)).await;
        assert_eq!((left.missing.count, left.unknown.count), (0, 0), "{left:?}");
    }

    #[tokio::test]
    async fn an_owner_that_still_lacks_what_was_due_is_missing_a_copy() {
        let (all, current) = all_have_a().await;
        let repairer = &all.nodes[0].workers.replicator.repairer;
        let (_, due) = write_two_of_three(&all).await;
        let left = repairer.confirm(&current, suspect(due)).await;
        assert_eq!(left.missing.count, 1);
        let why = left.missing.why.unwrap();
        assert!(why.contains("does not have its register"), "{why}");
        // It is brought to it, perhaps behind the answer, and then nothing is missing.
        let repaired = repairer.repair(&current, &file("a")).await;
        assert_eq!(repaired.missing.count, 0);
        let suspects: Vec<Suspect> = repaired.suspect.into_iter().collect();
        let left = repairer.confirm(&current, suspects).await;
        assert_eq!((left.missing.count, left.unknown.count), (0, 0), "{left:?}");
    }

    #[tokio::test]
    async fn an_owner_that_says_nothing_is_told_of() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        all.put(0, "a", "x").await.unwrap();
        let repairer = &all.nodes[0].workers.replicator.repairer;
        let current = all.nodes[0].view.current().unwrap();
        all.silence(2, true);
        let repaired = repairer.repair(&current, &file("a")).await;
        let suspects: Vec<Suspect> = repaired.suspect.into_iter().collect();
        let left = repairer.confirm(&current, suspects).await;
        let why = left.missing.why.unwrap();
        assert!(
            left.missing.count == 1 && why.contains("does not answer"),
            "{why}"
        );
    }

    /// Brings what node 1 holds of `a` to the third node, as a writer does in the end.
    async fn write_the_third(all: &Nodes) {
        let (name, of) = (file("a"), file("a"));
        let held = all.nodes[1].store.read(move |txn| txn.register(&of)).await;
        let (ballot, value) = held.unwrap().unwrap();
        let written = all.nodes[2]
            .store
            .transact(move |txn| txn.set_register(&name, ballot, &value));
        written.await.unwrap();
    }

    #[tokio::test]
    async fn a_name_that_changes_all_the_time_is_missing_no_copy() {
        let (all, current) = all_have_a().await;
        let name = file("a");
        let repairer = &all.nodes[0].workers.replicator.repairer;
        write_two_of_three(&all).await;
        for _ in 0..2 {
            let seen = repairer.ballots(&current, &name).await.unwrap();
            // Before the next look the third has this version, and the next is on its
            // way: whoever counts an owner that is behind finds one at every look.
            assert_eq!(seen.agreement(), Agreement::Differ);
            write_the_third(&all).await;
            write_two_of_three(&all).await;
            let left = repairer
                .confirm(&current, suspect(seen.due().unwrap()))
                .await;
            assert_eq!((left.missing.count, left.unknown.count), (0, 0), "{left:?}");
        }
    }
}
