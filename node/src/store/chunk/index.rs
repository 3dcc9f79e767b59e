//! What the index knows of chunks, in pages: of their files nothing is looked at.

use chord_types::{ChunkId, FileName};

use crate::store::engine::handle::Store;
use crate::store::error::StoreError;
use crate::store::meta::keys::{chunk_name_key, name_prefix};
use crate::store::meta::table::T;
use crate::store::records::chunks::{chunks, chunks_by_name};
use crate::store::types::{ChunkMeta, Page};

impl Store {
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
        self.read(move |txn| chunks(txn, T::Chunks, after, limit))
            .await
    }

    /// Chunks in byte order of the names of their files.
    pub async fn chunks_by_name(
        &self,
        after: Option<(FileName, ChunkId)>,
        limit: usize,
    ) -> Result<Page<ChunkMeta, (FileName, ChunkId)>, StoreError> {
        let after = after.map(|(name, id)| chunk_name_key(&name, id));
        self.read(move |txn| chunks_by_name(txn, b"", after.clone(), limit))
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
            chunks_by_name(txn, &name_prefix(&name), after, limit)
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
        self.read(move |txn| chunks(txn, T::Missing, after, limit))
            .await
    }
}
