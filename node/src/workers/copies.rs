//! Bringing all copies of one name to where the view wants them: the piece of
//! work that the migrator, the replicator and the payer of debts share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chord_api::problem::Problem;
use chord_types::manifest::PlacedChunk;
use chord_types::{DiskId, FileName, Id, Member, Ordinal};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::answer::MAX_BATCH;
use crate::node::{Current, Node};
use crate::peer::wire::{Answer, Request};
use crate::quorum::drive;
use chord_register::Ballot;

/// Which owners of a chunk have it, as they said.
pub type Holders = BTreeMap<DiskId, bool>;

/// Asks the owners of chunks, in as few requests as there are owners, which of
/// them are whole. An owner that did not answer is absent from the map.
pub async fn who_has(
    node: &Arc<Node>,
    current: &Arc<Current>,
    chunks: &[PlacedChunk],
    owners: impl Fn(&PlacedChunk) -> Vec<(Ordinal, DiskId)>,
) -> Vec<Holders> {
    let mut wanted: BTreeMap<(Ordinal, DiskId), Vec<usize>> = BTreeMap::new();
    for (index, chunk) in chunks.iter().enumerate() {
        for owner in owners(chunk) {
            wanted.entry(owner).or_default().push(index);
        }
    }
    let mut holders: Vec<Holders> = vec![Holders::new(); chunks.len()];
    let batches = wanted.into_iter().flat_map(|(owner, indices)| {
        let batches = indices.chunks(MAX_BATCH).map(<[usize]>::to_vec);
        batches.map(|batch| (owner, batch)).collect::<Vec<_>>()
    });
    let mut asked: FuturesUnordered<_> = batches
        .map(|((ordinal, disk), indices)| {
            let ids = indices.iter().map(|i| chunks[*i].id).collect();
            async move {
                (
                    disk,
                    indices,
                    node.ask(current, ordinal, disk, Request::HasChunks { chunks: ids })
                        .await,
                )
            }
        })
        .collect();
    while let Some((disk, indices, answer)) = asked.next().await {
        if let Ok(Answer::Has(has)) = answer
            && has.len() == indices.len()
        {
            for (index, has) in indices.into_iter().zip(has) {
                holders[index].insert(disk, has);
            }
        }
    }
    holders
}

/// The owners of a key in the table that the view leads to.
pub fn target_owners(current: &Current, key: &Id) -> Vec<(Ordinal, DiskId)> {
    current
        .placements
        .target()
        .owners(key)
        .map(|m| (m.ordinal, m.disk))
        .collect()
}

/// Makes sure that every owner (in the table that the view leads to) of these
/// chunks of one name holds them durably. Answers how many copies are missing in
/// the end, and why the last of them is.
pub async fn ensure_chunks(
    node: &Arc<Node>,
    current: &Arc<Current>,
    name: &FileName,
    chunks: &[PlacedChunk],
    committed: bool,
) -> (u64, Option<String>) {
    let holders = who_has(node, current, chunks, |chunk| {
        target_owners(current, &chunk.key)
    })
    .await;
    let mut missing = 0;
    let mut why = None;
    for (chunk, holders) in chunks.iter().zip(holders) {
        let owners = target_owners(current, &chunk.key);
        if owners.len() < usize::from(current.view.new_table().replication) {
            missing += 1;
            why = Some("fewer members are left than copies are wanted".to_string());
        }
        if owners
            .iter()
            .all(|(_, disk)| holders.get(disk) == Some(&true))
        {
            continue;
        }
        let sources = sources(node, current, chunk, &holders);
        for (ordinal, disk) in owners
            .iter()
            .filter(|(_, disk)| holders.get(disk) != Some(&true))
        {
            if !holders.contains_key(disk) {
                // It was asked just now; to wait for it chunk by chunk takes hours.
                missing += 1;
                why = Some(format!("node {ordinal}, an owner, does not answer"));
                continue;
            }
            let request = Request::Ensure {
                name: name.clone(),
                chunk: *chunk,
                committed,
                sources: sources.clone(),
            };
            if let Err(error) = node.ask(current, *ordinal, *disk, request).await {
                missing += 1;
                why = Some(format!("part {} of {name:?}: {error}", chunk.id.part));
            }
        }
    }
    (missing, why)
}

/// Whom to fetch a chunk from: those that said they have it, this node, the old
/// owners, then everybody else, for a copy that lies elsewhere.
fn sources(node: &Node, current: &Current, chunk: &PlacedChunk, holders: &Holders) -> Vec<Ordinal> {
    let members = current.view.members();
    let old: BTreeSet<DiskId> = current
        .placements
        .old
        .owners(&chunk.key)
        .map(|m| m.disk)
        .collect();
    let rank = |m: &&Member| {
        if holders.get(&m.disk) == Some(&true) {
            0
        } else if m.disk == node.disk() {
            1
        } else if old.contains(&m.disk) {
            2
        } else {
            3
        }
    };
    let mut ranked: Vec<&Member> = members.into_iter().filter(|m| !m.out).collect();
    ranked.sort_by_key(rank);
    let mut ordinals: Vec<Ordinal> = ranked.into_iter().map(|m| m.ordinal).collect();
    ordinals.push(node.ordinal);
    ordinals.dedup();
    ordinals
}

/// What is left to do for a name.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    pub missing: u64,
    pub why: Option<String>,
}

/// Whether all owners in the target table have accepted one and the same ballot,
/// which is then decided; `None` where some did not answer.
pub async fn ballots_agree(
    node: &Arc<Node>,
    current: &Arc<Current>,
    names: &[FileName],
) -> Vec<Agreement> {
    let mut wanted: BTreeMap<(Ordinal, DiskId), Vec<usize>> = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        for member in current.placements.owners(&Id::of_file(name)) {
            if !member.out {
                wanted
                    .entry((member.ordinal, member.disk))
                    .or_default()
                    .push(index);
            }
        }
    }
    let mut answers: Vec<Vec<Option<Option<Ballot>>>> = vec![Vec::new(); names.len()];
    let mut asked: FuturesUnordered<_> = wanted
        .into_iter()
        .map(|((ordinal, disk), indices)| {
            let names = indices.iter().map(|i| names[*i].clone()).collect();
            async move {
                (
                    indices,
                    node.ask(current, ordinal, disk, Request::Ballots { names })
                        .await,
                )
            }
        })
        .collect();
    while let Some((indices, answer)) = asked.next().await {
        match answer {
            Ok(Answer::Ballots(ballots)) if ballots.len() == indices.len() => {
                for (index, ballot) in indices.into_iter().zip(ballots) {
                    answers[index].push(Some(ballot));
                }
            }
            _ => {
                for index in indices {
                    answers[index].push(None);
                }
            }
        }
    }
    answers.into_iter().map(Agreement::of).collect()
}

/// What the owners of a name said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// All answered alike.
    All(Option<Ballot>),
    /// All answered, not alike.
    Differ,
    /// Some did not answer.
    Silent,
}

impl Agreement {
    fn of(answers: Vec<Option<Option<Ballot>>>) -> Agreement {
        let Some(all) = answers.into_iter().collect::<Option<Vec<Option<Ballot>>>>() else {
            return Agreement::Silent;
        };
        match all.split_first() {
            None => Agreement::Silent,
            Some((first, rest)) if rest.iter().all(|b| b == first) => Agreement::All(*first),
            Some(_) => Agreement::Differ,
        }
    }
}

/// Brings one name into order: its register to all owners, its chunks to all
/// theirs.
pub async fn repair(node: &Arc<Node>, name: &FileName) -> Result<Repaired, Problem> {
    let Some(current) = node.current() else {
        return Ok(Repaired::default());
    };
    let agreement = ballots_agree(node, &current, std::slice::from_ref(name)).await;
    let value = match agreement.first() {
        Some(Agreement::All(Some(_))) => drive::read(node, name).await?,
        Some(Agreement::All(None)) => None,
        _ => drive::reconcile(node, name).await?,
    };
    let mut repaired = Repaired::default();
    // The proposal may have missed an owner again: that is still a debt.
    let again = match agreement.first() {
        Some(Agreement::All(_)) => agreement,
        _ => ballots_agree(node, &current, std::slice::from_ref(name)).await,
    };
    if !matches!(again.first(), Some(Agreement::All(_))) {
        repaired.missing += 1;
        repaired.why = Some(format!("an owner of {name:?} does not have its register"));
    }
    if let Some(manifest) = value.and_then(|v| v.current) {
        let chunks: Vec<PlacedChunk> = manifest.chunks(name).collect();
        for batch in chunks.chunks(256) {
            let (missing, why) = ensure_chunks(node, &current, name, batch, true).await;
            repaired.missing += missing;
            repaired.why = why.or(repaired.why);
        }
    }
    Ok(repaired)
}
