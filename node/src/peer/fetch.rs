//! Fetching chunks from their holders: a whole chunk onto this disk, or a span of
//! blocks on its way to a client. What comes is verified here, end to end.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chord_api::manifest::{BLOCK_BYTES, PlacedChunk};
use chord_api::{DiskId, Ordinal};
use tokio::sync::Semaphore;

use super::client::verify_blocks;
use super::handle::{chunk_failed, finish_chunk};
use super::wire::Refusal;
use crate::node::{Current, Node};
use crate::store::{ChunkMeta, Tier};

/// Blocks that are fetched at a time: 1 MiB.
pub const SPAN_BLOCKS: u32 = (1 << 20) / BLOCK_BYTES as u32;

/// Chunks that are pulled onto this disk at a time.
static PULLS: Semaphore = Semaphore::const_new(4);

/// Blocks of a chunk from one holder, verified; from this disk when it is ours.
pub async fn span(
    node: &Arc<Node>,
    chunk: &PlacedChunk,
    holder: (Ordinal, Option<DiskId>),
    blocks: Range<u32>,
) -> Result<Bytes, String> {
    if holder
        .1
        .map_or(holder.0 == node.ordinal, |disk| disk == node.disk())
    {
        let read = node
            .store
            .chunk_read(chunk.id, blocks)
            .await
            .map_err(|e| e.to_string())?;
        if read.meta.root != chunk.root {
            return Err("the chunk on this disk is not the one that the manifest names".into());
        }
        return Ok(read.data);
    }
    let hashes = (chunk.size as usize).div_ceil(BLOCK_BYTES);
    let raw = node
        .peers
        .get_blocks(holder.0, chunk.id, blocks.clone(), hashes)
        .await
        .map_err(|e| e.to_string())?;
    verify_blocks(&raw, chunk.root, blocks)?;
    Ok(raw.data)
}

/// Brings a chunk onto this disk from the first of `sources` that has it whole.
pub async fn pull(
    node: &Arc<Node>,
    current: &Current,
    meta: ChunkMeta,
    sources: &[Ordinal],
) -> Result<(), Refusal> {
    let _turn = PULLS
        .acquire()
        .await
        .map_err(|_| Refusal::Failed("the node is stopping".into()))?;
    if node
        .store
        .chunk_has(meta.id)
        .await
        .is_ok_and(|has| has.is_some())
    {
        return Ok(());
    }
    let chunk = PlacedChunk {
        id: meta.id,
        key: meta.key,
        size: meta.size,
        root: meta.root,
    };
    let mut why = Refusal::Failed("no node was named that holds it".into());
    for source in sources.iter().filter(|source| **source != node.ordinal) {
        match pull_from(node, current, &meta, &chunk, *source).await {
            Ok(()) => return Ok(()),
            Err(refusal @ (Refusal::Full | Refusal::OtherView(_))) => return Err(refusal),
            Err(refusal) => why = refusal,
        }
    }
    Err(why)
}

async fn pull_from(
    node: &Arc<Node>,
    current: &Current,
    meta: &ChunkMeta,
    chunk: &PlacedChunk,
    source: Ordinal,
) -> Result<(), Refusal> {
    let mut writer = node
        .store
        .chunk_writer(meta.clone(), Tier::Moves)
        .map_err(chunk_failed)?;
    let mut from = 0;
    while from < meta.blocks() {
        let upto = (from + SPAN_BLOCKS).min(meta.blocks());
        let data = span(node, chunk, (source, None), from..upto)
            .await
            .map_err(|why| Refusal::Failed(format!("cannot fetch it from node {source}: {why}")))?;
        writer.write(data).await.map_err(chunk_failed)?;
        from = upto;
    }
    finish_chunk(node, current, writer).await
}
