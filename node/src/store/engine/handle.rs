//! The handle of an open disk: transactions, reads, and its end.

use std::sync::Arc;
use std::thread::JoinHandle;

use chord_types::report::Space;
use chord_types::{ClusterUid, DiskId, View};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::shared::Shared;
use super::writer::{Call, Manner, Message, QUEUE, Writer};
use crate::store::error::StoreError;
use crate::store::meta::snapshot::ReadTxn;
use crate::store::meta::source::Source;
use crate::store::meta::txn::Txn;
use crate::store::types::{Counts, Tier};

/// An open disk. Clones are the same disk; the last one closes it.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    /// Taken when the last handle goes, which ends the writer.
    queue: Option<mpsc::Sender<Message>>,
    writing: Writing,
}

/// Who does the writer's work.
struct Writing {
    /// The writer, until its thread has taken it. Where there is no thread it is held
    /// by whoever does its work: not tokio's lock, for nothing is awaited meanwhile.
    writer: Arc<Mutex<Option<Writer>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writing {
    /// Does what is queued, where there is no thread for it.
    fn help(&self) {
        if self.thread.is_none()
            && let Some(writer) = &mut *self.writer.lock()
        {
            writer.drain();
        }
    }
}

impl Handle {
    fn queue(&self) -> Result<&mpsc::Sender<Message>, StoreError> {
        self.queue.as_ref().ok_or(StoreError::Closed)
    }

    fn ended(&self) -> StoreError {
        self.shared.failure().unwrap_or(StoreError::Closed)
    }

    /// Sends to the writer and waits for the answer.
    async fn ask<R>(
        &self,
        message: Message,
        answer: oneshot::Receiver<Result<R, StoreError>>,
    ) -> Result<R, StoreError> {
        let sent = self.queue()?.send(message).await;
        sent.map_err(|_| self.ended())?;
        if self.writing.thread.is_none() {
            // Whoever else is about to ask comes into the same group.
            tokio::task::yield_now().await;
            self.writing.help();
        }
        answer.await.map_err(|_| self.ended())?
    }

    /// The same on a thread that may block.
    fn ask_blocking<R>(
        &self,
        message: Message,
        mut answer: oneshot::Receiver<Result<R, StoreError>>,
    ) -> Result<R, StoreError> {
        if self.writing.thread.is_some() {
            let sent = self.queue()?.blocking_send(message);
            sent.map_err(|_| self.ended())?;
            return answer.blocking_recv().map_err(|_| self.ended())?;
        }
        // First what is queued, so that there is room.
        self.writing.help();
        self.queue()?.try_send(message).map_err(|_| self.ended())?;
        self.writing.help();
        answer.try_recv().map_err(|_| self.ended())?
    }
}

impl Store {
    /// Starts the writer of a disk that has been opened.
    pub(in crate::store) fn start(shared: Shared) -> std::io::Result<Store> {
        let shared = Arc::new(shared);
        let (queue, messages) = mpsc::channel(QUEUE);
        let writer = Writer::new(shared.clone(), messages);
        let writer = Arc::new(Mutex::new(Some(writer)));
        let taken = writer.clone();
        let work = move || {
            let writer = taken.lock().take();
            // Were it to panic the queue would go with it, and whoever asks would hear.
            if let Some(writer) = writer {
                writer.run();
            }
        };
        let threads = &shared.platform.threads;
        let thread = threads.spawn("store-writer", Box::new(work))?;
        Ok(Store(Arc::new(Handle {
            shared,
            queue: Some(queue),
            writing: Writing { writer, thread },
        })))
    }

    pub(in crate::store) fn shared(&self) -> &Arc<Shared> {
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

    /// Why the disk takes nothing any more: damaged, failed or closed.
    pub fn failure(&self) -> Option<StoreError> {
        self.shared().failure()
    }

    /// How many of each there are; kept, not counted.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let snapshot = self.shared().snapshot()?;
        self.shared().latch(snapshot.all_counts())
    }

    /// Room, for reports.
    pub fn space(&self) -> Space {
        self.shared().space.space()
    }

    /// Takes back the room set aside for a full disk, where some of it was used and
    /// there is room again; whether all of it is there.
    pub async fn refill(&self) -> Result<bool, StoreError> {
        let shared = self.shared().clone();
        self.blocking(move || shared.space.refill()).await
    }

    /// Whether so many bytes would fit now.
    pub fn admit(&self, bytes: u64, tier: Tier) -> Result<(), StoreError> {
        self.shared().space.admit(bytes, tier)
    }

    /// Runs a closure on the metadata, after all that came before it, and answers
    /// when its writes are durable. If the closure fails, none of its writes stay.
    /// Once queued, it runs even if the caller stops waiting.
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

    /// The same for what has to be done on a full disk too, a little at a time: votes,
    /// deletes, and what gives room back.
    pub async fn transact_essential<R, F>(&self, f: F) -> Result<R, StoreError>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        self.submit(Manner::Essential, f).await
    }

    pub(in crate::store) async fn submit<R, F>(&self, manner: Manner, f: F) -> Result<R, StoreError>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        let (job, answer) = Call::ask(f);
        self.0.ask(Message::Job { job, manner }, answer).await
    }

    /// The same on a thread that may block.
    pub(in crate::store) fn submit_blocking<R, F>(
        &self,
        manner: Manner,
        f: F,
    ) -> Result<R, StoreError>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        let (job, answer) = Call::ask(f);
        self.0.ask_blocking(Message::Job { job, manner }, answer)
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
        self.blocking(move || {
            let snapshot = shared.snapshot()?;
            shared.latch(f(&snapshot))
        })
        .await
    }

    /// Does work that may block; it goes on when nobody waits for it any more.
    pub(in crate::store) async fn blocking<R, E>(
        &self,
        work: impl FnOnce() -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.shared().start(work).answer().await
    }

    /// Syncs what is outstanding and marks the disk as properly closed. Whatever
    /// comes after is answered `Closed`.
    pub async fn close(&self) -> Result<(), StoreError> {
        let (asker, answer) = oneshot::channel();
        self.0.ask(Message::Close(asker), answer).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.queue.take());
        match self.writing.thread.take() {
            // A closure may own the last handle, and then this is the thread itself.
            Some(thread) if thread.thread().id() == std::thread::current().id() => {}
            Some(thread) => {
                if thread.join().is_err() {
                    let dir = self.shared.dir.display();
                    tracing::error!("the writer of the disk in {dir} panicked");
                }
            }
            // The same without a thread: then whoever runs that closure goes on to the end.
            None => {
                if let Some(mut writer) = self.writing.writer.try_lock()
                    && let Some(writer) = &mut *writer
                {
                    writer.drain();
                }
            }
        }
    }
}
