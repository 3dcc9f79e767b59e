//! Fetching chunks from their holders: a whole chunk onto this disk, or a span of
//! blocks on its way to a client. What comes is verified here, end to end.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chord_types::blocks::BLOCK_BYTES;
use chord_types::manifest::PlacedChunk;
use chord_types::{DiskId, Ordinal};
use tokio::sync::Semaphore;

use super::{chunk_failed, finish_chunk};
use crate::node::{Current, Node};
use crate::peer::client::{PeerError, verify_blocks};
use crate::peer::wire::Refusal;
use crate::store::{ChunkError, ChunkMeta, StoreError, Tier};

/// Blocks that are fetched at a time: 1 MiB.
pub const SPAN_BLOCKS: u32 = (1 << 20) / BLOCK_BYTES as u32;

/// Chunks that are pulled onto this disk at a time.
static PULLS: Semaphore = Semaphore::const_new(4);

/// Why blocks cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Unread {
    /// For people.
    pub why: String,
    /// This process has no file descriptor for it: that says nothing about the copy.
    pub overloaded: bool,
}

impl From<String> for Unread {
    fn from(why: String) -> Unread {
        let overloaded = false;
        Unread { why, overloaded }
    }
}

/// Blocks of a chunk from one holder, verified; from this disk when it is ours.
pub async fn span(
    node: &Arc<Node>,
    chunk: &PlacedChunk,
    holder: (Ordinal, Option<DiskId>),
    blocks: Range<u32>,
) -> Result<Bytes, Unread> {
    if holder
        .1
        .map_or(holder.0 == node.ordinal, |disk| disk == node.disk())
    {
        let read = node
            .store
            .chunk_read(chunk.id, blocks)
            .await
            .map_err(|e| Unread {
                why: e.to_string(),
                overloaded: matches!(e, ChunkError::Store(StoreError::Overloaded(_))),
            })?;
        if read.meta.root != chunk.root {
            let why = "the chunk on this disk is not the one that the manifest names";
            return Err(why.to_string().into());
        }
        return Ok(read.data);
    }
    let hashes = (chunk.size as usize).div_ceil(BLOCK_BYTES);
    let raw = node
        .peers
        .get_blocks(holder.0, chunk.id, blocks.clone(), hashes)
        .await
        .map_err(|e| Unread {
            why: e.to_string(),
            overloaded: matches!(e, PeerError::Overloaded(..)),
        })?;
    verify_blocks(&raw, chunk.root, blocks)?;
    Ok(raw.data)
}

/// A holder as [`span`] asks it.
pub type Holder = (Ordinal, Option<DiskId>);

/// Blocks of a chunk from whoever gives them: all from one holder, else each from
/// one that has it right. Whoever fails falls back in the order. `noted` learns of
/// each failure.
pub async fn gather(
    node: &Arc<Node>,
    chunk: &PlacedChunk,
    holders: &mut [Holder],
    blocks: Range<u32>,
    noted: impl Fn(&Holder, &Unread),
) -> Result<Bytes, Unread> {
    let mut why = Unread::from("no node holds it".to_string());
    let singles = blocks.clone().map(|block| block..block + 1);
    let single = blocks.len() == 1;
    let mut parts = Vec::new();
    for (step, part) in std::iter::once(blocks).chain(singles).enumerate() {
        let mut found = None;
        for _ in 0..holders.len() {
            let Some(first) = holders.first().copied() else {
                break;
            };
            match span(node, chunk, first, part.clone()).await {
                Ok(data) => {
                    found = Some(data);
                    break;
                }
                Err(error) => {
                    noted(&first, &error);
                    let overloaded = why.overloaded || error.overloaded;
                    why = Unread {
                        overloaded,
                        ..error
                    };
                    holders.rotate_left(1);
                }
            }
        }
        match (step, found) {
            (0, Some(all)) => return Ok(all),
            (0, None) if single => return Err(why),
            (0, None) => {}
            (_, Some(one)) => parts.push(one),
            (_, None) => return Err(why),
        }
    }
    Ok(Bytes::from(parts.concat()))
}

/// Brings a chunk onto this disk, each part from whichever of `sources` has it
/// right. A damaged copy here is one of them.
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
    let others = sources.iter().filter(|source| **source != node.ordinal);
    let mut holders: Vec<Holder> = others.map(|source| (*source, None)).collect();
    holders.push((node.ordinal, Some(node.disk())));
    let blocks = meta.blocks();
    let mut writer = node
        .store
        .chunk_writer(meta, Tier::Moves)
        .map_err(chunk_failed)?;
    let mut from = 0;
    while from < blocks {
        let upto = (from + SPAN_BLOCKS).min(blocks);
        let data = gather(node, &chunk, &mut holders, from..upto, |_, _| {}).await;
        let data = data.map_err(|why| {
            Refusal::Failed(format!(
                "no member that answers has all of it ({why}); should it stay so, store the file again or delete it"
            ))
        })?;
        writer.write(data).await.map_err(chunk_failed)?;
        from = upto;
    }
    finish_chunk(node, current, writer).await
}
