//! The one thread that changes the metadata, in groups.
//!
//! What has queued up while the last group was being synced makes the next one:
//! one commit, one sync, many answers. Nobody is answered before the commit is
//! on the disk. If that fails the process ends: what the disk holds is no longer
//! known, and only opening it anew can tell.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::WriteTransaction;
use tokio::sync::{mpsc, oneshot};

use super::shared::Shared;
use crate::store::error::{StoreError, Why, failed};
use crate::store::meta::database::storage;
use crate::store::meta::txn::{Cached, Txn};
use crate::store::records::Single;
use crate::store::types::Durability;

/// Closures in one group.
const GROUP: usize = 256;
/// Closures that may wait.
pub(super) const QUEUE: usize = 1024;
/// With `Relaxed` durability every so many groups are synced all the same, so
/// that the space of what they wrote over can be used again.
const RELAXED_GROUPS: u32 = 64;
/// With less than this left on the file system closures run one by one, so that
/// one that needs much takes no other with it.
const LOW: u64 = 32 * 1024 * 1024;
/// What must be left beside what a group writes, since a write that fails within
/// the database ends the process.
const FLOOR: u64 = 128 * 1024;
/// What a record may take beside its own bytes: the page it lies in.
const PAGE: u64 = 4096;

/// What the thread is told.
pub(super) enum Message {
    Job {
        job: Box<dyn Job>,
        manner: Manner,
    },
    /// Sync everything and note that the disk was closed properly.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// How a closure wants to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Manner {
    Grouped,
    /// In a transaction of its own.
    Alone,
    /// What a full disk has to do too: votes, deletes, and what gives room back. It
    /// may use the ballast.
    Essential,
}

/// A closure, and somebody who waits for its answer.
pub(super) trait Job: Send {
    /// Runs it; whether its writes are to stay, or why the disk is damaged.
    fn run(&mut self, txn: &mut Txn<'_>) -> Verdict;
    /// Answers, after the commit.
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

/// What became of a closure.
pub(super) enum Verdict {
    Keep,
    TakeBack,
    Damaged(StoreError),
}

/// The only kind of [`Job`].
pub(super) struct Call<R, F> {
    f: Option<F>,
    result: Option<Result<R, StoreError>>,
    asker: oneshot::Sender<Result<R, StoreError>>,
}

impl<R, F> Call<R, F>
where
    F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    R: Send + 'static,
{
    /// The closure, and where its answer will come.
    pub(super) fn ask(f: F) -> (Box<dyn Job>, oneshot::Receiver<Result<R, StoreError>>) {
        let (asker, answer) = oneshot::channel();
        (
            Box::new(Call {
                f: Some(f),
                result: None,
                asker,
            }),
            answer,
        )
    }
}

impl<R, F> Job for Call<R, F>
where
    F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send,
    R: Send,
{
    fn run(&mut self, txn: &mut Txn<'_>) -> Verdict {
        let Some(f) = self.f.take() else {
            return Verdict::TakeBack;
        };
        let result = f(txn);
        let verdict = match &result {
            Ok(_) => Verdict::Keep,
            Err(e @ StoreError::Damaged(_)) => Verdict::Damaged(e.clone()),
            Err(_) => Verdict::TakeBack,
        };
        self.result = Some(result);
        verdict
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let result = match (self.result, commit) {
            // It gave up by itself: nothing of it would have been committed.
            (Some(Err(e)), _) => Err(e),
            (_, Err(e)) => Err(e),
            (Some(ok), Ok(())) => ok,
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Whoever asked may have gone away.
        let _ = self.asker.send(result);
    }
}

/// Why a group was not committed.
enum Failure {
    /// Nothing of it is on the disk, and the database goes on.
    Group(StoreError),
    /// The database cannot go on.
    Fatal(StoreError),
}

/// Changes the metadata of one disk.
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Message>,
    /// Taken from the queue and not yet looked at.
    next: Option<Message>,
    since_sync: u32,
    /// All handles are gone and the disk has been closed.
    ended: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, queue: mpsc::Receiver<Message>) -> Writer {
        Writer {
            shared,
            queue,
            next: None,
            since_sync: 0,
            ended: false,
        }
    }

    /// A thread's work, until every handle is dropped.
    pub(super) fn run(mut self) {
        while let Some(message) = self.next.take().or_else(|| self.queue.blocking_recv()) {
            self.take(message);
        }
        self.end();
    }

    /// Does what is queued now; the end too, once every handle is dropped.
    pub(super) fn drain(&mut self) {
        loop {
            match self.next.take().map_or_else(|| self.queue.try_recv(), Ok) {
                Ok(message) => self.take(message),
                Err(mpsc::error::TryRecvError::Empty) => return,
                Err(mpsc::error::TryRecvError::Disconnected) => return self.end(),
            }
        }
    }

    /// Does what it is told, and what else is queued that goes with it.
    fn take(&mut self, message: Message) {
        let (job, manner) = match message {
            Message::Close(asker) => {
                let result = self.close();
                self.shared.fail(StoreError::Closed);
                drop(asker.send(result));
                return;
            }
            Message::Job { job, manner } => (job, manner),
        };
        let mut group = vec![(job, manner)];
        let most = match manner {
            Manner::Alone => 1,
            _ if self.shared.space.free() < LOW => 1,
            _ => GROUP,
        };
        while group.len() < most {
            match self.queue.try_recv() {
                Ok(Message::Job { job, manner }) if manner != Manner::Alone => {
                    group.push((job, manner))
                }
                Ok(other) => {
                    self.next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        self.group(group);
    }

    fn end(&mut self) {
        if !self.ended
            && self.shared.failure().is_none()
            && let Err(e) = self.close()
        {
            tracing::error!("closing the disk in {}: {e}", self.shared.dir.display());
        }
        self.ended = true;
    }

    fn group(&mut self, jobs: Vec<(Box<dyn Job>, Manner)>) {
        let alone = jobs.iter().any(|(_, manner)| *manner == Manner::Alone);
        let essential = jobs.iter().all(|(_, manner)| *manner == Manner::Essential);
        let mut run = Vec::with_capacity(jobs.len());
        for (job, _) in jobs {
            match self.shared.failure() {
                Some(e) => job.answer(Err(e)),
                None => run.push(job),
            }
        }
        if run.is_empty() {
            return;
        }
        let outcome = match self.commit_group(&mut run, alone, essential) {
            Ok(()) => Ok(()),
            Err(Failure::Group(e)) => Err(e),
            Err(Failure::Fatal(e)) => {
                self.shared.die(&e);
                Err(e)
            }
        };
        for job in run {
            job.answer(outcome.clone());
        }
    }

    fn begin(&self) -> Result<WriteTransaction, Failure> {
        let mut wtx = self
            .shared
            .db
            .begin_write()
            .map_err(|e| Failure::Fatal(storage(e)))?;
        // A plain commit that was answered and then rotted would look like one
        // that was torn, and be dropped in silence when the disk is opened after
        // an unclean end. With two phases redb tells them apart.
        wtx.set_two_phase_commit(true);
        Ok(wtx)
    }

    /// Runs closures in one database transaction and commits what they have written.
    fn commit_group(
        &mut self,
        jobs: &mut [Box<dyn Job>],
        alone: bool,
        essential: bool,
    ) -> Result<(), Failure> {
        let wtx = self.begin()?;
        let before = self.shared.cached();
        let room = self.shared.space.room_for_commit(essential);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            run_jobs(&wtx, jobs, before.clone(), alone, room)
        }));
        let (after, written) = match ran {
            Ok(Ok(done)) => done,
            Ok(Err(e)) => {
                drop(wtx.abort());
                return Err(self.not_run(e));
            }
            Err(_) => {
                drop(wtx.abort());
                let why = "a transaction panicked; nothing of its group was written";
                return Err(Failure::Group(StoreError::Internal(why.into())));
            }
        };
        let full = written > 0 && room < written + FLOOR;
        if written == 0 || full {
            wtx.abort().map_err(|e| Failure::Fatal(storage(e)))?;
            let why = format!("{written} bytes are to be written, {room} may be written");
            return if full {
                Err(Failure::Group(StoreError::Full(why.into())))
            } else {
                Ok(())
            };
        }
        self.commit(wtx, &before, after)
    }

    /// What the error means that ended a group before its commit.
    fn not_run(&self, e: StoreError) -> Failure {
        match e {
            // Past an I/O error the database refuses everything.
            StoreError::Io(_) | StoreError::Full(_) => Failure::Fatal(e),
            e => {
                if let StoreError::Damaged(_) = e {
                    self.shared.fail(e.clone());
                }
                Failure::Group(e)
            }
        }
    }

    fn commit(
        &mut self,
        mut wtx: WriteTransaction,
        before: &Cached,
        after: Cached,
    ) -> Result<(), Failure> {
        let identity = !same(before, &after);
        if self.shared.durability == Durability::Relaxed
            && !identity
            && self.since_sync < RELAXED_GROUPS
        {
            self.since_sync += 1;
            wtx.set_durability(redb::Durability::None).map_err(|e| {
                Failure::Fatal(StoreError::Io(Why::new("committing without a sync", e)))
            })?;
        } else {
            self.since_sync = 0;
        }
        // Readers see the view and the tables of one and the same commit.
        let mut published = identity.then(|| self.shared.publish());
        let done = catch_unwind(AssertUnwindSafe(|| wtx.commit()));
        match done {
            Ok(Ok(())) => {
                if let Some(published) = &mut published {
                    **published = after;
                }
                Ok(())
            }
            Ok(Err(e)) => Err(Failure::Fatal(storage(e))),
            Err(_) => Err(Failure::Fatal(StoreError::Internal(
                "committing to meta.redb panicked".into(),
            ))),
        }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if let Some(e) = self.shared.failure() {
            return Err(e);
        }
        if self.shared.durability == Durability::Relaxed {
            // Chunks were not synced one by one.
            let dir = &self.shared.dir;
            let synced = self.shared.platform.files.sync_all(dir);
            synced.map_err(|e| failed("syncing the file system of", dir, e))?;
        }
        self.shared.space.room_for_close();
        let wtx = match self.begin() {
            Ok(wtx) => wtx,
            Err(Failure::Group(e) | Failure::Fatal(e)) => return Err(e),
        };
        Txn::new(&wtx, self.shared.cached(), true)?.take_single(Single::Open)?;
        wtx.commit().map_err(storage)
    }
}

fn same(a: &Cached, b: &Cached) -> bool {
    let views = match (&a.view, &b.view) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    };
    views && a.cluster == b.cluster
}

/// Runs closures one after the other; the cached values after them, and what
/// there is to commit, in bytes, about.
fn run_jobs(
    wtx: &WriteTransaction,
    jobs: &mut [Box<dyn Job>],
    cached: Cached,
    alone: bool,
    room: u64,
) -> Result<(Cached, u64), StoreError> {
    let mut txn = Txn::new(wtx, cached, alone)?;
    for job in jobs {
        match job.run(&mut txn) {
            Verdict::Keep => txn.keep(),
            // The caller aborts: there is nobody else in this transaction.
            Verdict::TakeBack if alone => return Ok((txn.cached().clone(), 0)),
            Verdict::TakeBack => txn.take_back(),
            Verdict::Damaged(e) => return Err(e),
        }
        if let Some(e) = txn.broken() {
            return Err(e);
        }
    }
    let (bytes, records) = txn.written();
    let mut needed = 2 * bytes + PAGE * records;
    if alone && room < needed + FLOOR {
        // Many records lie in one page, and no page is written twice.
        needed = needed.min(txn.changed_tables_bytes()?);
    }
    Ok((txn.cached().clone(), needed))
}
