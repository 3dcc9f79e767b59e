//! What the owners of names and chunks have, asked in as few requests as there are
//! owners; and giving them the chunks that they lack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chord_api::causes::words;
use chord_register::agreement::{Agreement, Look, Said};
use chord_register::{Electorate, Voter};
use chord_types::manifest::PlacedChunk;
use chord_types::{DiskId, FileName, Id, Member, Ordinal};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::answer::MAX_BATCH;
use crate::peer::PeerError;
use crate::peer::wire::{Answer, Request};
use crate::quorum::Quorum;
use crate::view::{Current, Identity};

/// Which owners of a chunk have it, as they said.
pub type Holders = BTreeMap<DiskId, bool>;

/// How much is left to do, and why the last of it could not be done, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many copies, or names.
    pub count: u64,
    /// In words for people; `None` where nothing is left.
    pub why: Option<String>,
}

impl Tally {
    /// One more, for this reason.
    pub fn add(&mut self, why: impl Into<String>) {
        self.count += 1;
        self.why = Some(why.into());
    }

    /// Takes in another; its reason is the later one.
    pub fn take_in(&mut self, other: Tally) {
        self.count += other.count;
        self.why = other.why.or(self.why.take());
    }
}

/// Whether as many owners of a chunk as copies are wanted say that they have it.
pub fn is_whole(current: &Current, chunk: &PlacedChunk, holders: &Holders) -> bool {
    let owners = current.target_owners(&chunk.key).into_iter();
    let receipts = owners.filter(|(_, disk)| holders.get(disk) == Some(&true));
    receipts.count() >= current.copies()
}

/// Asks owners.
#[derive(Clone)]
pub struct Owners {
    pub(crate) me: Arc<Identity>,
    pub(crate) quorum: Arc<Quorum>,
}

impl Owners {
    /// Asks one thing of many at each of their owners, in batches: what each owner
    /// answered, with the indices of what it was asked for.
    async fn ask_batches(
        &self,
        current: &Current,
        wanted: BTreeMap<(Ordinal, DiskId), Vec<usize>>,
        request: impl Fn(&[usize]) -> Request,
    ) -> Vec<(Voter, Vec<usize>, Result<Answer, PeerError>)> {
        let batches = wanted.into_iter().flat_map(|((ordinal, disk), indices)| {
            let batches = indices.chunks(MAX_BATCH).map(<[usize]>::to_vec);
            let to = Voter { ordinal, disk };
            batches.map(|batch| (to, batch)).collect::<Vec<_>>()
        });
        let mut asked: FuturesUnordered<_> = batches
            .map(|(to, indices)| {
                let asked = self
                    .quorum
                    .ask(current, to.ordinal, to.disk, request(&indices));
                async move { (to, indices, asked.await) }
            })
            .collect();
        let mut answers = Vec::new();
        while let Some(answer) = asked.next().await {
            answers.push(answer);
        }
        answers
    }

    /// Which owners of chunks have them whole. An owner that did not answer is absent
    /// from the map.
    pub async fn who_has(&self, current: &Current, chunks: &[PlacedChunk]) -> Vec<Holders> {
        let mut wanted: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, chunk) in chunks.iter().enumerate() {
            for owner in current.target_owners(&chunk.key) {
                wanted.entry(owner).or_default().push(index);
            }
        }
        let ids = |indices: &[usize]| indices.iter().map(|i| chunks[*i].id).collect();
        let request = |indices: &[usize]| Request::HasChunks {
            chunks: ids(indices),
        };
        let mut holders: Vec<Holders> = vec![Holders::new(); chunks.len()];
        for (owner, indices, answer) in self.ask_batches(current, wanted, request).await {
            if let Ok(Answer::Has(has)) = answer
                && has.len() == indices.len()
            {
                for (index, has) in indices.into_iter().zip(has) {
                    holders[index].insert(owner.disk, has);
                }
            }
        }
        holders
    }

    /// What the owners of names say of the ballots that they have accepted.
    pub async fn ballots(&self, current: &Current, names: &[FileName]) -> Vec<Look> {
        let mut wanted: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            for member in current.placements.owners(&Id::of_file(name)) {
                if !member.out {
                    let owner = (member.ordinal, member.disk);
                    wanted.entry(owner).or_default().push(index);
                }
            }
        }
        let request = |indices: &[usize]| Request::Ballots {
            names: indices.iter().map(|i| names[*i].clone()).collect(),
        };
        let mut said: Vec<Vec<(Voter, Said)>> = vec![Vec::new(); names.len()];
        for (owner, indices, answer) in self.ask_batches(current, wanted, request).await {
            let ballots = match answer {
                Ok(Answer::Ballots(ballots)) if ballots.len() == indices.len() => {
                    ballots.into_iter().map(Said::Holds).collect()
                }
                _ => vec![Said::Nothing; indices.len()],
            };
            for (index, ballot) in indices.into_iter().zip(ballots) {
                said[index].push((owner, ballot));
            }
        }
        let looks = names.iter().zip(said);
        looks
            .map(|(name, said)| {
                let electorate = Electorate::new(&current.placements, &Id::of_file(name));
                Look::new(electorate, said)
            })
            .collect()
    }

    /// How the owners' ballots compare.
    pub async fn agreement(&self, current: &Current, names: &[FileName]) -> Vec<Agreement> {
        let looks = self.ballots(current, names).await;
        looks.iter().map(Look::agreement).collect()
    }

    /// Makes sure that every owner (in the table that the view leads to) of these
    /// chunks of one name holds them durably. Answers what is missing in the end.
    pub async fn ensure_chunks(
        &self,
        current: &Current,
        name: &FileName,
        chunks: &[PlacedChunk],
        committed: bool,
    ) -> Tally {
        let holders = self.who_has(current, chunks).await;
        let mut missing = Tally::default();
        for (chunk, holders) in chunks.iter().zip(holders) {
            let owners = current.target_owners(&chunk.key);
            if owners.len() < current.copies() {
                missing.add("fewer members are left than copies are wanted");
            }
            let lacking: Vec<_> = owners
                .iter()
                .filter(|(_, disk)| holders.get(disk) != Some(&true))
                .collect();
            if lacking.is_empty() {
                continue;
            }
            let sources = self.sources(current, chunk, &holders);
            for (ordinal, disk) in lacking {
                if !holders.contains_key(disk) {
                    // It was asked just now; to wait for it chunk by chunk takes hours.
                    missing.add(format!("node {ordinal}, an owner, does not answer"));
                    continue;
                }
                let request = Request::Ensure {
                    name: name.clone(),
                    chunk: *chunk,
                    committed,
                    sources: sources.clone(),
                };
                let ensured = self.quorum.ask(current, *ordinal, *disk, request).await;
                if let Err(error) = ensured {
                    let part = chunk.id.part;
                    missing.add(format!("part {part} of {name:?}: {}", words(&error)));
                }
            }
        }
        missing
    }

    /// Whom to fetch a chunk from: those that said they have it, this node, the old
    /// owners, then everybody else, for a copy that lies elsewhere.
    fn sources(&self, current: &Current, chunk: &PlacedChunk, holders: &Holders) -> Vec<Ordinal> {
        let old = current.placements.old.owners(&chunk.key);
        let old: BTreeSet<DiskId> = old.map(|m| m.disk).collect();
        let rank = |m: &&Member| {
            if holders.get(&m.disk) == Some(&true) {
                0
            } else if m.disk == self.me.disk {
                1
            } else if old.contains(&m.disk) {
                2
            } else {
                3
            }
        };
        let members = current.view.members().into_iter();
        let mut ranked: Vec<&Member> = members.filter(|m| !m.out).collect();
        ranked.sort_by_key(rank);
        let mut ordinals: Vec<Ordinal> = ranked.into_iter().map(|m| m.ordinal).collect();
        ordinals.push(self.me.ordinal);
        ordinals.dedup();
        ordinals
    }
}
