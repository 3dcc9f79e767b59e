//! Files kept on this node whoever owns them, until their owners have them.
//!
//! Of each there may be no other copy, so nothing here deletes one but
//! [`Store::dropped_remove`]: a file that does not read as it should stays.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chord_types::{FileName, Metadata};
use futures::stream::{BoxStream, StreamExt, unfold};

use super::Store;
use super::chunk::file::{read_trailer, seal_trailer};
use super::file::{Pipe, Sink, TmpFile, failed, joined, remove};
use super::meta::{Source, T};
use super::records;
use super::space::Reservation;
use super::types::{Dropped, DroppedId, MayEnter, Page, StoreError, Tier};
use super::writer::Manner;

/// Bytes read at a time.
const READ: usize = 256 * 1024;

/// A dropped file, piece by piece; the last piece is an error if the bytes are
/// not those that were kept.
pub type DroppedBytes = BoxStream<'static, Result<Bytes, StoreError>>;

/// Takes the bytes of one dropped file. Dropped before its end it leaves nothing.
pub struct DroppedWriter {
    store: Store,
    name: FileName,
    content_type: Option<String>,
    meta: Metadata,
    length: Option<u64>,
    pipe: Pipe<Incoming>,
}

struct Incoming {
    store: Store,
    room: Option<Reservation>,
    tmp: Option<TmpFile>,
    hash: blake3::Hasher,
}

impl Incoming {
    fn tmp(&mut self) -> Result<&mut TmpFile, StoreError> {
        if let Some(room) = self.room.take() {
            self.tmp = Some(TmpFile::create(self.store.shared().clone(), room)?);
        }
        self.tmp
            .as_mut()
            .ok_or_else(|| StoreError::Refused("writing this file has failed before".into()))
    }
}

impl Sink for Incoming {
    fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.tmp()?.append(bytes)?;
        self.hash.update(bytes);
        Ok(())
    }
}

/// Where a dropped file lies.
pub(super) fn path(dir: &Path, id: DroppedId) -> PathBuf {
    dir.join("dropped").join(id.to_string())
}

/// The dropped file that a file's name speaks of.
pub(super) fn id_of(file_name: &str) -> Option<DroppedId> {
    let id = DroppedId(u64::from_str_radix(file_name, 16).ok()?);
    (id.to_string() == file_name).then_some(id)
}

/// What a dropped file says of itself.
pub(super) fn describe(file: &File, length: u64) -> std::io::Result<Option<Dropped>> {
    let found = read_trailer::<Dropped>(file, length)?;
    Ok(found
        .filter(|(start, dropped)| *start == dropped.size)
        .map(|(_, dropped)| dropped))
}

impl Store {
    /// Begins to keep a file; with a length its room is set aside at once.
    pub fn dropped_writer(
        &self,
        name: FileName,
        content_type: Option<String>,
        meta: Metadata,
        length: Option<u64>,
    ) -> Result<DroppedWriter, StoreError> {
        if let Some(e) = self.shared().failure() {
            return Err(e);
        }
        let room = self
            .shared()
            .space
            .reserve(length.unwrap_or(0), Tier::Clients)?;
        let sink = Incoming {
            store: self.clone(),
            room: Some(room),
            tmp: None,
            hash: blake3::Hasher::new(),
        };
        Ok(DroppedWriter {
            store: self.clone(),
            name,
            content_type,
            meta,
            length,
            pipe: Pipe::new(sink),
        })
    }

    /// Dropped files, the oldest first.
    pub async fn dropped_list(
        &self,
        after: Option<DroppedId>,
        limit: usize,
    ) -> Result<Page<Dropped, DroppedId>, StoreError> {
        self.read(move |txn| records::dropped(txn, after, limit))
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
        let at = path(&self.shared().dir, id);
        let file = joined(tokio::task::spawn_blocking(move || {
            File::open(&at).map_err(|e| failed("opening the dropped file", &at, &e))
        }));
        let bytes = Reading {
            file: file.await?,
            hash: blake3::Hasher::new(),
            at: 0,
            dropped: dropped.clone(),
        };
        Ok(Some((dropped, unfold(Some(bytes), Reading::next).boxed())))
    }

    /// Notes the version of its name before a dropped file is offered to its
    /// owners; on the disk when this returns.
    pub async fn dropped_observe(&self, id: DroppedId, version: u64) -> Result<(), StoreError> {
        self.submit(Manner::Frees, move |txn| {
            let key = id.0.to_be_bytes();
            let Some(mut dropped) = txn.record::<Dropped>(T::Dropped, &key)? else {
                return Err(StoreError::Refused(format!(
                    "there is no dropped file {id}"
                )));
            };
            dropped.observed = Some(version);
            txn.put_dropped(&dropped)
        })
        .await
    }

    /// Deletes a dropped file; whether it was there.
    pub async fn dropped_remove(&self, id: DroppedId) -> Result<bool, StoreError> {
        let store = self.clone();
        joined(tokio::task::spawn_blocking(move || {
            if let Some(e) = store.shared().failure() {
                return Err(e);
            }
            let file = remove(store.shared(), &path(&store.shared().dir, id))?;
            let index = store.submit_blocking(Manner::Frees, move |txn| txn.remove_dropped(id))?;
            Ok(file || index)
        }))
        .await
    }
}

impl DroppedWriter {
    /// Takes the next bytes. After an error nothing but dropping it is left.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.pipe.write(bytes).await
    }

    /// Ends it, if it may still be entered. `Ok`: it is here, and stays after a
    /// power failure.
    pub async fn finish_if(self, may_enter: MayEnter) -> Result<DroppedId, StoreError> {
        let DroppedWriter {
            store,
            name,
            content_type,
            meta,
            length,
            pipe,
        } = self;
        pipe.finish(move |mut incoming: Incoming| {
            let size = incoming.tmp()?.written();
            if length.is_some_and(|length| length != size) {
                let why = format!("{} bytes were announced, {size} came", length.unwrap_or(0));
                return Err(StoreError::Refused(why));
            }
            let id = store.shared().next_dropped();
            let dropped = Dropped {
                id,
                name,
                size,
                content_type,
                meta,
                hash: *incoming.hash.finalize().as_bytes(),
                observed: None,
            };
            incoming.tmp()?.append(&seal_trailer(&dropped)?)?;
            incoming.tmp()?.sync()?;
            let Some(tmp) = incoming.tmp else {
                return Err(StoreError::Refused(
                    "writing this file has failed before".into(),
                ));
            };
            let to = path(&store.shared().dir, id);
            tmp.place(&to)?;
            let entered = store.submit_blocking(Manner::Grouped, move |txn| {
                may_enter(txn.view().as_deref())?;
                txn.put_dropped(&dropped)
            });
            if entered.is_err()
                && store.shared().failure().is_none()
                && let Err(e) = remove(store.shared(), &to)
            {
                tracing::warn!("removing the dropped file {id}, which could not be indexed: {e}");
            }
            entered.map(|()| id)
        })
        .await
    }

    /// The same whatever the view says.
    #[cfg(test)]
    pub async fn finish(self) -> Result<DroppedId, StoreError> {
        self.finish_if(Box::new(|_| Ok(()))).await
    }
}

impl super::Shared {
    /// Greater than every id before: boot numbers grow, and so does the counter.
    fn next_dropped(&self) -> DroppedId {
        DroppedId(self.boot << 32 | u64::from(self.drops.fetch_add(1, Ordering::Relaxed)))
    }
}

/// A dropped file being read.
struct Reading {
    file: File,
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
        match joined(tokio::task::spawn_blocking(move || reading.step())).await {
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
            .map_err(|e| StoreError::Io(format!("reading the dropped file {id}: {e}")))?;
        self.hash.update(&bytes);
        self.at += now as u64;
        // The last piece goes out only if all of them were right.
        if self.at == size && !self.right() {
            let why = format!(
                "the dropped file {id} ({}) is damaged: its bytes do not match",
                self.dropped.name
            );
            return Err(StoreError::Io(why));
        }
        Ok((bytes.into(), self))
    }
}
