//! One disk: registers, chunks and dropped files.
//!
//! ```text
//! DIR/LOCK        held by the one process that has the disk open
//! DIR/meta.redb   identity, boot number, view, registers, promises, hints, indexes
//! DIR/chunks/     one file per chunk
//! DIR/dropped/    files kept by PUT /node/files
//! DIR/tmp/        writes in flight; emptied at start
//! DIR/ballast     room kept back, so that a full disk can still be opened
//! ```
//!
//! All metadata changes go through [`Store::transact`], in groups, and are on
//! the disk before it answers. Bytes are on the disk before the metadata that
//! speaks of them. What the disk gives back is checked before anybody gets it:
//! a damaged chunk is missing, a damaged record ends this disk's votes.

mod chunk;
mod dropped;
mod file;
mod meta;
mod open;
mod read;
mod records;
mod space;
mod sweep;
mod txn;
mod types;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use chord_types::report::Space;
use chord_types::{ChunkId, ClusterUid, DiskId, View};
use redb::{Database, ReadableDatabase};
use tokio::sync::{mpsc, oneshot};

pub use chunk::ChunkWriter;
pub use dropped::{DroppedBytes, DroppedWriter};
pub use read::ReadTxn;
pub use txn::Txn;
pub use types::*;

use space::SpaceBook;
use txn::Cached;
use writer::{Call, Manner, Message};

/// Chunks whose ids differ in this respect never wait for each other.
const TURNS: usize = 64;

/// Told when the process must end, with the reason.
pub type Fatal = Arc<dyn Fn(&StoreError) + Send + Sync>;

/// An open disk. Clones are the same disk; the last one closes it.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    /// Taken when the last handle goes, which ends the thread.
    queue: Option<mpsc::Sender<Message>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the handles and the writing thread have in common.
struct Shared {
    dir: PathBuf,
    disk: DiskId,
    boot: u64,
    durability: Durability,
    db: Database,
    /// The view and cluster of the last commit.
    published: RwLock<Cached>,
    space: Arc<SpaceBook>,
    /// Why nothing is taken any more.
    failure: Mutex<Option<StoreError>>,
    fatal: Fatal,
    /// Held by whoever places or removes a chunk.
    turns: [Mutex<()>; TURNS],
    tmp: AtomicU64,
    drops: AtomicU32,
    /// What the file system is made to look like in a test.
    #[cfg(test)]
    pretended_room: Mutex<Option<u64>>,
    /// A chunk whose bytes the disk cannot give back, in a test.
    #[cfg(test)]
    pretended_lost: Mutex<Option<ChunkId>>,
    /// Let go last, after the database.
    _lock: File,
}

impl Shared {
    fn failure(&self) -> Option<StoreError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// From now on everything is answered with this error.
    fn fail(&self, e: StoreError) {
        if let StoreError::Damaged(what) = &e {
            tracing::error!(
                "the disk in {} is damaged and does not vote any more: {what}",
                self.dir.display()
            );
        }
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(e);
    }

    /// What the disk holds is no longer known.
    fn die(&self, e: &StoreError) {
        self.fail(e.clone());
        (self.fatal)(e);
    }

    /// Remembers it if the disk turns out to be damaged.
    fn latch<R>(&self, result: Result<R, StoreError>) -> Result<R, StoreError> {
        if let Err(e @ StoreError::Damaged(_)) = &result {
            self.fail(e.clone());
        }
        result
    }

    fn cached(&self) -> Cached {
        self.published
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn publish(&self) -> RwLockWriteGuard<'_, Cached> {
        self.published
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The metadata as it stands; also of a disk that does not vote any more,
    /// since chunks are checked by themselves.
    fn snapshot(&self) -> Result<ReadTxn, StoreError> {
        if let Some(StoreError::Closed) = self.failure() {
            return Err(StoreError::Closed);
        }
        let published = self
            .published
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let rtx = self.db.begin_read().map_err(meta::storage)?;
        Ok(ReadTxn::new(rtx, published.view.clone()))
    }

    /// What the file system has left; a great deal if it does not say.
    fn room(&self) -> u64 {
        #[cfg(test)]
        if let Some(room) = *self.pretended_room.lock().unwrap() {
            return room;
        }
        self.space.device_free().unwrap_or(u64::MAX)
    }

    fn turn(&self, id: ChunkId) -> MutexGuard<'_, ()> {
        let at = usize::from(id.upload.as_bytes()[15]) + id.part as usize;
        self.turns[at % TURNS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tmp_path(&self) -> PathBuf {
        self.dir
            .join("tmp")
            .join(self.tmp.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

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
        let opened = open::open(
            &options,
            #[cfg(test)]
            None,
        )?;
        Store::start(options, opened, fatal)
    }

    fn start(options: Options, opened: open::Opened, fatal: Fatal) -> Result<Store, OpenError> {
        let io = |doing: &str| {
            let doing = format!("{doing} {}", options.dir.display());
            move |source| OpenError::Io { doing, source }
        };
        let space = SpaceBook::new(&options.dir, &opened.meta, options.capacity, opened.files)
            .map_err(io("asking for the space of"))?;
        let shared = Arc::new(Shared {
            disk: opened.disk,
            boot: opened.boot,
            durability: options.durability,
            db: opened.db,
            published: RwLock::new(opened.cached),
            space: Arc::new(space),
            failure: Mutex::new(None),
            fatal,
            turns: std::array::from_fn(|_| Mutex::new(())),
            tmp: AtomicU64::new(0),
            drops: AtomicU32::new(0),
            #[cfg(test)]
            pretended_room: Mutex::new(None),
            #[cfg(test)]
            pretended_lost: Mutex::new(None),
            _lock: opened.lock,
            dir: options.dir.clone(),
        });
        let (queue, messages) = mpsc::channel(writer::QUEUE);
        let writing = shared.clone();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer::run(&writing, messages))
            .map_err(io("starting the writer of"))?;
        Ok(Store(Arc::new(Handle {
            shared,
            queue: Some(queue),
            thread: Some(thread),
        })))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Who this disk is.
    pub fn disk(&self) -> DiskId {
        self.shared().disk
    }

    /// How often it has been opened; synced before anything else.
    pub fn boot(&self) -> u64 {
        self.shared().boot
    }

    /// Which cluster it belongs to, once that is known.
    pub fn cluster(&self) -> Option<ClusterUid> {
        self.shared().cached().cluster
    }

    /// The view on the disk, as of the last commit.
    pub fn view(&self) -> Option<Arc<View>> {
        self.shared().cached().view
    }

    /// Makes the metadata see so much room on the file system.
    #[cfg(test)]
    pub(crate) fn pretend_room(&self, room: Option<u64>) {
        *self.shared().pretended_room.lock().unwrap() = room;
    }

    /// Makes the disk unable to read one chunk.
    #[cfg(test)]
    pub(crate) fn pretend_lost(&self, chunk: Option<ChunkId>) {
        *self.shared().pretended_lost.lock().unwrap() = chunk;
    }

    /// Why the disk takes nothing any more: damaged, failed or closed.
    pub fn failure(&self) -> Option<StoreError> {
        self.shared().failure()
    }

    /// How many of each there are; kept, not counted.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let snapshot = self.shared().snapshot()?;
        self.shared().latch(snapshot.counts())
    }

    /// Room, for reports.
    pub fn space(&self) -> Space {
        self.shared().space.space()
    }

    /// Whether so many bytes would fit now.
    pub fn admit(&self, bytes: u64, tier: Tier) -> Result<(), StoreError> {
        self.shared().space.admit(bytes, tier)
    }

    /// Runs a closure on the metadata, after all that came before it, and answers
    /// when its writes are durable. If it gives up, nothing of it stays; once it
    /// has been handed over it runs even when nobody waits for it any more.
    pub async fn transact<R, F>(&self, f: F) -> Result<R, StoreError>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        self.submit(Manner::Grouped, f).await
    }

    /// The same in a database transaction of its own, which needs no memory for
    /// taking its writes back, and no more room than the tables that it changes
    /// take as a whole: for big changes, as of the view.
    pub async fn transact_alone<R, F>(&self, f: F) -> Result<R, StoreError>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        self.submit(Manner::Alone, f).await
    }

    /// The same for what gives room back, a little at a time: on a full disk too.
    pub async fn transact_freeing<R, F>(&self, f: F) -> Result<R, StoreError>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        self.submit(Manner::Frees, f).await
    }

    async fn submit<R, F>(&self, manner: Manner, f: F) -> Result<R, StoreError>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        let (job, answer) = Call::ask(f);
        self.queue()?
            .send(Message::Job { job, manner })
            .await
            .map_err(|_| self.ended())?;
        answer.await.map_err(|_| self.ended())?
    }

    /// The same on a thread that may block.
    fn submit_blocking<R, F>(&self, manner: Manner, f: F) -> Result<R, StoreError>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        let (job, answer) = Call::ask(f);
        self.queue()?
            .blocking_send(Message::Job { job, manner })
            .map_err(|_| self.ended())?;
        answer.blocking_recv().map_err(|_| self.ended())?
    }

    fn queue(&self) -> Result<&mpsc::Sender<Message>, StoreError> {
        self.0.queue.as_ref().ok_or(StoreError::Closed)
    }

    fn ended(&self) -> StoreError {
        self.failure().unwrap_or(StoreError::Closed)
    }

    /// Reads from a still picture of the metadata.
    pub async fn read<R, F>(&self, f: F) -> Result<R, StoreError>
    where
        F: FnOnce(&ReadTxn) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        if let Some(e) = self.failure() {
            return Err(e);
        }
        let shared = self.shared().clone();
        file::joined(tokio::task::spawn_blocking(move || {
            let snapshot = shared.snapshot()?;
            shared.latch(f(&snapshot))
        }))
        .await
    }

    /// Syncs what is outstanding and marks the disk as properly closed. Whatever
    /// comes after is answered `Closed`.
    pub async fn close(&self) -> Result<(), StoreError> {
        let (asker, answer) = oneshot::channel();
        self.queue()?
            .send(Message::Close(asker))
            .await
            .map_err(|_| self.ended())?;
        answer.await.map_err(|_| self.ended())?
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.queue.take());
        // A closure may own the last handle, and then this is the thread itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!(
                "the writer of the disk in {} panicked",
                self.shared.dir.display()
            );
        }
    }
}
