//! Opening a disk: the lock, who it is, and whether it can be trusted.

use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use chord_types::view::BadView;
use chord_types::{ClusterUid, DiskId, View};
use redb::Database;

use super::meta::{Source, T, is_full, open_database, storage};
use super::records::single;
use super::sweep::{self, Trust};
use super::txn::{Cached, Txn};
use super::types::{Durability, OpenError, Options, StoreError};

/// The format of the whole data folder.
const FORMAT: u32 = 1;

const FORMAT_KEY: &str = "format";
const DISK: &str = "disk";
const BOOT: &str = "boot";
pub(super) const CLUSTER: &str = "cluster";
pub(super) const VIEW: &str = "view";
/// There while the disk is open; says with which durability.
pub(super) const OPEN: &str = "open";

/// A database of at least so many bytes is made smaller at start...
const COMPACT_FROM: u64 = 16 * 1024 * 1024;
/// ...if less than this share of it in percent is in use.
const COMPACT_BELOW_PERCENT: u64 = 50;

/// Room that is kept back for opening a disk that is full.
pub(super) const BALLAST: u64 = 1024 * 1024;

/// A disk that has been opened.
pub(super) struct Opened {
    pub lock: File,
    pub db: Database,
    pub disk: DiskId,
    pub boot: u64,
    pub cached: Cached,
    /// What chunks and dropped files take.
    pub files: u64,
    pub meta: PathBuf,
}

fn io(doing: &str, path: &Path, dir: &Path, source: std::io::Error) -> OpenError {
    let doing = format!("{doing} {}", path.display());
    if is_full(&source) {
        return OpenError::Full {
            dir: dir.to_path_buf(),
            what: format!("{doing}: {source}"),
        };
    }
    OpenError::Io { doing, source }
}

/// What an error of the store means while the disk is being opened.
pub(super) fn at_open(dir: &Path, e: StoreError) -> OpenError {
    let dir = dir.to_path_buf();
    match e {
        StoreError::Full(what) => OpenError::Full { dir, what },
        StoreError::Damaged(what) => OpenError::Damaged { dir, what },
        other => OpenError::Io {
            doing: format!("opening the disk in {}", dir.display()),
            source: std::io::Error::other(other.to_string()),
        },
    }
}

/// Opens the disk, or makes one of an empty folder.
pub(super) fn open(
    options: &Options,
    #[cfg(test)] faults: Option<super::tests::Faults>,
) -> Result<Opened, OpenError> {
    let dir = options.dir.as_path();
    let lock = prepare(dir)?;
    let meta = dir.join("meta.redb");
    let opened = catch_unwind(AssertUnwindSafe(|| {
        open_database(
            &meta,
            #[cfg(test)]
            faults,
        )
    }));
    let damaged = |what: String| OpenError::Damaged {
        dir: dir.to_path_buf(),
        what,
    };
    let mut db = match opened {
        Ok(Ok(db)) => db,
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(e)))) => {
            return Err(match e.kind() {
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                    damaged(format!("meta.redb: {e}"))
                }
                _ => io("opening", &meta, dir, e),
            });
        }
        Ok(Err(redb::DatabaseError::DatabaseAlreadyOpen)) => {
            return Err(OpenError::Busy {
                dir: dir.to_path_buf(),
            });
        }
        Ok(Err(e)) => return Err(damaged(format!("meta.redb: {e}"))),
        Err(_) => return Err(damaged("meta.redb cannot be understood".into())),
    };
    compact(&mut db, &meta).map_err(|e| at_open(dir, e))?;
    let (disk, boot, cached, files) = identify(&db, options)?;
    for folder in [dir, dir.parent().unwrap_or(dir)] {
        // A relative folder of one part has an empty parent.
        if folder.as_os_str().is_empty() {
            continue;
        }
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| io("syncing", folder, dir, e))?;
    }
    Ok(Opened {
        lock,
        db,
        disk,
        boot,
        cached,
        files,
        meta,
    })
}

/// Makes the folders and takes the lock.
fn prepare(dir: &Path) -> Result<File, OpenError> {
    std::fs::create_dir_all(dir).map_err(|e| io("making the data folder", dir, dir, e))?;
    let path = dir.join("LOCK");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let lock = lock.map_err(|e| io("opening", &path, dir, e))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Busy {
                dir: dir.to_path_buf(),
            });
        }
        Err(TryLockError::Error(e)) => return Err(io("locking", &path, dir, e)),
    }
    for folder in ["chunks", "dropped", "tmp"] {
        let folder = dir.join(folder);
        std::fs::create_dir_all(&folder).map_err(|e| io("making the folder", &folder, dir, e))?;
    }
    ballast(dir).map_err(|e| io("keeping room in", dir, dir, e))?;
    Ok(lock)
}

/// Keeps a little room back while there is plenty, and gives it up when a disk is
/// full, whoever filled it: even to be opened the database has to write, and a
/// full disk should at least be read from and deleted from.
fn ballast(dir: &Path) -> std::io::Result<()> {
    let path = dir.join("ballast");
    let stat = rustix::fs::statvfs(dir)?;
    let free = stat.f_bavail * stat.f_frsize;
    if free < BALLAST {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
    }
    if free >= 4 * BALLAST && !path.exists() {
        let file = File::create(&path)?;
        // Where room cannot be taken like this there is none kept back.
        let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BALLAST);
    }
    Ok(())
}

/// Gives room back where most of the database is empty.
fn compact(db: &mut Database, meta: &Path) -> Result<(), StoreError> {
    let length = std::fs::metadata(meta).map(|m| m.len()).unwrap_or(0);
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

fn text(bytes: Vec<u8>, what: &str) -> Result<String, StoreError> {
    String::from_utf8(bytes).map_err(|_| StoreError::Damaged(format!("the {what} is not text")))
}

fn number(bytes: &[u8], what: &str) -> Result<u64, StoreError> {
    let bytes = <[u8; 8]>::try_from(bytes)
        .map_err(|_| StoreError::Damaged(format!("the {what} is not a number")))?;
    Ok(u64::from_le_bytes(bytes))
}

/// What a disk says of itself.
struct Identity {
    disk: DiskId,
    boot: u64,
    cached: Cached,
    /// It was `Relaxed` and has not been closed.
    unclean: bool,
}

/// Reads who the disk is, counts the boot, and repairs what a crash left: all in
/// one synced commit.
fn identify(db: &Database, options: &Options) -> Result<(DiskId, u64, Cached, u64), OpenError> {
    let dir = options.dir.as_path();
    let open = |e: StoreError| at_open(dir, e);
    let mut wtx = db.begin_write().map_err(|e| open(storage(e)))?;
    wtx.set_two_phase_commit(true);
    let mut txn = Txn::new(&wtx, Cached::default(), true).map_err(open)?;
    let known = read_identity(&txn, options)?;
    let trust = match &known {
        None => Trust::Adopt,
        Some(known) if known.unclean => Trust::Adopt,
        Some(_) => Trust::Index,
    };
    let mut identity = match known {
        Some(identity) if identity.unclean => {
            tracing::warn!(
                "disk {} was not closed and its writes were not synced: it is another disk from now on, without registers",
                identity.disk
            );
            forget(&mut txn).map_err(open)?;
            Identity {
                disk: DiskId::random(),
                cached: Cached {
                    view: None,
                    cluster: identity.cached.cluster,
                },
                ..identity
            }
        }
        Some(identity) => identity,
        None => Identity {
            disk: DiskId::random(),
            // Dropped files of before must stay older than those to come.
            boot: sweep::last_boot(dir)?,
            cached: Cached::default(),
            unclean: false,
        },
    };
    identity.boot += 1;
    if let (None, Some(cluster)) = (&identity.cached.cluster, &options.cluster) {
        identity.cached.cluster = Some(cluster.clone());
    }
    let mut put = |key: &str, value: &[u8]| txn.put_single(key, value).map_err(open);
    put(FORMAT_KEY, &u64::from(FORMAT).to_le_bytes())?;
    put(DISK, identity.disk.to_string().as_bytes())?;
    put(BOOT, &identity.boot.to_le_bytes())?;
    let durability = match options.durability {
        Durability::Durable => "durable",
        Durability::Relaxed => "relaxed",
    };
    put(OPEN, durability.as_bytes())?;
    if let Some(cluster) = &identity.cached.cluster {
        put(CLUSTER, cluster.0.as_bytes())?;
    }
    let files = sweep::sweep(dir, &mut txn, trust)?;
    drop(txn);
    wtx.commit().map_err(|e| open(storage(e)))?;
    Ok((identity.disk, identity.boot, identity.cached, files))
}

/// `None`: the disk is new.
fn read_identity(txn: &Txn<'_>, options: &Options) -> Result<Option<Identity>, OpenError> {
    let dir = options.dir.as_path();
    let open = |e: StoreError| at_open(dir, e);
    let newer = |found: u32, known: u32| OpenError::NewerFormat {
        dir: dir.to_path_buf(),
        found,
        known,
    };
    let damaged = |what: &str| OpenError::Damaged {
        dir: dir.to_path_buf(),
        what: what.into(),
    };
    let Some(format) = single(txn, FORMAT_KEY).map_err(open)? else {
        for table in T::ALL {
            if txn.len(table).map_err(open)? > 0 {
                return Err(damaged("it has contents and no identity"));
            }
        }
        return Ok(None);
    };
    let format = number(&format, "format").map_err(open)?;
    if format > u64::from(FORMAT) {
        return Err(newer(u32::try_from(format).unwrap_or(u32::MAX), FORMAT));
    }
    let disk = single(txn, DISK)
        .map_err(open)?
        .ok_or_else(|| damaged("its identity is gone"))?;
    let disk: DiskId = text(disk, "disk id")
        .map_err(open)?
        .parse()
        .map_err(|e: String| damaged(&e))?;
    let boot = single(txn, BOOT)
        .map_err(open)?
        .ok_or_else(|| damaged("its boot number is gone"))?;
    let boot = number(&boot, "boot number").map_err(open)?;
    let cluster = match single(txn, CLUSTER).map_err(open)? {
        Some(bytes) => Some(ClusterUid(text(bytes, "cluster").map_err(open)?)),
        None => None,
    };
    if let (Some(found), Some(wanted)) = (&cluster, &options.cluster)
        && found != wanted
    {
        return Err(OpenError::WrongCluster {
            dir: dir.to_path_buf(),
            found: found.clone(),
            wanted: wanted.clone(),
        });
    }
    let view = match single(txn, VIEW)
        .map_err(open)?
        .map(|bytes| View::decode(&bytes))
    {
        None => None,
        Some(Ok(view)) => Some(std::sync::Arc::new(view)),
        Some(Err(BadView::Format(found))) => return Err(newer(u32::from(found), FORMAT)),
        Some(Err(e)) => return Err(damaged(&e.to_string())),
    };
    let unclean = single(txn, OPEN).map_err(open)?.as_deref() == Some(b"relaxed");
    Ok(Some(Identity {
        disk,
        boot,
        cached: Cached { view, cluster },
        unclean,
    }))
}

/// Everything that votes.
fn forget(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    for table in [T::Registers, T::Keys, T::Promises, T::Hints, T::Bodies] {
        txn.clear(table)?;
    }
    txn.take_single(VIEW)
}
