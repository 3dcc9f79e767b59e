//! What the handles of a disk, its writing thread and its files have in common.
//!
//! The locks here are `parking_lot`'s and not tokio's: each is held for a few
//! instructions, or on a thread that may block, and nothing is awaited meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use chord_types::{ChunkId, DiskId};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockWriteGuard};
use redb::{Database, ReadableDatabase};

use super::space::SpaceBook;
use crate::store::error::{StoreError, failed};
use crate::store::meta::database::storage;
use crate::store::meta::snapshot::ReadTxn;
use crate::store::meta::txn::Cached;
use crate::store::platform::{OpenFile, Pending, Platform, start};
use crate::store::types::{DroppedId, Durability};

/// Chunks whose ids differ in this respect never wait for each other.
const TURNS: usize = 64;

/// Told when the process must end, with the reason.
pub type Fatal = Arc<dyn Fn(&StoreError) + Send + Sync>;

/// A disk that has been opened, and nobody uses yet.
pub(in crate::store) struct Opened {
    pub lock: Box<dyn OpenFile>,
    pub db: Database,
    pub disk: DiskId,
    pub boot: u64,
    pub cached: Cached,
    pub space: SpaceBook,
}

/// What everybody shares who works on one disk.
pub(in crate::store) struct Shared {
    pub dir: PathBuf,
    pub disk: DiskId,
    pub boot: u64,
    pub durability: Durability,
    pub db: Database,
    pub space: Arc<SpaceBook>,
    pub platform: Platform,
    /// The view and cluster of the last commit. Readers have it while they begin to
    /// read, the writer from before a commit that changes it until after.
    published: RwLock<Cached>,
    /// Why nothing is taken any more. Held to read or set it.
    failure: Mutex<Option<StoreError>>,
    fatal: Fatal,
    /// Held by whoever places or removes a chunk, on a thread that may block: across
    /// the work on its file and the commit that speaks of it.
    turns: [Mutex<()>; TURNS],
    tmp: AtomicU64,
    drops: AtomicU32,
    /// Let go last, after the database.
    _lock: Box<dyn OpenFile>,
}

impl Shared {
    pub(in crate::store) fn new(
        dir: PathBuf,
        durability: Durability,
        platform: Platform,
        opened: Opened,
        fatal: Fatal,
    ) -> Shared {
        Shared {
            dir,
            disk: opened.disk,
            boot: opened.boot,
            durability,
            db: opened.db,
            space: Arc::new(opened.space),
            platform,
            published: RwLock::new(opened.cached),
            failure: Mutex::new(None),
            fatal,
            turns: std::array::from_fn(|_| Mutex::new(())),
            tmp: AtomicU64::new(0),
            drops: AtomicU32::new(0),
            _lock: opened.lock,
        }
    }

    pub(in crate::store) fn failure(&self) -> Option<StoreError> {
        self.failure.lock().clone()
    }

    /// From now on everything is answered with this error.
    pub(in crate::store) fn fail(&self, e: StoreError) {
        if let StoreError::Damaged(what) = &e {
            tracing::error!(
                "the disk in {} is damaged and does not vote any more: {what}",
                self.dir.display()
            );
        }
        self.failure.lock().get_or_insert(e);
    }

    /// What the disk holds is no longer known.
    pub(in crate::store) fn die(&self, e: &StoreError) {
        self.fail(e.clone());
        (self.fatal)(e);
    }

    /// Remembers it if the disk turns out to be damaged.
    pub(in crate::store) fn latch<R>(
        &self,
        result: Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        if let Err(e @ StoreError::Damaged(_)) = &result {
            self.fail(e.clone());
        }
        result
    }

    pub(in crate::store) fn cached(&self) -> Cached {
        self.published.read().clone()
    }

    pub(in crate::store) fn publish(&self) -> RwLockWriteGuard<'_, Cached> {
        self.published.write()
    }

    /// The metadata as it stands; also of a disk that does not vote any more,
    /// since chunks are checked by themselves.
    pub(in crate::store) fn snapshot(&self) -> Result<ReadTxn, StoreError> {
        if let Some(StoreError::Closed) = self.failure() {
            return Err(StoreError::Closed);
        }
        let published = self.published.read();
        let rtx = self.db.begin_read().map_err(storage)?;
        Ok(ReadTxn::new(rtx, published.view.clone()))
    }

    /// The turn to place or remove a chunk.
    pub(in crate::store) fn turn(&self, id: ChunkId) -> MutexGuard<'_, ()> {
        let at = usize::from(id.upload.as_bytes()[15]) + id.part as usize;
        self.turns[at % TURNS].lock()
    }

    /// A path in `tmp/` that has not been used since the start.
    pub(in crate::store) fn tmp_path(&self) -> PathBuf {
        self.dir
            .join("tmp")
            .join(self.tmp.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Greater than every id before: boot numbers grow, and so does the counter.
    pub(in crate::store) fn next_dropped(&self) -> DroppedId {
        DroppedId(self.boot << 32 | u64::from(self.drops.fetch_add(1, Ordering::Relaxed)))
    }

    /// Makes a folder's entries durable, or ends the process: but for want of a file
    /// descriptor, for then nothing was tried yet.
    pub(in crate::store) fn sync_folder(&self, folder: &Path) -> Result<(), StoreError> {
        if self.durability == Durability::Relaxed {
            return Ok(());
        }
        self.platform.files.sync_folder(folder).map_err(|e| {
            let e = failed("syncing the folder", folder, e);
            if !matches!(e, StoreError::Overloaded(_)) {
                self.die(&e);
            }
            e
        })
    }

    /// Hands over work that may block.
    pub(in crate::store) fn start<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Pending<R> {
        start(&*self.platform.threads, work)
    }
}
