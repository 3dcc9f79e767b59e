//! Fetching chunks from their holders: a whole chunk onto this disk, or a span of
//! blocks on its way to a client. What comes is verified here, end to end.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chord_types::blocks::{self, BLOCK_BYTES};
use chord_types::manifest::PlacedChunk;
use chord_types::{DiskId, Ordinal};

use crate::peer::{PeerError, Transport};
use crate::store::{ChunkError, Store, StoreError};
use crate::view::Identity;

/// Blocks that are fetched at a time: 1 MiB.
pub const SPAN_BLOCKS: u32 = (1 << 20) / BLOCK_BYTES as u32;

/// Who may have a chunk; where no disk is named, whichever runs under that name.
pub type Holder = (Ordinal, Option<DiskId>);

/// Why blocks of a chunk could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There was nobody to ask.
    #[error("no node holds it")]
    NoHolder,
    /// This disk cannot give them.
    #[error(transparent)]
    Disk(#[from] ChunkError),
    /// Another chunk lies here under that id.
    #[error("the chunk on this disk is not the one that the manifest names")]
    OtherChunk,
    /// Another node cannot give them.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// What it sent is not what the manifest names.
    #[error("node {0} sent what is not right")]
    Wrong(Ordinal, #[source] blocks::Mismatch),
}

impl FetchError {
    /// Whether this process had no file descriptor for it: that says nothing about the
    /// copy, and passes.
    pub fn is_overload(&self) -> bool {
        matches!(
            self,
            FetchError::Disk(ChunkError::Store(StoreError::Overloaded(_)))
                | FetchError::Peer(PeerError::Overloaded(..))
        )
    }
}

/// Fetches blocks, from this disk or from other nodes.
#[derive(Clone)]
pub struct Fetcher {
    me: Arc<Identity>,
    store: Store,
    peers: Arc<dyn Transport>,
}

impl Fetcher {
    /// Puts it together.
    pub fn new(me: Arc<Identity>, store: Store, peers: Arc<dyn Transport>) -> Fetcher {
        Fetcher { me, store, peers }
    }

    /// These nodes in their order, and this disk behind them.
    pub fn holders(&self, sources: &[Ordinal]) -> Vec<Holder> {
        let others = sources.iter().filter(|source| **source != self.me.ordinal);
        let mut holders: Vec<Holder> = others.map(|source| (*source, None)).collect();
        holders.push((self.me.ordinal, Some(self.me.disk)));
        holders
    }

    /// Blocks of a chunk from one holder, verified; from this disk when it is ours.
    async fn span(
        &self,
        chunk: &PlacedChunk,
        holder: Holder,
        range: Range<u32>,
    ) -> Result<Bytes, FetchError> {
        let (ordinal, disk) = holder;
        if disk.map_or(ordinal == self.me.ordinal, |disk| disk == self.me.disk) {
            let read = self.store.chunk_read(chunk.id, range).await?;
            if read.meta.root != chunk.root {
                return Err(FetchError::OtherChunk);
            }
            return Ok(read.data);
        }
        let hashes = (chunk.size as usize).div_ceil(BLOCK_BYTES);
        let asked = self
            .peers
            .get_blocks(ordinal, chunk.id, range.clone(), hashes);
        let raw = asked.await?;
        blocks::verify(chunk.root, &raw.hashes, range, &raw.data)
            .map_err(|why| FetchError::Wrong(ordinal, why))?;
        Ok(raw.data)
    }

    /// Blocks of a chunk from whoever gives them: all from one holder, else each from
    /// one that has it right. Whoever fails falls back in the order. `noted` learns of
    /// each failure.
    pub async fn gather(
        &self,
        chunk: &PlacedChunk,
        holders: &mut [Holder],
        blocks: Range<u32>,
        noted: impl Fn(&Holder, &FetchError),
    ) -> Result<Bytes, FetchError> {
        let mut why = FetchError::NoHolder;
        let singles = blocks.clone().map(|block| block..block + 1);
        let single = blocks.len() == 1;
        let mut parts = Vec::new();
        for (step, part) in std::iter::once(blocks).chain(singles).enumerate() {
            let mut found = None;
            for _ in 0..holders.len() {
                let Some(first) = holders.first().copied() else {
                    break;
                };
                match self.span(chunk, first, part.clone()).await {
                    Ok(data) => {
                        found = Some(data);
                        break;
                    }
                    Err(error) => {
                        noted(&first, &error);
                        // What passes is what the asker has to know.
                        if !why.is_overload() {
                            why = error;
                        }
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
}
