//! Dropped files: listed, read, noted as offered, and removed.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, unfold};

use super::file::path;
use crate::store::engine::handle::Store;
use crate::store::engine::shared::Shared;
use crate::store::engine::writer::Manner;
use crate::store::error::{StoreError, failed};
use crate::store::files::tmp::remove;
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::platform::{How, OpenFile};
use crate::store::records::dropped;
use crate::store::types::{Dropped, DroppedId, Page};

/// Bytes read at a time.
const READ: usize = 256 * 1024;

/// A dropped file, piece by piece; the last piece is an error if the bytes are
/// not those that were kept.
pub type DroppedBytes = BoxStream<'static, Result<Bytes, StoreError>>;

impl Store {
    /// Dropped files, the oldest first.
    pub async fn dropped_list(
        &self,
        after: Option<DroppedId>,
        limit: usize,
    ) -> Result<Page<Dropped, DroppedId>, StoreError> {
        self.read(move |txn| dropped::dropped(txn, after, limit))
            .await
    }

    /// A dropped file and its bytes; `None`: there is none.
    pub async fn dropped_open(
        &self,
        id: DroppedId,
    ) -> Result<Option<(Dropped, DroppedBytes)>, StoreError> {
        let key = id.0.to_be_bytes();
        let Some(dropped) = self
            .read(move |txn| txn.record::<Dropped>(T::Dropped, &key))
            .await?
        else {
            return Ok(None);
        };
        let shared = self.shared().clone();
        let opening = self.blocking(move || {
            let at = path(&shared.dir, id);
            let file = shared.platform.files.open(&at, How::Read);
            file.map_err(|e| failed("opening the dropped file", &at, e))
        });
        let bytes = Reading {
            file: opening.await?,
            shared: self.shared().clone(),
            hash: blake3::Hasher::new(),
            at: 0,
            dropped: dropped.clone(),
        };
        Ok(Some((dropped, unfold(Some(bytes), Reading::next).boxed())))
    }

    /// Notes the version of its name before a dropped file is offered to its
    /// owners; on the disk when this returns.
    pub async fn dropped_observe(&self, id: DroppedId, version: u64) -> Result<(), StoreError> {
        self.submit(Manner::Essential, move |txn| {
            let key = id.0.to_be_bytes();
            let Some(mut dropped) = txn.record::<Dropped>(T::Dropped, &key)? else {
                let why = format!("there is no dropped file {id}");
                return Err(StoreError::Refused(why.into()));
            };
            dropped.observed = Some(version);
            txn.put_dropped(&dropped)
        })
        .await
    }

    /// Deletes a dropped file; whether it was there.
    pub async fn dropped_remove(&self, id: DroppedId) -> Result<bool, StoreError> {
        let store = self.clone();
        self.blocking(move || {
            if let Some(e) = store.shared().failure() {
                return Err(e);
            }
            let file = remove(store.shared(), &path(&store.shared().dir, id))?;
            let index =
                store.submit_blocking(Manner::Essential, move |txn| txn.remove_dropped(id))?;
            Ok(file || index)
        })
        .await
    }
}

/// A dropped file being read.
struct Reading {
    file: Box<dyn OpenFile>,
    shared: Arc<Shared>,
    hash: blake3::Hasher,
    at: u64,
    dropped: Dropped,
}

impl Reading {
    async fn next(state: Option<Reading>) -> Option<(Result<Bytes, StoreError>, Option<Reading>)> {
        let reading = state?;
        if reading.at == reading.dropped.size && reading.right() {
            return None;
        }
        let shared = reading.shared.clone();
        match shared.start(move || reading.step()).answer().await {
            Ok((bytes, reading)) => Some((Ok(bytes), Some(reading))),
            Err(e) => Some((Err(e), None)),
        }
    }

    fn right(&self) -> bool {
        *self.hash.finalize().as_bytes() == self.dropped.hash
    }

    fn step(mut self) -> Result<(Bytes, Reading), StoreError> {
        let Dropped { id, size, .. } = self.dropped;
        let now = (size - self.at).min(READ as u64) as usize;
        let mut bytes = vec![0; now];
        self.file
            .read_exact_at(&mut bytes, self.at)
            .map_err(|e| failed("reading the dropped file", &path(&self.shared.dir, id), e))?;
        self.hash.update(&bytes);
        self.at += now as u64;
        // The last piece goes out only if all of them were right.
        if self.at == size && !self.right() {
            let why = format!(
                "the dropped file {id} ({}) is damaged: its bytes do not match",
                self.dropped.name
            );
            return Err(StoreError::Io(why.into()));
        }
        Ok((bytes.into(), self))
    }
}
