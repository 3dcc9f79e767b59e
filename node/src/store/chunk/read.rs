//! Reading, checking and removing chunks.
//!
//! A copy counts as missing only after a second look at all of it: one bad read is
//! no proof, and a payload whose tail alone is damaged is worth keeping. Its file
//! stays where it is all the same, and gives out the blocks that are right: they may
//! be the last. A whole copy takes its place, or the reaper takes it away.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use chord_types::blocks::BLOCK_BYTES;
use chord_types::{ChunkId, FileName};

use super::file::{Health, examine, path, read_hashes};
use super::write::rewrite;
use crate::store::Store;
use crate::store::file::{failed, joined, remove};
use crate::store::meta::{T, chunk_name_key, name_prefix};
use crate::store::records::{self, ChunkEntry};
use crate::store::types::{ChunkBlocks, ChunkError, ChunkMeta, Page, StoreError};
use crate::store::writer::Manner;

/// What a first look at a chunk gave.
enum Look<R> {
    Good(R),
    /// Something is not as it should be; take a second look.
    Doubt,
}

impl Store {
    /// Blocks of a chunk, checked against its root; of a damaged copy those that are
    /// right.
    pub async fn chunk_read(
        &self,
        id: ChunkId,
        blocks: Range<u32>,
    ) -> Result<ChunkBlocks, ChunkError> {
        let store = self.clone();
        joined(tokio::task::spawn_blocking(move || {
            match store.read_settled(id, |entry| read(&store, entry, blocks.clone())) {
                Err(ChunkError::Missing) => store.read_remains(id, blocks),
                other => other,
            }
        }))
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
        joined(tokio::task::spawn_blocking(move || {
            ids.into_iter().map(|id| store.has(id)).collect()
        }))
        .await
    }

    /// Reads and checks every byte of a chunk. One that the disk cannot read is
    /// marked as missing, so that it is fetched again.
    pub async fn chunk_verify(&self, id: ChunkId) -> Result<ChunkMeta, ChunkError> {
        let store = self.clone();
        joined(tokio::task::spawn_blocking(move || {
            store.read_settled(id, |entry| verify(&store, entry))
        }))
        .await
    }

    /// Deletes a chunk; whether anything of it was here.
    pub async fn chunk_remove(&self, id: ChunkId) -> Result<bool, StoreError> {
        let store = self.clone();
        joined(tokio::task::spawn_blocking(move || {
            let shared = store.shared();
            if let Some(e) = shared.failure() {
                return Err(e);
            }
            let _turn = shared.turn(id);
            let file = remove(shared, &path(&shared.dir, id))?;
            let index = store.submit_blocking(Manner::Frees, move |txn| txn.remove_chunk(id))?;
            Ok(file || index)
        }))
        .await
    }

    /// Notes that the uploads of these chunks were committed.
    pub async fn chunk_set_committed(&self, ids: Vec<ChunkId>) -> Result<(), StoreError> {
        self.transact(move |txn| ids.into_iter().try_for_each(|id| txn.commit_chunk(id)))
            .await
    }

    /// Chunks in order of their ids, as the index has them.
    pub async fn chunks_after(
        &self,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Result<Page<ChunkMeta, ChunkId>, StoreError> {
        self.read(move |txn| records::chunks(txn, T::Chunks, after, limit))
            .await
    }

    /// Chunks in byte order of the names of their files.
    pub async fn chunks_by_name(
        &self,
        after: Option<(FileName, ChunkId)>,
        limit: usize,
    ) -> Result<Page<ChunkMeta, (FileName, ChunkId)>, StoreError> {
        let after = after.map(|(name, id)| chunk_name_key(&name, id));
        self.read(move |txn| records::chunks_by_name(txn, b"", after.clone(), limit))
            .await
    }

    /// Chunks of one file, whatever their uploads.
    pub async fn chunks_of(
        &self,
        name: FileName,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Result<Page<ChunkMeta, ChunkId>, StoreError> {
        let page = self.read(move |txn| {
            let after = after.map(|id| chunk_name_key(&name, id));
            records::chunks_by_name(txn, &name_prefix(&name), after, limit)
        });
        let page = page.await?;
        Ok(Page {
            items: page.items,
            next: page.next.map(|(_, id)| id),
        })
    }

    /// Chunks that were here and are gone or damaged.
    pub async fn chunks_missing(
        &self,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Result<Page<ChunkMeta, ChunkId>, StoreError> {
        self.read(move |txn| records::chunks(txn, T::Missing, after, limit))
            .await
    }

    /// Whether something is left of a chunk that counts as missing.
    pub async fn chunk_remains(&self, id: ChunkId) -> Result<bool, StoreError> {
        let at = path(&self.shared().dir, id);
        joined(tokio::task::spawn_blocking(move || {
            at.try_exists().map_err(|e| failed("looking at", &at, &e))
        }))
        .await
    }

    /// Blocks of a copy that is damaged in others.
    fn read_remains(&self, id: ChunkId, blocks: Range<u32>) -> Result<ChunkBlocks, ChunkError> {
        let shared = self.shared();
        let snapshot = shared.snapshot()?;
        let entry = shared
            .latch(records::chunk(&snapshot, T::Missing, id))?
            .filter(|_| path(&shared.dir, id).exists())
            .ok_or(ChunkError::Missing)?;
        match read(self, entry, blocks)? {
            Look::Good(blocks) => Ok(blocks),
            Look::Doubt => Err(ChunkError::Damaged(
                "these blocks of it are not right".into(),
            )),
        }
    }

    fn indexed(&self, id: ChunkId) -> Result<Option<ChunkEntry>, StoreError> {
        let snapshot = self.shared().snapshot()?;
        self.shared()
            .latch(records::chunk(&snapshot, T::Chunks, id))
    }

    fn has(&self, id: ChunkId) -> Result<Option<ChunkMeta>, StoreError> {
        let Some(entry) = self.indexed(id)? else {
            return Ok(None);
        };
        let file = path(&self.shared().dir, id);
        match std::fs::metadata(&file) {
            Ok(found) if found.len() == entry.length => Ok(Some(entry.meta)),
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("looking at", &file, &e)),
            _ => match self.settle(id) {
                Ok(meta) => Ok(Some(meta)),
                Err(ChunkError::Store(e)) => Err(e),
                Err(_) => Ok(None),
            },
        }
    }

    /// Looks once; in doubt settles what the file is worth, and looks again.
    fn read_settled<R>(
        &self,
        id: ChunkId,
        look: impl Fn(ChunkEntry) -> Result<Look<R>, ChunkError>,
    ) -> Result<R, ChunkError> {
        for _ in 0..2 {
            let entry = self.indexed(id)?.ok_or(ChunkError::Missing)?;
            if let Look::Good(result) = look(entry)? {
                return Ok(result);
            }
            self.settle(id)?;
        }
        Err(StoreError::Io(format!("reading chunk {id} gave different bytes each time")).into())
    }

    /// Finds out what a chunk's file is worth, and acts on it: rewrites its tail, or
    /// marks the chunk as missing.
    fn settle(&self, id: ChunkId) -> Result<ChunkMeta, ChunkError> {
        let shared = self.shared();
        let _turn = shared.turn(id);
        let entry = self.indexed(id)?.ok_or(ChunkError::Missing)?;
        let at = path(&shared.dir, id);
        let file = match File::open(&at) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(failed("opening", &at, &e).into()),
        };
        let why = match &file {
            None => "its file is gone",
            Some(file) => {
                let health =
                    readable(self, id).and_then(|()| examine(file, &entry.meta, entry.length));
                match health {
                    Ok(Health::Whole) => return Ok(entry.meta),
                    Ok(Health::TailBroken) => {
                        tracing::warn!(
                            "the tail of chunk {id} is damaged; written anew from its payload"
                        );
                        rewrite(self, file, &entry.meta)?;
                        return Ok(entry.meta);
                    }
                    Ok(Health::PayloadBroken) => "its bytes are not those that were written",
                    Err(e) if is_lost(&e) => "the disk cannot read it",
                    Err(e) => return Err(failed("reading", &at, &e).into()),
                }
            }
        };
        tracing::error!("chunk {id} of {} counts as missing: {why}", entry.meta.name);
        self.submit_blocking(Manner::Frees, move |txn| txn.lose_chunk(id))?;
        if file.is_none() {
            shared.space.removed(entry.length);
            return Err(ChunkError::Missing);
        }
        Err(ChunkError::Damaged(why.into()))
    }
}

/// Opens a chunk's file; doubt where it is not as the index says.
fn open(store: &Store, entry: &ChunkEntry) -> Result<Look<File>, ChunkError> {
    let at = path(&store.shared().dir, entry.meta.id);
    let file = match File::open(&at) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Look::Doubt),
        Err(e) => return Err(failed("opening", &at, &e).into()),
    };
    let length = file
        .metadata()
        .map_err(|e| failed("looking at", &at, &e))?
        .len();
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
    let found = readable(store, entry.meta.id)
        .and_then(|()| read_hashes(&file, &entry.meta))
        .and_then(|hashes| file.read_exact_at(&mut data, start).map(|()| hashes));
    let hashes = match found {
        Ok(Some(hashes)) => hashes,
        Ok(None) => return Ok(Look::Doubt),
        Err(e) => return in_doubt(store, &entry, &e),
    };
    let wanted = &hashes[blocks.start as usize..blocks.end as usize];
    let right = data
        .chunks(BLOCK_BYTES)
        .zip(wanted)
        .all(|(block, hash)| blake3::hash(block).as_bytes() == hash);
    if !right {
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
    let health =
        readable(store, entry.meta.id).and_then(|()| examine(&file, &entry.meta, entry.length));
    match health {
        Ok(Health::Whole) => Ok(Look::Good(entry.meta)),
        Ok(Health::TailBroken | Health::PayloadBroken) => Ok(Look::Doubt),
        Err(e) => in_doubt(store, &entry, &e),
    }
}

/// A file that gives nothing back is in doubt as one that gives something wrong.
fn in_doubt<R>(
    store: &Store,
    entry: &ChunkEntry,
    e: &std::io::Error,
) -> Result<Look<R>, ChunkError> {
    if is_lost(e) {
        return Ok(Look::Doubt);
    }
    let at = path(&store.shared().dir, entry.meta.id);
    Err(failed("reading", &at, e).into())
}

/// Whether the disk says that it has lost what lay there. Other errors, too many open
/// files for one, say nothing about the bytes.
fn is_lost(e: &std::io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(e),
        Some(Errno::IO | Errno::BADMSG | LOST_STRUCTURE)
    )
}

/// What file systems of Linux say where they find their own structures damaged.
#[cfg(target_os = "linux")]
const LOST_STRUCTURE: rustix::io::Errno = rustix::io::Errno::UCLEAN;
#[cfg(not(target_os = "linux"))]
const LOST_STRUCTURE: rustix::io::Errno = rustix::io::Errno::IO;

/// The error that a test gives to a chunk's file.
#[cfg(test)]
fn readable(store: &Store, id: ChunkId) -> std::io::Result<()> {
    match *store.shared().pretended_lost.lock().unwrap() == Some(id) {
        true => Err(rustix::io::Errno::IO.into()),
        false => Ok(()),
    }
}

#[cfg(not(test))]
fn readable(_: &Store, _: ChunkId) -> std::io::Result<()> {
    Ok(())
}
