//! Opening a disk: the lock, who it is, and whether it can be trusted.

mod identity;
mod sweep;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use chord_api::host::Ballast;
use chord_api::human;
use redb::Database;

use self::identity::{Identified, identify};
use super::engine::ballast;
use super::engine::handle::Store;
use super::engine::shared::{Fatal, Opened, Shared};
use super::engine::space::{SpaceBook, capacity};
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
    let meta = dir.join("meta.redb");
    let new = is_new(&**files, dir, &meta)?;
    let capacity = room_for_new(&**files, options, new)?;
    let lock = prepare(&**files, dir)?;
    // Who had the lock before may have made it since.
    let new = new && is_new(&**files, dir, &meta)?;
    let ballast = Arc::new(ballast::open(files, dir, capacity));
    if let Err(e) = ballast.fill() {
        return Err(at_open(failed("filling", &ballast::path(dir), e)));
    }
    if new {
        create(&**files, dir, &meta, &ballast)?;
    }
    let mut db = database(&**files, dir, &meta, &ballast)?;
    // To make it smaller takes some room for a while, and is not worth the ballast's.
    if ballast.is_whole() {
        compact(&**files, &mut db, &meta).map_err(at_open)?;
    }
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
    let limit = options.capacity;
    let space = SpaceBook::new(files.clone(), dir, &meta, limit, bytes, ballast)
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

/// Whether there is no database yet. That it cannot be told is not that there is none.
fn is_new(files: &dyn FileSystem, dir: &Path, meta: &Path) -> Result<bool, OpenError> {
    match files.stat(meta) {
        Ok(_) => Ok(false),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
        Err(e) => Err(OpenError::of(dir, failed("looking at", meta, e))),
    }
}

/// The capacity of the disk. Where it is a new one and there is no room for it, that is
/// said before anything is made.
fn room_for_new(files: &dyn FileSystem, options: &Options, new: bool) -> Result<u64, OpenError> {
    let dir = options.dir.as_path();
    let there = dir.ancestors().find(|folder| files.stat(folder).is_ok());
    // A relative folder of one part has an empty parent.
    let there = there.filter(|folder| !folder.as_os_str().is_empty());
    let there = there.unwrap_or(Path::new("."));
    let room = files.room(there).map_err(|e| {
        let error = failed("asking for the space of", there, e);
        OpenError::of(dir, error)
    })?;
    let capacity = capacity(options.capacity, room);
    let needed = ballast::new_disk(capacity);
    if new && room.free < needed {
        let why = format!(
            "a new disk needs {} there, and {} are free",
            human::size(needed),
            human::size(room.free)
        );
        return Err(OpenError::Full {
            dir: dir.to_path_buf(),
            why: why.into(),
        });
    }
    Ok(capacity)
}

/// Makes the database whole or not at all: one whose making was cut short could not be
/// told from a damaged one.
fn create(
    files: &dyn FileSystem,
    dir: &Path,
    meta: &Path,
    ballast: &Arc<Ballast>,
) -> Result<(), OpenError> {
    let draft = dir.join("tmp").join("meta.redb");
    let at_open = |doing: &str, e| OpenError::of(dir, failed(doing, &draft, e));
    match files.remove(&draft) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(at_open("deleting", e)),
        _ => {}
    }
    drop(database(files, dir, &draft, ballast)?);
    files
        .rename(&draft, meta)
        .map_err(|e| at_open("renaming", e))
}

/// Opens the database; redb may panic on one that it cannot understand.
fn database(
    files: &dyn FileSystem,
    dir: &Path,
    meta: &Path,
    ballast: &Arc<Ballast>,
) -> Result<Database, OpenError> {
    use redb::{DatabaseError, StorageError};
    let opened = catch_unwind(AssertUnwindSafe(|| open_database(files, meta, ballast)));
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
    Ok(lock)
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
