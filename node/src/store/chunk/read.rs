//! Reading and checking chunks.

use std::io::ErrorKind;
use std::ops::Range;

use bytes::Bytes;
use chord_types::ChunkId;
use chord_types::blocks::{BLOCK_BYTES, are_blocks};

use super::file::{Health, examine, path, read_hashes};
use super::settle::{Look, is_lost};
use crate::store::engine::handle::Store;
use crate::store::error::{ChunkError, StoreError, failed};
use crate::store::meta::table::T;
use crate::store::platform::{How, OpenFile};
use crate::store::records::chunks::{self, ChunkEntry};
use crate::store::types::{ChunkBlocks, ChunkMeta};

impl Store {
    /// Blocks of a chunk, checked against its root; of a damaged copy those that are
    /// right.
    pub async fn chunk_read(
        &self,
        id: ChunkId,
        blocks: Range<u32>,
    ) -> Result<ChunkBlocks, ChunkError> {
        let store = self.clone();
        self.blocking(move || {
            match store.read_settled(id, |entry| read(&store, entry, blocks.clone())) {
                Err(ChunkError::Missing) => store.read_remains(id, blocks),
                other => other,
            }
        })
        .await
    }

    /// A chunk that is on the disk: indexed, and its file there in full length.
    pub async fn chunk_has(&self, id: ChunkId) -> Result<Option<ChunkMeta>, StoreError> {
        Ok(self.chunks_have(vec![id]).await?.pop().flatten())
    }

    /// The same for many, in their order.
    pub async fn chunks_have(
        &self,
        ids: Vec<ChunkId>,
    ) -> Result<Vec<Option<ChunkMeta>>, StoreError> {
        let store = self.clone();
        self.blocking(move || ids.into_iter().map(|id| store.has(id)).collect())
            .await
    }

    /// Reads and checks every byte of a chunk. One that the disk cannot read is
    /// marked as missing, so that it is fetched again.
    pub async fn chunk_verify(&self, id: ChunkId) -> Result<ChunkMeta, ChunkError> {
        let store = self.clone();
        self.blocking(move || store.read_settled(id, |entry| verify(&store, entry)))
            .await
    }

    /// Whether something is left of a chunk that counts as missing.
    pub async fn chunk_remains(&self, id: ChunkId) -> Result<bool, StoreError> {
        let shared = self.shared().clone();
        self.blocking(move || {
            let at = path(&shared.dir, id);
            match shared.platform.files.stat(&at) {
                Ok(_) => Ok(true),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
                Err(e) => Err(failed("looking at", &at, e)),
            }
        })
        .await
    }

    /// Blocks of a copy that is damaged in others.
    fn read_remains(&self, id: ChunkId, blocks: Range<u32>) -> Result<ChunkBlocks, ChunkError> {
        let shared = self.shared();
        let snapshot = shared.snapshot()?;
        let entry = shared
            .latch(chunks::chunk(&snapshot, T::Missing, id))?
            .filter(|_| shared.platform.files.stat(&path(&shared.dir, id)).is_ok())
            .ok_or(ChunkError::Missing)?;
        match read(self, entry, blocks)? {
            Look::Good(blocks) => Ok(blocks),
            Look::Doubt => Err(ChunkError::Damaged(
                "these blocks of it are not right".into(),
            )),
        }
    }

    fn has(&self, id: ChunkId) -> Result<Option<ChunkMeta>, StoreError> {
        let Some(entry) = self.indexed(id)? else {
            return Ok(None);
        };
        let file = path(&self.shared().dir, id);
        match self.shared().platform.files.stat(&file) {
            Ok(found) if found.length == entry.length => Ok(Some(entry.meta)),
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("looking at", &file, e)),
            _ => match self.settle(id) {
                Ok(meta) => Ok(Some(meta)),
                Err(ChunkError::Store(e)) => Err(e),
                Err(_) => Ok(None),
            },
        }
    }
}

/// Opens a chunk's file; doubt where it is not as the index says.
fn open(store: &Store, entry: &ChunkEntry) -> Result<Look<Box<dyn OpenFile>>, ChunkError> {
    let at = path(&store.shared().dir, entry.meta.id);
    let file = match store.shared().platform.files.open(&at, How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Look::Doubt),
        Err(e) => return Err(failed("opening", &at, e).into()),
    };
    let length = file
        .stat()
        .map_err(|e| failed("looking at", &at, e))?
        .length;
    Ok(if length == entry.length {
        Look::Good(file)
    } else {
        Look::Doubt
    })
}

fn read(
    store: &Store,
    entry: ChunkEntry,
    blocks: Range<u32>,
) -> Result<Look<ChunkBlocks>, ChunkError> {
    let count = entry.meta.blocks();
    if blocks.end > count || blocks.start > blocks.end {
        return Err(ChunkError::OutOfRange(blocks.end.max(blocks.start)));
    }
    let Look::Good(file) = open(store, &entry)? else {
        return Ok(Look::Doubt);
    };
    let start = u64::from(blocks.start) * BLOCK_BYTES as u64;
    let end = (u64::from(blocks.end) * BLOCK_BYTES as u64).min(u64::from(entry.meta.size));
    let mut data = vec![0; end.saturating_sub(start) as usize];
    let found = read_hashes(&*file, &entry.meta)
        .and_then(|hashes| file.read_exact_at(&mut data, start).map(|()| hashes));
    let hashes = match found {
        Ok(Some(hashes)) => hashes,
        Ok(None) => return Ok(Look::Doubt),
        Err(e) => return in_doubt(store, &entry, e),
    };
    let wanted = &hashes[blocks.start as usize..blocks.end as usize];
    if !are_blocks(&data, wanted) {
        return Ok(Look::Doubt);
    }
    Ok(Look::Good(ChunkBlocks {
        meta: entry.meta,
        hashes,
        data: Bytes::from(data),
    }))
}

fn verify(store: &Store, entry: ChunkEntry) -> Result<Look<ChunkMeta>, ChunkError> {
    let Look::Good(file) = open(store, &entry)? else {
        return Ok(Look::Doubt);
    };
    match examine(&*file, &entry.meta, entry.length) {
        Ok(Health::Whole) => Ok(Look::Good(entry.meta)),
        Ok(Health::TailBroken | Health::PayloadBroken) => Ok(Look::Doubt),
        Err(e) => in_doubt(store, &entry, e),
    }
}

/// A file that gives nothing back is in doubt as one that gives something wrong.
fn in_doubt<R>(
    store: &Store,
    entry: &ChunkEntry,
    e: std::io::Error,
) -> Result<Look<R>, ChunkError> {
    if is_lost(&e) {
        return Ok(Look::Doubt);
    }
    let at = path(&store.shared().dir, entry.meta.id);
    Err(failed("reading", &at, e).into())
}
