//! PUT: chunk by chunk to the owners, and one change of the register at the end.
//!
//! Small bodies go into the register itself. Others first enter their upload as
//! pending; each chunk is acknowledged by a quorum of its owners in every table;
//! the commit consumes the pending entry. What breaks off leaves nothing that
//! anybody can see, and its chunks become garbage.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use chord_api::manifest::{Body as Contents, ChunkRef, PlacedChunk, chunk_key};
use chord_api::problem::{Kind, Problem};
use chord_api::view::ViewRef;
use chord_api::{ChunkId, DiskId, FileName, Manifest, UploadId};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

use super::coordinator::finished;
use super::pieces::Pieces;
use super::{Body, Put, PutDone};
use crate::node::{Current, Node, now_ms};
use crate::peer::client::PeerError;
use crate::peer::handle::{meta_of, root_of, store_chunk};
use crate::peer::wire::{ChunkHeader, Header, Refusal, Request};
use crate::register::drive;
use crate::register::proposer::Proposer;
use crate::register::{Change, Electorate, NewFile, Outcome, Pending, Voter};
use crate::store::Tier;

/// Files up to this many bytes live in their register.
pub const INLINE_BYTES: usize = 32 * 1024;
/// Chunks of one upload that are on their way at a time.
const CHUNKS_AT_ONCE: usize = 2;
/// Tries to place one chunk before the upload is given up.
const CHUNK_TRIES: u32 = 40;

/// Whether there is space for a PUT, as far as is known of the members.
pub fn admit_space(node: &Node, put: &Put) -> Result<(), Problem> {
    let Some(current) = node.current() else {
        return Ok(());
    };
    let known: Vec<Option<u64>> = current
        .view
        .new_table()
        .live()
        .map(|m| {
            if m.disk == node.disk() {
                return Some(node.store.space().available);
            }
            node.peers
                .heard(m.ordinal)
                .filter(|h| h.disk == m.disk)
                .map(|h| h.available)
        })
        .collect();
    let quorum = current.view.new_table().quorum();
    let least = if put.length == Some(0) { 0 } else { 1 };
    let usable = known.iter().filter(|a| a.is_none_or(|a| a > least)).count();
    let total: Option<u64> = known.iter().copied().sum();
    let needed = put
        .length
        .unwrap_or(0)
        .saturating_mul(u64::from(current.view.new_table().replication));
    if usable < quorum || total.is_some_and(|total| needed > total) {
        return Err(Problem::new(
            Kind::Full,
            format!(
                "there is no space for {:?}: the nodes have {} bytes left for files; delete some, or let the cluster grow",
                put.name,
                total.unwrap_or(0)
            ),
        ));
    }
    Ok(())
}

/// Stores a body.
pub async fn put(node: &Arc<Node>, put: Put, mut body: Body) -> Result<PutDone, Problem> {
    let chunk_size = node.args.chunk_size as usize;
    let mut reader = Pieces::new(&mut body);
    let expected = put.length.map_or(chunk_size, |n| {
        usize::try_from(n).unwrap_or(chunk_size).min(chunk_size)
    });
    let memory = reserve(node, expected).await?;
    let first = reader.take(chunk_size).await?;
    let sole = reader.at_end().await?;
    let size: usize = first.iter().map(Bytes::len).sum();
    if sole && size <= INLINE_BYTES {
        drop(memory);
        let fingerprint = hex::encode(&root_of(&first).0[..8]);
        let contents = Contents::Inline(Bytes::from(first.concat()));
        return commit(node, &put, size as u64, fingerprint, contents, Vec::new()).await;
    }
    let upload = UploadId::random();
    node.uploads
        .lock()
        .unwrap_or_else(|p| p.into_inner())
        .insert(upload);
    let mut guard = UploadGuard {
        node: node.clone(),
        name: put.name.clone(),
        upload,
        committed: false,
    };
    begin(node, &put, upload).await?;

    let mut chunks: Vec<(PlacedChunk, Acks)> = Vec::new();
    let mut flights = futures::stream::FuturesOrdered::new();
    let mut next = Some((first, memory, sole));
    let mut part = 0u32;
    let mut total = 0u64;
    while let Some((pieces, memory, sole)) = next.take() {
        part += 1;
        let size: usize = pieces.iter().map(Bytes::len).sum();
        total += size as u64;
        let id = ChunkId { upload, part };
        let root = root_of(&pieces);
        let chunk = PlacedChunk {
            id,
            key: chunk_key(&put.name, id, sole),
            size: size as u32,
            root,
        };
        // A task of its own, so that it goes on while the next chunk is read.
        let flight = tokio::spawn(place(node.clone(), put.name.clone(), chunk, pieces, memory));
        flights.push_back(AbortOnDropHandle::new(flight));
        while flights.len() >= CHUNKS_AT_ONCE {
            if let Some(placed) = flights.next().await {
                chunks.push(landed(placed)?);
            }
        }
        if !sole && !reader.at_end().await? {
            let memory = reserve(node, chunk_size).await?;
            let pieces = reader.take(chunk_size).await?;
            next = Some((pieces, memory, false));
        }
    }
    while let Some(placed) = flights.next().await {
        chunks.push(landed(placed)?);
    }
    let mut hash = blake3::Hasher::new();
    for (chunk, _) in &chunks {
        hash.update(&chunk.root.0);
    }
    let fingerprint = hex::encode(&hash.finalize().as_bytes()[..8]);
    let refs = chunks
        .iter()
        .map(|(c, _)| ChunkRef {
            size: c.size,
            root: c.root,
        })
        .collect();
    let done = commit(
        node,
        &put,
        total,
        fingerprint,
        Contents::Chunks {
            upload,
            chunks: refs,
        },
        chunks,
    )
    .await;
    // An unknown outcome may have been applied: the upload is not taken back.
    guard.committed = match &done {
        Ok(_) => true,
        Err(problem) => problem.kind == Kind::OutcomeUnknown,
    };
    done
}

fn landed<T>(flight: Result<Result<T, Problem>, tokio::task::JoinError>) -> Result<T, Problem> {
    flight.map_err(|e| {
        Problem::new(
            Kind::Overloaded,
            format!("sending a chunk was cut short: {e}"),
        )
    })?
}

/// Memory for one chunk, waited for.
async fn reserve(node: &Node, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    node.upload_memory
        .clone()
        .acquire_many_owned(bytes)
        .await
        .map_err(|_| Problem::new(Kind::Overloaded, "the node is stopping"))
}

/// Enters the upload as pending, where the conditions hold.
async fn begin(node: &Arc<Node>, put: &Put, upload: UploadId) -> Result<(), Problem> {
    let pending = Pending {
        upload,
        disk: node.disk(),
        boot: node.store.boot(),
        since_ms: now_ms(),
    };
    let change = Change::Begin {
        pending,
        condition: put.condition.clone(),
    };
    let end = drive::run(node, &put.name, Proposer::new(change), None).await?;
    finished(&put.name, end).map(|_| ())
}

/// Makes the new version.
async fn commit(
    node: &Arc<Node>,
    put: &Put,
    size: u64,
    fingerprint: String,
    contents: Contents,
    chunks: Vec<(PlacedChunk, Acks)>,
) -> Result<PutDone, Problem> {
    let before = drive::read(node, &put.name).await?.and_then(|v| v.current);
    let file = NewFile {
        size,
        modified_ms: now_ms(),
        content_type: put.content_type.clone(),
        meta: put.meta.clone(),
        fingerprint,
        body: contents,
    };
    let op = node.next_operation();
    let change = Change::Commit {
        op,
        file,
        condition: put.condition.clone(),
    };
    let confirm = |current: Arc<Current>| -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(confirm_chunks(node, &put.name, &chunks, current))
    };
    let end = drive::run(node, &put.name, Proposer::new(change), Some(&confirm)).await?;
    let (_, outcome) = finished(&put.name, end)?;
    let Outcome::Committed {
        version,
        etag,
        replaced,
    } = outcome
    else {
        return Err(Problem::new(
            Kind::OutcomeUnknown,
            "the register answered for another operation",
        ));
    };
    if let Some(manifest) = before
        && manifest.version < version
    {
        tell_reapers(node, &put.name, &manifest);
    }
    tell_committed(node, &chunks);
    Ok(PutDone {
        version,
        etag,
        replaced,
    })
}

/// Who acknowledged a chunk, under which view.
#[derive(Clone, Debug)]
pub struct Acks {
    view: ViewRef,
}

/// Rule 6: chunks acknowledged under an older view are confirmed again at the
/// owners of the view that the commit is proposed in.
async fn confirm_chunks(
    node: &Arc<Node>,
    name: &FileName,
    chunks: &[(PlacedChunk, Acks)],
    current: Arc<Current>,
) -> Result<(), Problem> {
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
        // Where the view has changed again the next try asks its owners.
        let moved_on = node
            .current()
            .is_some_and(|now| now.reference != current.reference);
        if !electorate.decides(&yes) && !moved_on {
            return Err(Problem::new(
                Kind::NoQuorum,
                format!(
                    "part {} of {name:?} is not on enough of its owners after the view changed; nothing was changed; send it again",
                    chunk.id.part
                ),
            ));
        }
    }
    Ok(())
}

/// Brings one chunk to a quorum of its owners in every table; the others get it
/// behind the acknowledgement.
async fn place(
    node: Arc<Node>,
    name: FileName,
    chunk: PlacedChunk,
    pieces: Vec<Bytes>,
    memory: OwnedSemaphorePermit,
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
                        finish_copies(&node, &name, chunk.id, sent, !missing.is_empty());
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

/// The copies beyond the quorum: finished behind the answer, or owed.
fn finish_copies(
    node: &Arc<Node>,
    name: &FileName,
    chunk: ChunkId,
    mut sent: FuturesUnordered<BoxFuture<'static, (Voter, Result<(), PeerError>)>>,
    mut owed: bool,
) {
    let (node, name) = (node.clone(), name.clone());
    node.clone().workers.background(async move {
        while let Some((_, result)) = sent.next().await {
            owed |= result.is_err();
        }
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
}

async fn send_chunk(
    node: Arc<Node>,
    current: Arc<Current>,
    voter: Voter,
    name: FileName,
    chunk: PlacedChunk,
    pieces: Vec<Bytes>,
    _memory: Arc<OwnedSemaphorePermit>,
) -> (Voter, Result<(), PeerError>) {
    if voter.disk == node.disk() {
        let meta = meta_of(name, &chunk, false);
        let body = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>));
        let stored = if node
            .current()
            .is_some_and(|c| c.reference == current.reference)
        {
            store_chunk(&node, meta, Tier::Clients, body).await
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

/// Takes the upload back unless it was committed, whatever ended the request.
struct UploadGuard {
    node: Arc<Node>,
    name: FileName,
    upload: UploadId,
    committed: bool,
}

impl Drop for UploadGuard {
    fn drop(&mut self) {
        self.node
            .uploads
            .lock()
            .unwrap_or_else(|p| p.into_inner())
            .remove(&self.upload);
        if self.committed {
            return;
        }
        let (node, name, upload) = (self.node.clone(), self.name.clone(), self.upload);
        self.node.workers.background(async move {
            // The pending entry goes first; only then is anything deleted.
            let change = Change::Expire { upload };
            if drive::run(&node, &name, Proposer::new(change), None)
                .await
                .is_ok()
            {
                tell(&node, |_| Request::Reap {
                    name: name.clone(),
                    upload,
                })
                .await;
            }
        });
    }
}

/// Tells every member something that needs no answer.
async fn tell(node: &Arc<Node>, request: impl Fn(&chord_api::Member) -> Request) {
    let Some(current) = node.current() else {
        return;
    };
    let mut asked: FuturesUnordered<_> = current
        .view
        .members()
        .into_iter()
        .map(|m| node.ask(&current, m.ordinal, m.disk, request(m)))
        .collect();
    while asked.next().await.is_some() {}
}

/// The chunks of a version that was replaced or deleted may be garbage now.
pub fn tell_reapers(node: &Arc<Node>, name: &FileName, manifest: &Manifest) {
    let Contents::Chunks { upload, .. } = manifest.body else {
        return;
    };
    let (owner, name) = (node.clone(), name.clone());
    node.workers.background(async move {
        tell(&owner, |_| Request::Reap {
            name: name.clone(),
            upload,
        })
        .await;
    });
}

/// The chunks belong to a version now, for what nodes say they hold.
fn tell_committed(node: &Arc<Node>, chunks: &[(PlacedChunk, Acks)]) {
    if chunks.is_empty() {
        return;
    }
    let ids: Vec<ChunkId> = chunks.iter().map(|(c, _)| c.id).collect();
    let owner = node.clone();
    node.workers.background(async move {
        for batch in ids.chunks(1000) {
            tell(&owner, |_| Request::Committed {
                chunks: batch.to_vec(),
            })
            .await;
        }
    });
}

/// Keeps a body on this node.
pub async fn drop_here(node: &Arc<Node>, put: Put, mut body: Body) -> Result<(), Problem> {
    let failed = |e: crate::store::StoreError| match e {
        crate::store::StoreError::Full(_) => Problem::new(
            Kind::Full,
            format!("this node has no space for {:?}: {e}", put.name),
        ),
        other => Problem::new(
            Kind::Overloaded,
            format!("cannot keep {:?} on this node: {other}", put.name),
        ),
    };
    let mut writer = node
        .store
        .dropped_writer(
            put.name.clone(),
            put.content_type.clone(),
            put.meta.clone(),
            put.length,
        )
        .map_err(failed)?;
    while let Some(piece) = body.next().await {
        writer.write(piece?).await.map_err(failed)?;
    }
    writer.finish().await.map_err(failed)?;
    node.workers.migrate_now.notify_one();
    Ok(())
}
