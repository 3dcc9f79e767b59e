//! One chunk of an upload on its way to its owners: acknowledged by a quorum of
//! them in every table, and the rest behind the answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use chord_api::problem::{Kind, Problem};
use chord_types::manifest::PlacedChunk;
use chord_types::view::ViewRef;
use chord_types::{DiskId, FileName};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::memory::Lease;
use super::tell::tell;
use crate::answer::{meta_of, store_chunk};
use crate::node::{Current, Node};
use crate::peer::client::PeerError;
use crate::peer::wire::{ChunkHeader, Header, Refusal, Request};
use crate::quorum::drive::Ready;
use crate::store::Tier;
use chord_register::{Electorate, Voter};

/// Tries to place one chunk before the upload is given up.
const CHUNK_TRIES: u32 = 40;

/// Who acknowledged a chunk, under which view.
#[derive(Clone, Debug)]
pub struct Acks {
    view: ViewRef,
}

/// Rule 6: chunks acknowledged under an older view are confirmed again at the
/// owners of the view that the commit is proposed in.
pub async fn confirm_chunks(
    node: &Arc<Node>,
    name: &FileName,
    chunks: &[(PlacedChunk, Acks)],
    current: Arc<Current>,
) -> Result<Ready, Problem> {
    for (chunk, acks) in chunks {
        if acks.view == current.reference {
            continue;
        }
        let electorate = Electorate::new(&current.placements, &chunk.key);
        let sources: Vec<_> = current.view.members().iter().map(|m| m.ordinal).collect();
        let mut asked: FuturesUnordered<_> = electorate
            .voters()
            .iter()
            .map(|voter| {
                let (current, sources) = (current.clone(), sources.clone());
                async move {
                    let request = Request::Ensure {
                        name: name.clone(),
                        chunk: *chunk,
                        committed: false,
                        sources,
                    };
                    (
                        voter.disk,
                        node.ask(&current, voter.ordinal, voter.disk, request).await,
                    )
                }
            })
            .collect();
        let mut yes = BTreeSet::new();
        while let Some((disk, answer)) = asked.next().await {
            match answer {
                Ok(_) => {
                    yes.insert(disk);
                }
                Err(error) => {
                    tracing::debug!(%error, %name, "a chunk is not confirmed");
                    node.owe(name);
                }
            }
        }
        if electorate.decides(&yes) {
            continue;
        }
        let moved_on = node
            .current()
            .is_some_and(|now| now.reference != current.reference);
        if moved_on {
            return Ok(Ready::ViewChanged);
        }
        return Err(Problem::new(
            Kind::NoQuorum,
            format!(
                "part {} of {name:?} is not on enough of its owners after the view changed; nothing was changed; send it again",
                chunk.id.part
            ),
        ));
    }
    Ok(Ready::Yes)
}

/// Brings one chunk to a quorum of its owners in every table; the others get it
/// behind the acknowledgement.
pub async fn place(
    node: Arc<Node>,
    name: FileName,
    chunk: PlacedChunk,
    pieces: Vec<Bytes>,
    memory: Lease,
) -> Result<(PlacedChunk, Acks), Problem> {
    let memory = Arc::new(memory);
    let mut why = String::new();
    for attempt in 0..CHUNK_TRIES {
        let Some(current) = node.current() else { break };
        let electorate = Electorate::new(&current.placements, &chunk.key);
        let mut sent: FuturesUnordered<BoxFuture<'static, (Voter, Result<(), PeerError>)>> =
            electorate
                .voters()
                .iter()
                .map(|voter| {
                    let sending = send_chunk(
                        node.clone(),
                        current.clone(),
                        *voter,
                        name.clone(),
                        chunk,
                        pieces.clone(),
                        memory.clone(),
                    );
                    Box::pin(sending) as BoxFuture<'static, _>
                })
                .collect();
        let (mut yes, mut no) = (BTreeSet::new(), BTreeSet::new());
        let mut full = 0;
        while let Some((voter, result)) = sent.next().await {
            match result {
                Ok(()) => {
                    yes.insert(voter.disk);
                    if electorate.decides(&yes) {
                        let missing: BTreeSet<DiskId> = no;
                        finish_copies(&node, &name, &chunk, sent, !missing.is_empty());
                        return Ok((
                            chunk,
                            Acks {
                                view: current.reference,
                            },
                        ));
                    }
                }
                Err(error) => {
                    if matches!(error, PeerError::Refused(_, Refusal::Full)) {
                        full += 1;
                    }
                    why = error.to_string();
                    no.insert(voter.disk);
                }
            }
        }
        if full > 0
            && node
                .current()
                .is_some_and(|c| c.reference == current.reference)
        {
            return Err(Problem::new(
                Kind::Full,
                format!(
                    "there is no space for part {} of {name:?} on its owners; nothing was changed",
                    chunk.id.part
                ),
            ));
        }
        tracing::debug!(%name, part = chunk.id.part, attempt, %why, "a chunk is not placed yet");
        tokio::time::sleep(std::time::Duration::from_millis(25 << attempt.min(4))).await;
    }
    Err(Problem::new(
        Kind::NoQuorum,
        format!(
            "too few owners of part {} of {name:?} took it ({why}); nothing was changed; try again",
            chunk.id.part
        ),
    ))
}

/// The copies beyond the quorum: finished behind the answer, or owed. They share a
/// part of the memory of uploads; past it a copy is given up, and owed.
fn finish_copies(
    node: &Arc<Node>,
    name: &FileName,
    chunk: &PlacedChunk,
    mut sent: FuturesUnordered<BoxFuture<'static, (Voter, Result<(), PeerError>)>>,
    mut owed: bool,
) {
    let memory = node.straggler_memory.clone();
    let share = memory.try_acquire_many_owned(chunk.size);
    if share.is_err() && !sent.is_empty() {
        sent.clear();
        owed = true;
    }
    let chunk = chunk.id;
    let (copy, of) = (node.clone(), name.clone());
    let taken = node.workers.background(async move {
        let (node, name) = (copy, of);
        while let Some((_, result)) = sent.next().await {
            owed |= result.is_err();
        }
        drop(share);
        if owed {
            node.owe(&name);
        }
        // A copy that lands after the commit was told has missed the news. Of an
        // upload that was given up the reaper finds out whatever it is told here.
        let over = {
            let uploads = node.uploads.lock().unwrap_or_else(|p| p.into_inner());
            !uploads.contains(&chunk.upload)
        };
        if over {
            tell(&node, |_| Request::Committed {
                chunks: vec![chunk],
            })
            .await;
        }
    });
    if !taken {
        node.owe(name);
    }
}

async fn send_chunk(
    node: Arc<Node>,
    current: Arc<Current>,
    voter: Voter,
    name: FileName,
    chunk: PlacedChunk,
    pieces: Vec<Bytes>,
    _memory: Arc<Lease>,
) -> (Voter, Result<(), PeerError>) {
    if voter.disk == node.disk() {
        let meta = meta_of(name, &chunk, false);
        let body = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>));
        let stored = if node
            .current()
            .is_some_and(|c| c.reference == current.reference)
        {
            store_chunk(&node, &current, meta, Tier::Clients, body).await
        } else {
            Err(Refusal::OtherView(None))
        };
        return (
            voter,
            stored.map_err(|refusal| PeerError::Refused(voter.ordinal, refusal)),
        );
    }
    let header = Header {
        cluster: node.cluster.clone(),
        view: current.reference,
        to: voter.disk,
        from: node.ordinal,
    };
    let head = ChunkHeader {
        header,
        name,
        chunk,
        committed: false,
    };
    let result = node.peers.put_chunk(voter.ordinal, &head, pieces).await;
    if let Err(PeerError::Refused(_, Refusal::OtherView(theirs))) = &result {
        node.reconcile_views(voter.ordinal, *theirs).await;
    }
    (voter, result)
}
