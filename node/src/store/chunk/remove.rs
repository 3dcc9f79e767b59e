//! Removing chunks.

use chord_types::ChunkId;

use super::file::path;
use crate::store::engine::handle::Store;
use crate::store::engine::writer::Manner;
use crate::store::error::StoreError;
use crate::store::files::tmp::remove;

impl Store {
    /// Deletes a chunk; whether anything of it was here.
    pub async fn chunk_remove(&self, id: ChunkId) -> Result<bool, StoreError> {
        let store = self.clone();
        self.blocking(move || {
            let shared = store.shared();
            if let Some(e) = shared.failure() {
                return Err(e);
            }
            let _turn = shared.turn(id);
            let file = remove(shared, &path(&shared.dir, id))?;
            let index =
                store.submit_blocking(Manner::Essential, move |txn| txn.remove_chunk(id))?;
            Ok(file || index)
        })
        .await
    }
}
