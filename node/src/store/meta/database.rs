//! The database: redb on a file of the store's own file system.

use std::fmt::Debug;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use chord_api::host::Ballast;
use chord_api::host::ballast::{STEP, no_room};
use redb::{BackendError, Database, DatabaseError, StorageBackend};

use crate::store::error::{StoreError, Why};
use crate::store::platform::{FileSystem, How, OpenFile};

/// Pages that redb keeps in memory.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Opens the database, checking every page of it; makes one where there is none.
pub(in crate::store) fn open_database(
    files: &dyn FileSystem,
    path: &Path,
    ballast: &Arc<Ballast>,
) -> Result<Database, DatabaseError> {
    let file = files.open(path, How::Write);
    let backend = Backend {
        file: file.map_err(redb::StorageError::from)?,
        ballast: ballast.clone(),
    };
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(backend)
}

/// redb's file. Each call of redb is one call of the file system, as with a file that
/// redb opens itself. Only a write that finds no room differs: the ballast gives some and
/// the write is tried again, since redb takes nothing more after an error.
///
/// Of redb's locks it has the one over the whole file, which is all that a database
/// needs that one process opens. It is the lock that other programs with redb look for,
/// so that none of them opens the database beside us; our own are kept apart by the
/// lock of the data folder.
#[derive(Debug)]
struct Backend {
    file: Box<dyn OpenFile>,
    ballast: Arc<Ballast>,
}

impl Backend {
    /// Takes what the ballast has just given for the pages from here on, the ones to be
    /// written next: else whoever fills the disk gets what this write leaves of it.
    fn keep(&self, offset: u64) {
        if let Ok(found) = self.file.stat() {
            let upto = found.length.min(offset + STEP);
            // Where it cannot be taken, the write itself tells.
            let _ = self.file.allocate(offset, upto);
        }
    }
}

fn is_whole(start: Bound<u64>, end: Bound<u64>) -> bool {
    matches!(start, Bound::Unbounded | Bound::Included(0)) && end == Bound::Unbounded
}

impl StorageBackend for Backend {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.file.stat()?.length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.ballast.with(1, || self.file.set_len(len))
    }

    fn sync_data(&self) -> std::io::Result<()> {
        // Not tried again: what a failed sync has not written it may have given up, and
        // the next one says that all is well.
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let bytes = (data.len() as u64).max(STEP);
        let mut given = false;
        self.ballast.with(bytes, || {
            if std::mem::replace(&mut given, true) {
                self.keep(offset);
            }
            self.file.write_all_at(data, offset)
        })
    }

    fn close(&self) -> std::io::Result<()> {
        match self.file.unlock() {
            Err(error) if error.kind() != std::io::ErrorKind::Unsupported => Err(error),
            _ => Ok(()),
        }
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if is_whole(start, end) {
            // Where there are no locks redb goes on without.
            return self.file.try_lock().map_err(BackendError::Io);
        }
        Err(BackendError::Unsupported)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if is_whole(start, end) {
            return self.file.unlock().map_err(BackendError::Io);
        }
        Err(BackendError::Unsupported)
    }
}

/// What an error of the database means for us.
pub(in crate::store) fn storage(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) if no_room(&error) => {
            StoreError::Full(Why::new("writing meta.redb", error))
        }
        redb::Error::Io(error) => StoreError::Io(Why::new("reading or writing meta.redb", error)),
        error @ redb::Error::PreviousIo => {
            StoreError::Io(Why::new("reading or writing meta.redb", error))
        }
        redb::Error::DatabaseClosed => StoreError::Closed,
        other => StoreError::Damaged(Why::new("meta.redb", other)),
    }
}
