//! How a dropped file comes into its place: written aside, synced, renamed, and only
//! then entered in the index.

use bytes::Bytes;
use chord_types::{FileName, Metadata};

use super::file::path;
use crate::store::engine::handle::Store;
use crate::store::engine::writer::Manner;
use crate::store::error::StoreError;
use crate::store::files::pipe::{Pipe, Sink};
use crate::store::files::tmp::{LateFile, remove};
use crate::store::files::trailer::seal_trailer;
use crate::store::types::{Dropped, DroppedId, MayEnter, Tier};

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
    file: LateFile,
    hash: blake3::Hasher,
}

impl Sink for Incoming {
    fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.open()?.append(bytes)?;
        self.hash.update(bytes);
        Ok(())
    }
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
            file: LateFile::new(self.shared().clone(), room),
            hash: blake3::Hasher::new(),
        };
        Ok(DroppedWriter {
            store: self.clone(),
            name,
            content_type,
            meta,
            length,
            pipe: Pipe::new(self.shared().clone(), sink),
        })
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
        pipe.finish(move |incoming: Incoming| {
            let mut tmp = incoming.file.opened()?;
            let size = tmp.written();
            if length.is_some_and(|length| length != size) {
                let why = format!("{} bytes were announced, {size} came", length.unwrap_or(0));
                return Err(StoreError::Refused(why.into()));
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
            tmp.append(&seal_trailer(&dropped)?)?;
            tmp.sync()?;
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
