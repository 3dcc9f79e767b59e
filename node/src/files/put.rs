//! PUT: chunk by chunk to the owners, and one change of the register at the end.
//!
//! Small bodies go into the register itself. Others first enter their upload as
//! pending; each chunk is acknowledged by a quorum of its owners in every table;
//! the commit consumes the pending entry. What breaks off leaves nothing that
//! anybody can see, and its chunks become garbage.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use chord_api::problem::{Kind, Problem};
use chord_types::manifest::{Body as Contents, ChunkRef, PlacedChunk, chunk_key};
use chord_types::{ChunkId, DiskId, FileName, Id, UploadId, View};
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;

use super::coordinator::{check_member, finished};
use super::pieces::Pieces;
use super::place::{Acks, confirm_chunks, place};
use super::tell::{tell, tell_committed, tell_reapers};
use super::{Body, Put, PutDone};
use crate::answer::root_of;
use crate::node::{Current, Node, now_ms};
use crate::peer::wire::Request;
use crate::quorum::drive::{self, Ready};
use crate::store::StoreError;
use chord_register::proposer::Proposer;
use chord_register::{Change, Electorate, NewFile, Outcome, Pending};

/// Files up to this many bytes live in their register.
pub const INLINE_BYTES: usize = 32 * 1024;
/// Chunks of one upload that are on their way at a time.
const CHUNKS_AT_ONCE: usize = 2;

/// Whether there is space for a PUT, as far as is known of the members.
pub fn admit_space(node: &Node, put: &Put) -> Result<(), Problem> {
    let Some(current) = node.current() else {
        return Ok(());
    };
    let available = |ordinal, disk| {
        if disk == node.disk() {
            return Some(node.store.space().available);
        }
        let heard = node.peers.heard(ordinal).filter(|h| h.disk == disk);
        heard.map(|h| h.available)
    };
    let known: Vec<Option<u64>> = current
        .view
        .new_table()
        .live()
        .map(|m| available(m.ordinal, m.disk))
        .collect();
    // The register needs a quorum of its owners; where chunks will lie is not
    // known before.
    let least = match put.length {
        Some(0) => 0,
        Some(length) if length <= INLINE_BYTES as u64 => length,
        _ => 1,
    };
    let owners = Electorate::new(&current.placements, &Id::of_file(&put.name));
    let usable: BTreeSet<DiskId> = owners
        .voters()
        .iter()
        .filter(|v| available(v.ordinal, v.disk).is_none_or(|a| a > least))
        .map(|v| v.disk)
        .collect();
    let total: Option<u64> = known.iter().copied().sum();
    let needed = put
        .length
        .unwrap_or(0)
        .saturating_mul(u64::from(current.view.new_table().replication));
    if !owners.decides(&usable) || total.is_some_and(|total| needed > total) {
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
    let mut memory = node.upload_memory.lease();
    let first = reader.take(chunk_size, &mut memory).await?;
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
            let mut memory = node.upload_memory.lease();
            let pieces = reader.take(chunk_size, &mut memory).await?;
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
    let confirm = |current: Arc<Current>| -> BoxFuture<'_, Result<Ready, Problem>> {
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

/// Keeps a body on this node, which has to be a member until the file is there:
/// once its disk has left the view and is empty it may be taken away.
pub async fn drop_here(node: &Arc<Node>, put: Put, mut body: Body) -> Result<(), Problem> {
    check_member(node)?;
    let failed = |e: StoreError| match e {
        StoreError::Full(_) => Problem::new(
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
    let (ordinal, disk) = (node.ordinal, node.disk());
    let member = move |view: Option<&View>| match view {
        Some(view) if view.has(ordinal, disk) => Ok(()),
        _ => Err(StoreError::Refused("the node has left the view".into())),
    };
    if let Err(error) = writer.finish_if(Box::new(member)).await {
        check_member(node)?;
        return Err(failed(error));
    }
    node.workers.migrate_now.notify_one();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;
    use crate::files::coordinator::Coordinator;
    use crate::testing::{Nodes, file, request};
    use chord_register::Condition;

    #[tokio::test]
    async fn an_owner_that_hangs_does_not_keep_the_memory_of_uploads() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        let node = &all.nodes[0];
        let chunk = node.args.chunk_size;
        let whole = node.upload_memory.free();
        // Room for one copy that is late.
        let late = node.straggler_memory.available_permits() as u32 - chunk;
        let _held = node.straggler_memory.acquire_many(late).await.unwrap();
        all.hang(2, true);
        all.put(0, "a", vec![1; 10 * chunk as usize]).await.unwrap();
        let kept = whole - node.upload_memory.free();
        assert!(kept <= chunk as usize, "{kept} bytes are kept");
        assert_eq!(
            node.next_debt(),
            Some(file("a")),
            "what is given up is owed"
        );
        all.hang(2, false);
    }

    #[tokio::test]
    async fn small_files_leave_the_reserve_too_and_a_full_disk_still_deletes() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        all.put(0, "old", "here before").await.unwrap();
        let mut full = all.fill(1);
        all.put(0, "two", vec![1; 20_000]).await.unwrap();
        let held = all.nodes[1].store.counts().unwrap();
        assert_eq!(held.registers, 1, "the full one takes no new file");
        full.extend(all.fill(2));
        let refused = all.put(0, "one", vec![1; 20_000]).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Full);
        let value = drive::read(&all.nodes[0], &file("one")).await.unwrap();
        assert!(value.is_none_or(|v| v.current.is_none()));
        let files = Coordinator {
            node: all.nodes[0].clone(),
        };
        let gone = files.delete(&file("old"), Condition::default()).await;
        gone.unwrap();
        drop(full);
        all.put(0, "one", vec![1; 20_000]).await.unwrap();
    }

    #[tokio::test]
    async fn deleting_what_is_not_there_leaves_nothing() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        let files = Coordinator {
            node: all.nodes[0].clone(),
        };
        let gone = files.delete(&file("never"), Condition::default()).await;
        assert_eq!(gone.unwrap_err().kind, Kind::NotFound);
        let any = Condition {
            if_match: Some(chord_register::Tags::Any),
            ..Condition::default()
        };
        let gone = files.delete(&file("never"), any).await;
        assert_eq!(gone.unwrap_err().kind, Kind::PreconditionFailed);
        for node in &all.nodes {
            let counts = node.store.counts().unwrap();
            assert_eq!((counts.promises, counts.registers), (0, 0));
        }
    }

    #[tokio::test]
    async fn a_node_outside_the_view_keeps_nothing_that_is_dropped_on_it() {
        let all = Nodes::start(3).await;
        assert!(all.drop_on(2, "early", b"x").await.is_err(), "no view yet");
        let view = all.form(1).await;
        let joint = view.change_to(all.table(1, &[0, 1])).unwrap();
        let done = joint.complete().unwrap();
        // It leaves while the body comes: what it says then must stay true.
        let node = all.nodes[2].clone();
        let body = futures::stream::once(async move {
            node.adopt(joint).await.unwrap();
            node.adopt(done).await.unwrap();
            assert!(node.report().inventory.is_empty());
            Ok(Bytes::from_static(b"x"))
        });
        let late = drop_here(&all.nodes[2], request("a", Some(1)), Box::pin(body)).await;
        assert_eq!(late.unwrap_err().kind, Kind::NoQuorum);
        assert!(all.drop_on(2, "late", b"x").await.is_err());
        assert!(all.nodes[2].report().inventory.is_empty());
        assert!(all.drop_on(1, "a", b"x").await.is_ok());
        assert_eq!(all.nodes[1].report().inventory.dropped, 1);
    }
}
