//! One chunk of an upload on its way to its owners: acknowledged by a quorum of
//! them in every table, and the rest behind the answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chord_api::causes::words;
use chord_register::{Electorate, Voter};
use chord_types::FileName;
use chord_types::manifest::PlacedChunk;
use chord_types::view::ViewRef;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::Error;
use super::memory::{Lease, Stragglers};
use crate::notes::{Debts, Uploads};
use crate::peer::PeerError;
use crate::peer::wire::{Refusal, Request};
use crate::quorum::{Quorum, QuorumError, Ready};
use crate::view::Current;
use crate::world::Tasks;

/// Tries to place one chunk before the upload is given up.
const CHUNK_TRIES: u32 = 40;
/// Between the first two tries; up to sixteen times as long between later ones.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// A chunk that a quorum of its owners has acknowledged.
#[derive(Clone, Debug)]
pub struct Placed {
    pub(crate) chunk: PlacedChunk,
    /// The view under which they have.
    acknowledged: ViewRef,
}

/// Brings chunks to their owners.
pub struct Placer {
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) debts: Arc<Debts>,
    pub(crate) tasks: Tasks,
    pub(crate) uploads: Uploads,
    pub(crate) stragglers: Stragglers,
}

/// Copies of one chunk on their way.
type Sent = FuturesUnordered<BoxFuture<'static, (Voter, Result<(), PeerError>)>>;

/// Why one try did not reach a quorum.
struct Short {
    why: Option<PeerError>,
    /// An owner had no room, under the view that is still in force.
    full: bool,
}

impl Placer {
    /// Rule 6: chunks acknowledged under an older view are confirmed again at the
    /// owners of the view that the commit is proposed in.
    pub async fn confirm(
        &self,
        name: &FileName,
        chunks: &[Placed],
        current: Arc<Current>,
    ) -> Result<Ready, QuorumError> {
        for placed in chunks {
            if placed.acknowledged == current.reference
                || self.confirm_one(name, &placed.chunk, &current).await
            {
                continue;
            }
            if !self.quorum.holds(&current) {
                return Ok(Ready::ViewChanged);
            }
            return Err(QuorumError::ChunkUnconfirmed {
                name: name.clone(),
                part: placed.chunk.id.part,
            });
        }
        Ok(Ready::Yes)
    }

    /// Whether enough owners under this view have a chunk, or have fetched it now.
    async fn confirm_one(
        &self,
        name: &FileName,
        chunk: &PlacedChunk,
        current: &Arc<Current>,
    ) -> bool {
        let electorate = Electorate::new(&current.placements, &chunk.key);
        let sources: Vec<_> = current.view.members().iter().map(|m| m.ordinal).collect();
        let mut asked: FuturesUnordered<_> = electorate
            .voters()
            .iter()
            .map(|voter| {
                let request = Request::Ensure {
                    name: name.clone(),
                    chunk: *chunk,
                    committed: false,
                    sources: sources.clone(),
                };
                let asked = self.quorum.ask(current, voter.ordinal, voter.disk, request);
                async move { (voter.disk, asked.await) }
            })
            .collect();
        let mut yes = BTreeSet::new();
        while let Some((disk, answer)) = asked.next().await {
            match answer {
                Ok(_) => {
                    yes.insert(disk);
                }
                Err(error) => {
                    tracing::debug!(error = words(&error), %name, "a chunk is not confirmed");
                    self.debts.owe(name);
                }
            }
        }
        electorate.decides(&yes)
    }

    /// Brings one chunk to a quorum of its owners in every table; the others get it
    /// behind the acknowledgement.
    pub async fn place(
        self: Arc<Placer>,
        name: FileName,
        chunk: PlacedChunk,
        pieces: Vec<Bytes>,
        memory: Lease,
    ) -> Result<Placed, Error> {
        let memory = Arc::new(memory);
        let part = chunk.id.part;
        let mut last = None;
        for attempt in 0..CHUNK_TRIES {
            let Some(current) = self.quorum.current() else {
                break;
            };
            let sent = self.send(&current, &name, &chunk, &pieces, &memory);
            let why = match self.reach_quorum(&current, &name, &chunk, sent).await {
                Ok(placed) => return Ok(placed),
                Err(Short { full: true, .. }) => {
                    return Err(Error::PartFull { name, part });
                }
                Err(short) => short.why,
            };
            let said = why.as_ref().map(|why| words(why));
            tracing::debug!(%name, part, attempt, why = said, "a chunk is not placed yet");
            last = why;
            tokio::time::sleep(FIRST_PAUSE * (1 << attempt.min(4))).await;
        }
        Err(Error::PartNotPlaced {
            name,
            part,
            why: last,
        })
    }

    /// The chunk on its way to all its owners. What is sent holds its memory.
    fn send(
        &self,
        current: &Arc<Current>,
        name: &FileName,
        chunk: &PlacedChunk,
        pieces: &[Bytes],
        memory: &Arc<Lease>,
    ) -> Sent {
        let electorate = Electorate::new(&current.placements, &chunk.key);
        let voters = electorate.voters().iter();
        voters
            .map(|voter| {
                let (quorum, current, memory) =
                    (self.quorum.clone(), current.clone(), memory.clone());
                let (voter, name, chunk, pieces) = (*voter, name.clone(), *chunk, pieces.to_vec());
                let sending: BoxFuture<'static, _> = Box::pin(async move {
                    let sent = quorum.send_chunk(&current, voter, name, chunk, pieces);
                    let sent = sent.await;
                    drop(memory);
                    (voter, sent)
                });
                sending
            })
            .collect()
    }

    /// Waits until a quorum has acknowledged; the rest is finished behind it.
    async fn reach_quorum(
        &self,
        current: &Arc<Current>,
        name: &FileName,
        chunk: &PlacedChunk,
        mut sent: Sent,
    ) -> Result<Placed, Short> {
        let electorate = Electorate::new(&current.placements, &chunk.key);
        let mut yes = BTreeSet::new();
        let mut why = None;
        let (mut failed, mut full) = (false, false);
        while let Some((voter, result)) = sent.next().await {
            match result {
                Ok(()) => {
                    yes.insert(voter.disk);
                    if electorate.decides(&yes) {
                        self.finish_copies(name, chunk, sent, failed);
                        return Ok(Placed {
                            chunk: *chunk,
                            acknowledged: current.reference,
                        });
                    }
                }
                Err(error) => {
                    full |= matches!(error, PeerError::Refused(_, Refusal::Full));
                    failed = true;
                    why = Some(error);
                }
            }
        }
        Err(Short {
            why,
            full: full && self.quorum.holds(current),
        })
    }

    /// The copies beyond the quorum: finished behind the answer, or owed. They share a
    /// part of the memory of uploads; past it a copy is given up, and owed.
    fn finish_copies(&self, name: &FileName, chunk: &PlacedChunk, mut sent: Sent, mut owed: bool) {
        let share = self.stragglers.share(chunk.size as usize);
        if share.is_none() && !sent.is_empty() {
            sent.clear();
            owed = true;
        }
        let (quorum, debts, uploads) = (
            self.quorum.clone(),
            self.debts.clone(),
            self.uploads.clone(),
        );
        let (name, chunk) = (name.clone(), chunk.id);
        let of = name.clone();
        let taken = self.tasks.background(async move {
            while let Some((_, result)) = sent.next().await {
                owed |= result.is_err();
            }
            drop(share);
            if owed {
                debts.owe(&name);
            }
            // A copy that lands after the commit was told has missed the news. Of an
            // upload that was given up the reaper finds out whatever it is told here.
            if !uploads.runs(&chunk.upload) {
                let chunks = vec![chunk];
                quorum.notify_members(&Request::Committed { chunks }).await;
            }
        });
        if !taken {
            self.debts.owe(&of);
        }
    }
}
