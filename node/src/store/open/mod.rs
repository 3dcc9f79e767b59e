//! Opening a disk: the lock, who it is, and whether it can be trusted.

mod identity;
mod sweep;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::Database;

use self::identity::{Identified, identify};
use super::engine::handle::Store;
use super::engine::shared::{Fatal, Opened, Shared};
use super::engine::space::{BALLAST, SpaceBook, ballast_path};
use super::error::{OpenError, StoreError, Why, failed};
use super::meta::database::{open_database, storage};
use super::platform::{FileSystem, How, OpenFile, Platform};
use super::types::Options;

/// A database of at least so many bytes is made smaller at start...
const COMPACT_FROM: u64 = 16 * 1024 * 1024;
/// ...if less than this share of it in percent is in use.
const COMPACT_BELOW_PERCENT: u64 = 50;

impl Store {
    /// Opens a disk, repairing what a crash has left. Blocks.
    pub fn open(options: Options) -> Result<Store, OpenError> {
        Store::open_with(
            options,
            Arc::new(|e| {
                tracing::error!(
                    "{e}; what the disk holds is no longer known, so this process ends"
                );
                std::process::abort();
            }),
        )
    }

    /// The same with another end than that of the process.
    pub fn open_with(options: Options, fatal: Fatal) -> Result<Store, OpenError> {
        Store::open_on(Platform::default(), options, fatal)
    }

    /// The same on another file system or other threads than this machine's.
    pub fn open_on(platform: Platform, options: Options, fatal: Fatal) -> Result<Store, OpenError> {
        let opened = open(&platform, &options)?;
        let Options {
            dir, durability, ..
        } = options;
        let started = Store::start(Shared::new(
            dir.clone(),
            durability,
            platform,
            opened,
            fatal,
        ));
        started.map_err(|e| OpenError::of(&dir, failed("starting the writer of", &dir, e)))
    }
}

/// Opens the disk, or makes one of an empty folder.
fn open(platform: &Platform, options: &Options) -> Result<Opened, OpenError> {
    let dir = options.dir.as_path();
    let files = &platform.files;
    let at_open = |e: StoreError| OpenError::of(dir, e);
    let lock = prepare(&**files, dir)?;
    let meta = dir.join("meta.redb");
    let mut db = database(&**files, dir, &meta)?;
    compact(&**files, &mut db, &meta).map_err(at_open)?;
    let Identified {
        disk,
        boot,
        cached,
        bytes,
    } = identify(&**files, &db, options)?;
    for folder in [dir, dir.parent().unwrap_or(dir)] {
        // A relative folder of one part has an empty parent.
        if folder.as_os_str().is_empty() {
            continue;
        }
        let synced = files.sync_folder(folder);
        synced.map_err(|e| at_open(failed("syncing", folder, e)))?;
    }
    let space = SpaceBook::new(files.clone(), dir, &meta, options.capacity, bytes)
        .map_err(|e| at_open(failed("asking for the space of", dir, e)))?;
    Ok(Opened {
        lock,
        db,
        disk,
        boot,
        cached,
        space,
    })
}

/// Opens the database; redb may panic on one that it cannot understand.
fn database(files: &dyn FileSystem, dir: &Path, meta: &Path) -> Result<Database, OpenError> {
    use redb::{DatabaseError, StorageError};
    let opened = catch_unwind(AssertUnwindSafe(|| open_database(files, meta)));
    let damaged = |why: Why| OpenError::Damaged {
        dir: dir.to_path_buf(),
        why,
    };
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(DatabaseError::Storage(StorageError::Io(e)))) => Err(match e.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => damaged(Why::new("meta.redb", e)),
            _ => OpenError::of(dir, failed("opening", meta, e)),
        }),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(OpenError::Busy {
            dir: dir.to_path_buf(),
        }),
        Ok(Err(e)) => Err(damaged(Why::new("meta.redb", e))),
        Err(_) => Err(damaged("meta.redb cannot be understood".into())),
    }
}

/// Makes the folders and takes the lock.
fn prepare(files: &dyn FileSystem, dir: &Path) -> Result<Box<dyn OpenFile>, OpenError> {
    let io = |doing: &str, path: &Path, e| OpenError::of(dir, failed(doing, path, e));
    files
        .make_folder(dir)
        .map_err(|e| io("making the data folder", dir, e))?;
    let path = dir.join("LOCK");
    let lock = files.open(&path, How::Write);
    let lock = lock.map_err(|e| io("opening", &path, e))?;
    match lock.try_lock() {
        Ok(true) => {}
        Ok(false) => {
            return Err(OpenError::Busy {
                dir: dir.to_path_buf(),
            });
        }
        Err(e) => return Err(io("locking", &path, e)),
    }
    for folder in ["chunks", "dropped", "tmp"] {
        let folder = dir.join(folder);
        files
            .make_folder(&folder)
            .map_err(|e| io("making the folder", &folder, e))?;
    }
    ballast(files, dir).map_err(|e| io("keeping room in", dir, e))?;
    Ok(lock)
}

/// Keeps a little room back while there is plenty, and gives it up when a disk is
/// full, whoever filled it: even to be opened the database has to write, and a
/// full disk should at least be read from and deleted from.
fn ballast(files: &dyn FileSystem, dir: &Path) -> std::io::Result<()> {
    let path = ballast_path(dir);
    let free = files.room(dir)?.free;
    if free < BALLAST {
        return match files.remove(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
    }
    if free >= 4 * BALLAST && files.stat(&path).is_err() {
        let file = files.open(&path, How::Write)?;
        // Where room cannot be taken like this there is none kept back.
        if file.allocate(BALLAST).is_ok() {
            file.set_len(BALLAST)?;
        }
    }
    Ok(())
}

/// Gives room back where most of the database is empty.
fn compact(files: &dyn FileSystem, db: &mut Database, meta: &Path) -> Result<(), StoreError> {
    let length = files.stat(meta).map_or(0, |found| found.length);
    if length < COMPACT_FROM {
        return Ok(());
    }
    let wtx = db.begin_write().map_err(storage)?;
    let stats = wtx.stats().map_err(storage)?;
    wtx.abort().map_err(storage)?;
    let used = stats.allocated_pages() * stats.page_size() as u64;
    if used < length / 100 * COMPACT_BELOW_PERCENT {
        tracing::info!("meta.redb uses {used} of its {length} bytes; making it smaller");
        db.compact().map_err(storage)?;
    }
    Ok(())
}
