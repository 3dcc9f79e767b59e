//! How a chunk comes into its place: written aside while it comes, compared with
//! what was announced, synced, renamed, and only then entered in the index.

use bytes::Bytes;
use chord_types::blocks::{BLOCK_BYTES, BlockHasher, Root};

use super::file::{path, trailer};
use crate::store::engine::handle::Store;
use crate::store::engine::writer::Manner;
use crate::store::error::{ChunkError, StoreError, failed};
use crate::store::files::pipe::{Pipe, Sink};
use crate::store::files::tmp::{LateFile, TmpFile, remove};
use crate::store::meta::table::T;
use crate::store::platform::OpenFile;
use crate::store::records::chunks::{self, ChunkEntry};
use crate::store::types::{ChunkMeta, MAX_CHUNK_BYTES, MayEnter, Tier};

/// Takes the bytes of one chunk. Dropped before its end it leaves nothing.
pub struct ChunkWriter {
    meta: ChunkMeta,
    received: u64,
    pipe: Pipe<Incoming>,
}

/// The blocking half of a writer.
struct Incoming {
    store: Store,
    meta: ChunkMeta,
    end: Vec<u8>,
    file: LateFile,
    blocks: BlockHasher,
}

impl Incoming {
    /// Writes what stands behind the payload, the hashes of its blocks and the trailer,
    /// and makes the whole durable.
    fn ended(self, hashes: &[[u8; 32]]) -> Result<TmpFile, StoreError> {
        let mut tmp = self.file.opened()?;
        tmp.append(hashes.as_flattened())?;
        tmp.append(&self.end)?;
        tmp.sync()?;
        Ok(tmp)
    }
}

impl Sink for Incoming {
    fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.open()?.append(bytes)?;
        self.blocks.update(bytes);
        Ok(())
    }
}

impl Store {
    /// Begins to write a chunk; its room is set aside until the end.
    pub fn chunk_writer(&self, meta: ChunkMeta, tier: Tier) -> Result<ChunkWriter, ChunkError> {
        if meta.size > MAX_CHUNK_BYTES {
            let why = format!(
                "a chunk has at most {MAX_CHUNK_BYTES} bytes, not {}",
                meta.size
            );
            return Err(ChunkError::Mismatch(why));
        }
        if let Some(e) = self.shared().failure() {
            return Err(e.into());
        }
        let sink = incoming(self, meta.clone(), tier)?;
        Ok(ChunkWriter {
            meta,
            received: 0,
            pipe: Pipe::new(self.shared().clone(), sink),
        })
    }
}

fn incoming(store: &Store, meta: ChunkMeta, tier: Tier) -> Result<Incoming, StoreError> {
    let end = trailer(&meta)?;
    let length = u64::from(meta.size) + 32 * u64::from(meta.blocks()) + end.len() as u64;
    let room = store.shared().space.reserve(length, tier)?;
    Ok(Incoming {
        store: store.clone(),
        meta,
        end,
        file: LateFile::new(store.shared().clone(), room),
        blocks: BlockHasher::default(),
    })
}

impl ChunkWriter {
    /// Takes the next bytes. After an error nothing but dropping it is left.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ChunkError> {
        self.received += bytes.len() as u64;
        if self.received > u64::from(self.meta.size) {
            self.pipe.fail();
            return Err(ChunkError::Mismatch(format!(
                "more than the {} bytes announced came",
                self.meta.size
            )));
        }
        Ok(self.pipe.write(bytes).await?)
    }

    /// Ends it, if it may still be entered. `Ok`: it is here, whole, and stays
    /// after a power failure; also if it was here before.
    pub async fn finish_if(self, may_enter: MayEnter) -> Result<(), ChunkError> {
        if self.received != u64::from(self.meta.size) {
            let why = format!(
                "{} bytes were announced, {} came",
                self.meta.size, self.received
            );
            return Err(ChunkError::Mismatch(why));
        }
        self.pipe
            .finish(move |incoming| finish(incoming, may_enter))
            .await
    }

    /// The same whatever the view says.
    #[cfg(test)]
    pub async fn finish(self) -> Result<(), ChunkError> {
        self.finish_if(Box::new(|_| Ok(()))).await
    }
}

/// The rest of the work, on a thread that may block.
fn finish(mut incoming: Incoming, may_enter: MayEnter) -> Result<(), ChunkError> {
    let meta = incoming.meta.clone();
    let hashes = std::mem::take(&mut incoming.blocks).finish();
    let root = Root::of_blocks(&hashes);
    if root != meta.root {
        return Err(ChunkError::Mismatch(format!(
            "its root is {root}, {} was announced",
            meta.root
        )));
    }
    let store = incoming.store.clone();
    let tmp = incoming.ended(&hashes)?;
    let _turn = store.shared().turn(meta.id);
    place(&store, tmp, meta, may_enter)
}

/// Puts a file that is written and synced into its place and into the index.
/// The caller has the turn for this chunk.
fn place(
    store: &Store,
    tmp: TmpFile,
    mut meta: ChunkMeta,
    may_enter: MayEnter,
) -> Result<(), ChunkError> {
    let shared = store.shared();
    let snapshot = shared.snapshot()?;
    let known = chunks::chunk(&snapshot, T::Chunks, meta.id)?;
    // The file of a damaged copy is about to be written over with a whole one.
    let remains = chunks::chunk(&snapshot, T::Missing, meta.id)?.is_some();
    if let Some(known) = &known {
        if (known.meta.root, known.meta.size) != (meta.root, meta.size) {
            return Err(ChunkError::Conflict);
        }
        meta.committed |= known.meta.committed;
    }
    let to = path(&shared.dir, meta.id);
    let id = meta.id;
    let length = tmp.place(&to)?;
    let entered = store.submit_blocking(Manner::Grouped, move |txn| {
        may_enter(txn.view().as_deref())?;
        txn.put_chunk(&ChunkEntry { meta, length })
    });
    if entered.is_err() && known.is_none() && !remains && shared.failure().is_none() {
        // Certainly not in the index, so it must not be on the disk either. What lies
        // in the place of remains stays as they did: they may have been the last.
        if let Err(e) = remove(shared, &to) {
            tracing::warn!("removing chunk {id}, which could not be indexed: {e}");
        }
    }
    Ok(entered?)
}

/// Writes a chunk's file anew from its own payload, whose tail has been damaged.
/// The caller has the turn for this chunk.
pub(super) fn rewrite(
    store: &Store,
    from: &dyn OpenFile,
    meta: &ChunkMeta,
) -> Result<(), ChunkError> {
    let mut incoming = incoming(store, meta.clone(), Tier::Internal)?;
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut at = 0;
    while at < u64::from(meta.size) {
        let now = (u64::from(meta.size) - at).min(buffer.len() as u64) as usize;
        let to = path(&store.shared().dir, meta.id);
        from.read_exact_at(&mut buffer[..now], at)
            .map_err(|e| ChunkError::from(failed("reading", &to, e)))?;
        incoming.take(&buffer[..now])?;
        at += now as u64;
    }
    let hashes = std::mem::take(&mut incoming.blocks).finish();
    if Root::of_blocks(&hashes) != meta.root {
        return Err(ChunkError::Damaged("it changed while it was read".into()));
    }
    let tmp = incoming.ended(&hashes)?;
    place(store, tmp, meta.clone(), Box::new(|_| Ok(())))
}
