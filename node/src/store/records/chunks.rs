//! The index of chunks: which are here, of which files, and which are missing.

use std::ops::Bound;

use chord_types::{ChunkId, FileName};
use serde::{Deserialize, Serialize};

use super::page::collect;
use crate::store::error::StoreError;
use crate::store::meta::keys::{chunk_key, chunk_name_key, prefix_end, with_prefix};
use crate::store::meta::seal::{seal, unseal};
use crate::store::meta::snapshot::ReadTxn;
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::meta::txn::Txn;
use crate::store::types::{ChunkMeta, Page};

/// What stands in [`T::Chunks`] and [`T::Missing`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct ChunkEntry {
    pub meta: ChunkMeta,
    /// Bytes of its file.
    pub length: u64,
}

/// A chunk as the index has it.
pub(in crate::store) fn chunk(
    source: &impl Source,
    table: T,
    id: ChunkId,
) -> Result<Option<ChunkEntry>, StoreError> {
    source.record(table, &chunk_key(id))
}

/// Chunks in order of their ids.
pub(in crate::store) fn chunks(
    source: &impl Source,
    table: T,
    after: Option<ChunkId>,
    limit: usize,
) -> Result<Page<ChunkMeta, ChunkId>, StoreError> {
    let after = after.map(chunk_key);
    let start = after
        .as_ref()
        .map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
    let item = |key: &[u8], record: &[u8]| Ok((unseal::<ChunkEntry>(table, key, record)?.meta, 0));
    collect(
        source,
        table,
        &[(start, Bound::Unbounded)],
        limit,
        item,
        |m| m.id,
    )
}

/// Chunks in order of the names of their files; of one file, if a prefix says so.
pub(in crate::store) fn chunks_by_name(
    source: &impl Source,
    prefix: &[u8],
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Page<ChunkMeta, (FileName, ChunkId)>, StoreError> {
    let end = prefix_end(prefix);
    let range = with_prefix(prefix, after.as_deref(), end.as_deref());
    let item = |row: &[u8], _: &[u8]| {
        let at = row.len().saturating_sub(20);
        let entry: Option<ChunkEntry> = source.record(T::Chunks, &row[at..])?;
        let entry = entry.ok_or_else(|| {
            StoreError::Damaged("a chunk is indexed by name and not there".into())
        })?;
        Ok((entry.meta, 0))
    };
    collect(source, T::ChunkNames, &[range], limit, item, |m| {
        (m.name.clone(), m.id)
    })
}

impl ReadTxn {
    /// What is known of a chunk; the index alone, not its file.
    pub fn chunk(&self, id: ChunkId) -> Result<Option<ChunkMeta>, StoreError> {
        Ok(chunk(self, T::Chunks, id)?.map(|entry| entry.meta))
    }
}

impl Txn<'_> {
    /// What is known of a chunk; the index alone, not its file.
    pub fn chunk(&self, id: ChunkId) -> Result<Option<ChunkMeta>, StoreError> {
        Ok(chunk(self, T::Chunks, id)?.map(|entry| entry.meta))
    }

    /// Enters a chunk whose file is in its place.
    pub(in crate::store) fn put_chunk(&mut self, entry: &ChunkEntry) -> Result<(), StoreError> {
        let key = chunk_key(entry.meta.id);
        self.take(T::Missing, &key)?;
        self.put(T::Chunks, &key, &seal(T::Chunks, &key, entry)?)?;
        self.put(
            T::ChunkNames,
            &chunk_name_key(&entry.meta.name, entry.meta.id),
            &[],
        )
    }

    /// Enters a chunk of whose file only parts are right.
    pub(in crate::store) fn put_missing(&mut self, entry: &ChunkEntry) -> Result<(), StoreError> {
        let key = chunk_key(entry.meta.id);
        self.put(T::Missing, &key, &seal(T::Missing, &key, entry)?)
    }

    /// The chunk's file is gone or damaged.
    pub(in crate::store) fn lose_chunk(&mut self, id: ChunkId) -> Result<(), StoreError> {
        let key = chunk_key(id);
        let Some(entry) = chunk(self, T::Chunks, id)? else {
            return Ok(());
        };
        if let Some(record) = self.take(T::Chunks, &key)? {
            self.put(T::Missing, &key, &record)?;
        }
        self.take(T::ChunkNames, &chunk_name_key(&entry.meta.name, id))
            .map(drop)
    }

    /// Forgets a chunk; whether it was known.
    pub(in crate::store) fn remove_chunk(&mut self, id: ChunkId) -> Result<bool, StoreError> {
        self.lose_chunk(id)?;
        Ok(self.take(T::Missing, &chunk_key(id))?.is_some())
    }

    pub(in crate::store) fn commit_chunk(&mut self, id: ChunkId) -> Result<(), StoreError> {
        match chunk(self, T::Chunks, id)? {
            Some(mut entry) if !entry.meta.committed => {
                entry.meta.committed = true;
                self.put_chunk(&entry)
            }
            _ => Ok(()),
        }
    }
}
