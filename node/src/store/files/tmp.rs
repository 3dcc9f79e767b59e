//! Files that come into being whole or not at all.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::engine::shared::Shared;
use crate::store::engine::space::Reservation;
use crate::store::error::{StoreError, failed};
use crate::store::platform::{How, OpenFile};
use crate::store::types::Durability;

/// How much more room is set aside at a time for a file of unknown length.
const GROW: u64 = 1024 * 1024;

/// A file that is being written in `tmp/`, with the room that is set aside for
/// it. Dropped before it is placed, it is gone.
pub(in crate::store) struct TmpFile {
    shared: Arc<Shared>,
    path: PathBuf,
    file: Box<dyn OpenFile>,
    room: Reservation,
    written: u64,
    placed: bool,
}

impl TmpFile {
    pub(in crate::store) fn create(
        shared: Arc<Shared>,
        room: Reservation,
    ) -> Result<TmpFile, StoreError> {
        let path = shared.tmp_path();
        let file = shared.platform.files.open(&path, How::New);
        let file = file.map_err(|e| failed("creating", &path, e))?;
        let mut tmp = TmpFile {
            shared,
            path,
            file,
            room,
            written: 0,
            placed: false,
        };
        tmp.allocate()?;
        Ok(tmp)
    }

    /// Takes the room from the file system now, where it can do that, so that a
    /// full disk is found out before the bytes come.
    fn allocate(&mut self) -> Result<(), StoreError> {
        let bytes = self.room.bytes();
        if bytes == 0 {
            return Ok(());
        }
        match self.file.allocate(0, bytes) {
            Ok(()) => self.room.given(bytes),
            Err(e) if e.kind() == ErrorKind::Unsupported => {}
            Err(e) => return Err(failed("allocating", &self.path, e)),
        }
        Ok(())
    }

    /// Writes at the end; asks for more room where the file has outgrown it.
    pub(in crate::store) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let needed = self.written + bytes.len() as u64;
        if needed > self.room.bytes() {
            self.room.grow((needed - self.room.bytes()).max(GROW))?;
        }
        self.file
            .write_all_at(bytes, self.written)
            .map_err(|e| failed("writing", &self.path, e))?;
        self.written = needed;
        Ok(())
    }

    /// Makes the contents durable. Where that fails nobody knows what the disk
    /// holds, and the process ends.
    pub(in crate::store) fn sync(&self) -> Result<(), StoreError> {
        if self.shared.durability == Durability::Relaxed {
            return Ok(());
        }
        self.file.sync_data().map_err(|e| {
            let e = failed("syncing", &self.path, e);
            if !matches!(e, StoreError::Full(_)) {
                self.shared.die(&e);
            }
            e
        })
    }

    /// Moves it to its place, over what is there, and makes that durable.
    pub(in crate::store) fn place(mut self, to: &Path) -> Result<u64, StoreError> {
        // Room allocated beyond the end is given back.
        self.file
            .set_len(self.written)
            .map_err(|e| failed("cutting", &self.path, e))?;
        let files = &self.shared.platform.files;
        let before = files.stat(to).ok().map(|found| found.length);
        if let Err(e) = files.rename(&self.path, to) {
            let dir = to.parent().unwrap_or(&self.shared.dir);
            if e.kind() != ErrorKind::NotFound {
                return Err(failed("renaming", to, e));
            }
            files
                .make_folder(dir)
                .map_err(|e| failed("making the folder", dir, e))?;
            self.shared.sync_folder(dir.parent().unwrap_or(dir))?;
            files
                .rename(&self.path, to)
                .map_err(|e| failed("renaming", to, e))?;
        }
        self.placed = true;
        self.shared.space.placed(self.written, before);
        self.shared
            .sync_folder(to.parent().unwrap_or(&self.shared.dir))?;
        Ok(self.written)
    }

    pub(in crate::store) fn written(&self) -> u64 {
        self.written
    }
}

impl Drop for TmpFile {
    fn drop(&mut self) {
        if !self.placed
            && let Err(e) = self.shared.platform.files.remove(&self.path)
        {
            // It is emptied at the next start.
            tracing::warn!("removing {}: {e}", self.path.display());
        }
    }
}

/// A file for `tmp/` that is made when its first bytes come; its room is set aside
/// before.
pub(in crate::store) struct LateFile {
    shared: Arc<Shared>,
    room: Option<Reservation>,
    tmp: Option<TmpFile>,
}

impl LateFile {
    pub(in crate::store) fn new(shared: Arc<Shared>, room: Reservation) -> LateFile {
        LateFile {
            shared,
            room: Some(room),
            tmp: None,
        }
    }

    /// The file, which is made now if it was not yet.
    pub(in crate::store) fn open(&mut self) -> Result<&mut TmpFile, StoreError> {
        if let Some(room) = self.room.take() {
            self.tmp = Some(TmpFile::create(self.shared.clone(), room)?);
        }
        self.tmp.as_mut().ok_or_else(failed_before)
    }

    /// The file for its end, and to be placed.
    pub(in crate::store) fn opened(mut self) -> Result<TmpFile, StoreError> {
        self.open()?;
        self.tmp.ok_or_else(failed_before)
    }
}

/// What is answered to whoever goes on with a file after an error.
pub(in crate::store) fn failed_before() -> StoreError {
    StoreError::Refused("writing this file has failed before".into())
}

/// Deletes a file durably and gives its room back; whether it was there.
pub(in crate::store) fn remove(shared: &Shared, path: &Path) -> Result<bool, StoreError> {
    let files = &shared.platform.files;
    let length = match files.stat(path) {
        Ok(found) => found.length,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(failed("looking at", path, e)),
    };
    match files.remove(path) {
        Ok(()) => shared.space.removed(length),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(failed("deleting", path, e)),
    }
    match shared.sync_folder(path.parent().unwrap_or(&shared.dir)) {
        // It may come back after a crash, and is taken away by the next start then, for
        // nothing speaks of it any more.
        Ok(()) | Err(StoreError::Overloaded(_)) => Ok(true),
        Err(e) => Err(e),
    }
}
