//! Answering other nodes: the acceptor's side of registers, receipts for chunks,
//! and hints.

pub mod fetch;

use std::sync::Arc;

use chord_types::blocks::Root;
use chord_types::manifest::PlacedChunk;
use chord_types::{ChunkId, FileName, Id, Ordinal, View};

use crate::node::{Current, Node};
use crate::peer::wire::{
    Answer, Call, ChunkState, NameEntry, NameFile, NamesPage, Refusal, Reply, Request,
};
use crate::store::{ChunkError, ChunkMeta, ChunkWriter, MayEnter, StoreError, Tier};
use chord_register::acceptor::{Promise, Vote, accepts, grants};
use chord_register::{Ballot, Value};

/// The most names or chunks in one request.
pub const MAX_BATCH: usize = 4096;

/// Answers one call.
pub async fn handle(node: &Arc<Node>, call: Call) -> Reply {
    let Call { header, request } = call;
    if header.cluster != node.cluster {
        return Err(Refusal::OtherCluster);
    }
    if header.to != node.disk() {
        return Err(Refusal::OtherDisk(node.disk()));
    }
    let current = node.current();
    let current = match current {
        Some(current) if current.reference == header.view => Some(current),
        other if request.needs_view() => {
            return Err(Refusal::OtherView(other.map(|c| c.reference)));
        }
        other => other,
    };
    match (request, current) {
        (
            Request::Prepare {
                name,
                ballot,
                bytes,
            },
            Some(current),
        ) => prepare(node, &current, name, ballot, bytes).await,
        (
            Request::Accept {
                name,
                ballot,
                value,
                client,
            },
            Some(current),
        ) => accept(node, &current, name, ballot, value, client).await,
        (Request::Read { name, with_value }, Some(current)) => {
            read(node, &current, name, with_value).await
        }
        (Request::Ballots { names }, Some(current)) => ballots(node, &current, names).await,
        (
            Request::Names {
                prefix,
                after,
                limit,
            },
            Some(current),
        ) => names(node, &current, prefix, after, limit).await,
        (Request::HasChunks { chunks }, Some(current)) => has_chunks(node, &current, chunks).await,
        (
            Request::Ensure {
                name,
                chunk,
                committed,
                sources,
            },
            Some(current),
        ) => ensure(node, &current, name, chunk, committed, sources).await,
        (Request::Committed { chunks }, _) => {
            if chunks.len() > MAX_BATCH {
                return Err(Refusal::Failed(format!(
                    "at most {MAX_BATCH} chunks at a time"
                )));
            }
            node.store
                .chunk_set_committed(chunks)
                .await
                .map_err(failed)?;
            Ok(Answer::Done)
        }
        (Request::Reap { name, upload }, _) => {
            crate::workers::reaper::expect(node, name, upload);
            Ok(Answer::Done)
        }
        (Request::UploadActive { upload, boot }, _) => {
            let active = boot == node.store.boot()
                && node
                    .uploads
                    .lock()
                    .unwrap_or_else(|p| p.into_inner())
                    .contains(&upload);
            Ok(Answer::Active(active))
        }
        (Request::Reading { upload }, _) => Ok(Answer::Active(node.readers.read(&upload))),
        (Request::VerifyChunk { chunk }, _) => match node.store.chunk_verify(chunk).await {
            Ok(_) => Ok(Answer::Checked(ChunkState::Whole)),
            Err(ChunkError::Missing) => Ok(Answer::Checked(ChunkState::Missing)),
            Err(ChunkError::Damaged(_)) => Ok(Answer::Checked(ChunkState::Damaged)),
            Err(e) => Err(Refusal::Failed(e.to_string())),
        },
        (_, None) => Err(Refusal::OtherView(None)),
    }
}

fn failed(error: StoreError) -> Refusal {
    match error {
        StoreError::Full(_) => Refusal::Full,
        other => Refusal::Failed(other.to_string()),
    }
}

/// Whether this disk owns a key in either table.
pub fn owns(node: &Node, current: &Current, key: &Id) -> bool {
    let me = node.disk();
    current.placements.owners(key).iter().any(|m| m.disk == me)
}

fn check_owner(node: &Node, current: &Current, name: &FileName) -> Result<(), Refusal> {
    if owns(node, current, &Id::of_file(name)) {
        Ok(())
    } else {
        Err(Refusal::NotOwner)
    }
}

/// The view may have changed between the check and the writer's turn: what is
/// written is written under the view that the request names, or not at all.
fn same_view(held: Option<Arc<View>>, current: &Current) -> Result<(), StoreError> {
    entered_under(current)(held.as_deref())
}

/// Lets something in only while this view is in force: what came late is neither
/// part of what was proved of the view, nor of what a drained node has reported.
pub fn entered_under(current: &Current) -> MayEnter {
    let epoch = current.reference.epoch;
    Box::new(move |held| match held {
        Some(view) if view.epoch == epoch => Ok(()),
        _ => Err(StoreError::Refused("the view has changed".into())),
    })
}

async fn stale(node: &Node, error: StoreError) -> Refusal {
    match error {
        StoreError::Refused(_) => Refusal::OtherView(node.current().map(|c| c.reference)),
        other => failed(other),
    }
}

async fn prepare(
    node: &Arc<Node>,
    current: &Arc<Current>,
    name: FileName,
    ballot: Ballot,
    bytes: u64,
) -> Reply {
    check_owner(node, current, &name)?;
    if ballot.epoch != current.reference.epoch {
        return Err(Refusal::OtherView(Some(current.reference)));
    }
    if bytes > 0 {
        node.store.admit(bytes, Tier::Clients).map_err(failed)?;
    }
    let view = current.clone();
    let promise = node
        .store
        .transact(move |txn| {
            same_view(txn.view(), &view)?;
            let accepted = txn.register(&name)?;
            let promised = txn.promise(&name)?;
            Ok(
                match grants(promised, accepted.as_ref().map(|(b, _)| *b), ballot) {
                    Ok(()) => {
                        txn.set_promise(&name, ballot)?;
                        Promise::Promised { accepted }
                    }
                    Err(promised) => Promise::Rejected { promised },
                },
            )
        })
        .await;
    match promise {
        Ok(promise) => Ok(Answer::Promise(promise)),
        Err(error) => Err(stale(node, error).await),
    }
}

async fn accept(
    node: &Arc<Node>,
    current: &Arc<Current>,
    name: FileName,
    ballot: Ballot,
    value: Value,
    client: bool,
) -> Reply {
    check_owner(node, current, &name)?;
    if ballot.epoch != current.reference.epoch {
        return Err(Refusal::OtherView(Some(current.reference)));
    }
    let view = current.clone();
    // What grows leaves the room that deletions and votes need.
    let tier = if client { Tier::Clients } else { Tier::Moves };
    let space = node.store.clone();
    let vote = node
        .store
        .transact(move |txn| {
            same_view(txn.view(), &view)?;
            let held = txn.register(&name)?;
            let accepted = held.as_ref().map(|(b, _)| *b);
            let promised = txn.promise(&name)?;
            Ok(match accepts(promised, accepted, ballot) {
                Ok(()) => {
                    let bytes = value.brings(held.as_ref().map(|(_, v)| v));
                    if bytes > 0 {
                        space.admit(bytes, tier)?;
                    }
                    txn.set_promise(&name, ballot)?;
                    txn.set_register(&name, ballot, &value)?;
                    Vote::Accepted
                }
                Err(promised) => Vote::Rejected { promised },
            })
        })
        .await;
    match vote {
        Ok(vote) => Ok(Answer::Vote(vote)),
        Err(error) => Err(stale(node, error).await),
    }
}

async fn read(node: &Arc<Node>, current: &Arc<Current>, name: FileName, with_value: bool) -> Reply {
    check_owner(node, current, &name)?;
    let view = current.clone();
    let found = node
        .store
        .read(move |txn| {
            same_view(txn.view(), &view)?;
            txn.register(&name)
        })
        .await;
    match found {
        Ok(None) => Ok(Answer::Read {
            ballot: None,
            value: None,
        }),
        Ok(Some((ballot, value))) => Ok(Answer::Read {
            ballot: Some(ballot),
            value: with_value.then_some(value),
        }),
        Err(error) => Err(stale(node, error).await),
    }
}

async fn ballots(node: &Arc<Node>, current: &Arc<Current>, names: Vec<FileName>) -> Reply {
    if names.len() > MAX_BATCH {
        return Err(Refusal::Failed(format!(
            "at most {MAX_BATCH} names at a time"
        )));
    }
    let view = current.clone();
    let found = node
        .store
        .read(move |txn| {
            same_view(txn.view(), &view)?;
            names
                .iter()
                .map(|name| Ok(txn.register(name)?.map(|(b, _)| b)))
                .collect()
        })
        .await;
    match found {
        Ok(ballots) => Ok(Answer::Ballots(ballots)),
        Err(error) => Err(stale(node, error).await),
    }
}

async fn names(
    node: &Arc<Node>,
    current: &Arc<Current>,
    prefix: String,
    after: String,
    limit: u32,
) -> Reply {
    let limit = (limit as usize).min(MAX_BATCH);
    let view = current.clone();
    let page = node
        .store
        .read(move |txn| {
            same_view(txn.view(), &view)?;
            txn.list(&prefix, Some(&after), limit)
        })
        .await;
    match page {
        Ok(page) => Ok(Answer::Names(NamesPage {
            more: page.next.is_some(),
            names: page
                .items
                .into_iter()
                .map(|listed| NameEntry {
                    name: listed.name,
                    ballot: listed.ballot,
                    file: listed.current.map(|file| NameFile {
                        size: file.size,
                        etag: file.etag,
                        modified_ms: file.modified_ms,
                        content_type: file.content_type,
                    }),
                })
                .collect(),
        })),
        Err(error) => Err(stale(node, error).await),
    }
}

async fn has_chunks(node: &Arc<Node>, current: &Current, chunks: Vec<ChunkId>) -> Reply {
    if chunks.len() > MAX_BATCH {
        return Err(Refusal::Failed(format!(
            "at most {MAX_BATCH} chunks at a time"
        )));
    }
    if !current.view.has(node.ordinal, node.disk()) {
        return Err(Refusal::NotOwner);
    }
    takes_part(node)?;
    let mut has = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        has.push(node.store.chunk_has(chunk).await.map_err(failed)?.is_some());
    }
    Ok(Answer::Has(has))
}

/// A disk that is damaged gives out what it still has, and vouches for nothing.
fn takes_part(node: &Node) -> Result<(), Refusal> {
    match node.store.failure() {
        Some(failure) => Err(Refusal::Failed(failure.to_string())),
        None => Ok(()),
    }
}

async fn ensure(
    node: &Arc<Node>,
    current: &Current,
    name: FileName,
    chunk: PlacedChunk,
    committed: bool,
    sources: Vec<Ordinal>,
) -> Reply {
    if !owns(node, current, &chunk.key) {
        return Err(Refusal::NotOwner);
    }
    takes_part(node)?;
    if node
        .store
        .chunk_has(chunk.id)
        .await
        .map_err(failed)?
        .is_some()
    {
        if committed {
            node.store
                .chunk_set_committed(vec![chunk.id])
                .await
                .map_err(failed)?;
        }
        return Ok(Answer::Done);
    }
    let meta = meta_of(name, &chunk, committed);
    fetch::pull(node, current, meta, &sources).await?;
    Ok(Answer::Done)
}

/// The chunk's entry on disk.
pub fn meta_of(name: FileName, chunk: &PlacedChunk, committed: bool) -> ChunkMeta {
    ChunkMeta {
        id: chunk.id,
        name,
        key: chunk.key,
        size: chunk.size,
        root: chunk.root,
        committed,
    }
}

/// Takes a chunk's payload piece by piece; `Ok` is a receipt of this view.
pub async fn store_chunk<E: std::fmt::Display>(
    node: &Arc<Node>,
    current: &Current,
    meta: ChunkMeta,
    tier: Tier,
    mut body: impl futures::Stream<Item = Result<bytes::Bytes, E>> + Unpin,
) -> Result<(), Refusal> {
    use futures::StreamExt;
    let mut writer = node.store.chunk_writer(meta, tier).map_err(chunk_failed)?;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|e| Refusal::Failed(format!("the chunk broke off: {e}")))?;
        writer.write(piece).await.map_err(chunk_failed)?;
    }
    finish_chunk(node, current, writer).await
}

/// Enters a chunk whose bytes are all there, if the view is still the same.
pub async fn finish_chunk(
    node: &Node,
    current: &Current,
    writer: ChunkWriter,
) -> Result<(), Refusal> {
    match writer.finish_if(entered_under(current)).await {
        Ok(()) => Ok(()),
        Err(error) => match node.current() {
            Some(now) if now.reference == current.reference => Err(chunk_failed(error)),
            other => Err(Refusal::OtherView(other.map(|c| c.reference))),
        },
    }
}

/// Tells the sender what was wrong with a chunk.
pub fn chunk_failed(error: ChunkError) -> Refusal {
    match error {
        ChunkError::Store(StoreError::Full(_)) => Refusal::Full,
        other => Refusal::Failed(other.to_string()),
    }
}

/// The root of a payload in pieces, without copying them together.
pub fn root_of(pieces: &[bytes::Bytes]) -> Root {
    let block = chord_types::blocks::BLOCK_BYTES;
    let mut hashes = Vec::new();
    let mut hasher = blake3::Hasher::new();
    let mut filled = 0usize;
    for piece in pieces {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let take = rest.len().min(block - filled);
            hasher.update(&rest[..take]);
            filled += take;
            rest = &rest[take..];
            if filled == block {
                hashes.push(*hasher.finalize().as_bytes());
                hasher.reset();
                filled = 0;
            }
        }
    }
    if filled > 0 {
        hashes.push(*hasher.finalize().as_bytes());
    }
    Root::of_blocks(&hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use chord_types::manifest::chunk_key;
    use chord_types::{ChunkId, UploadId};

    use crate::testing::{Nodes, file};

    #[tokio::test]
    async fn a_chunk_that_comes_while_the_view_changes_is_not_entered() {
        let all = Nodes::start(3).await;
        let view = all.form(1).await;
        let node = &all.nodes[2];
        let held = node.current().unwrap();
        let payload = Bytes::from_static(b"the only copy");
        let name = file("a");
        let meta = (1..)
            .map(|part| {
                let upload = UploadId::from_bytes([7; 16]);
                let id = ChunkId { upload, part };
                ChunkMeta {
                    id,
                    name: name.clone(),
                    key: chunk_key(&name, id, false),
                    size: payload.len() as u32,
                    root: Root::of(&payload).0,
                    committed: false,
                }
            })
            .find(|meta| owns(node, &held, &meta.key))
            .unwrap();
        let joint = view.change_to(all.table(1, &[0, 1])).unwrap();
        let done = joint.complete().unwrap();
        // The body is on its way when the node is drained.
        let (drained, reference) = (node.clone(), done.reference());
        let body = futures::stream::once(async move {
            drained.adopt(joint).await.unwrap();
            drained.adopt(done).await.unwrap();
            Ok::<_, std::convert::Infallible>(payload)
        });
        let stored = store_chunk(node, &held, meta.clone(), Tier::Clients, Box::pin(body)).await;
        assert_eq!(stored, Err(Refusal::OtherView(Some(reference))));
        assert!(node.report().inventory.is_empty());
        assert!(node.store.chunk_has(meta.id).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_damaged_disk_vouches_for_no_chunk() {
        let all = Nodes::start(1).await;
        let view = all.form(1).await;
        let node = &all.nodes[0];
        all.put(0, "a", vec![7; 100_000]).await.unwrap();
        let meta = node.store.chunks_after(None, 1).await.unwrap().items;
        let (id, key) = (meta[0].id, meta[0].key);
        let ask = async |request| {
            let header = crate::peer::wire::Header {
                cluster: node.cluster.clone(),
                view: view.reference(),
                to: node.disk(),
                from: node.ordinal,
            };
            handle(node, Call { header, request }).await
        };
        let has = || Request::HasChunks { chunks: vec![id] };
        assert!(matches!(ask(has()).await, Ok(Answer::Has(has)) if has == [true]));
        let torn = || Err::<(), _>(StoreError::Damaged("a record is torn".into()));
        node.store.transact(move |_| torn()).await.unwrap_err();
        assert!(matches!(ask(has()).await, Err(Refusal::Failed(_))));
        let ensure = Request::Ensure {
            name: file("a"),
            chunk: chord_types::manifest::PlacedChunk {
                id,
                key,
                size: meta[0].size,
                root: meta[0].root,
            },
            committed: true,
            sources: vec![],
        };
        assert!(matches!(ask(ensure).await, Err(Refusal::Failed(_))));
        // What it still has right is given out: it may be the last.
        assert!(node.store.chunk_read(id, 0..1).await.is_ok());
    }

    #[test]
    fn a_root_does_not_depend_on_how_the_payload_is_cut() {
        let payload: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let whole = Root::of(&payload).0;
        for cut in [1usize, 7, 65_536, 65_537, 131_072, 199_999] {
            let pieces = [
                Bytes::copy_from_slice(&payload[..cut]),
                Bytes::copy_from_slice(&payload[cut..]),
            ];
            assert_eq!(root_of(&pieces), whole, "cut at {cut}");
        }
        assert_eq!(root_of(&[]), Root::of(&[]).0);
    }
}
