//! Answering other nodes, and this one: the acceptor's side of registers, receipts
//! for chunks, and hints. The shell of [`chord_register::acceptor`]: its answers are
//! on the disk before they leave.

mod chunks;
pub mod fetch;
mod registers;

use std::sync::Arc;

use chord_types::FileName;
use chord_types::Id;
use tokio::sync::Semaphore;

use crate::notes::{Garbage, Readers, Uploads};
use crate::peer::Failure;
use crate::peer::wire::{Answer, Call, ChunkState, Header, Refusal, Reply, Request};
use crate::store::{ChunkError, MayEnter, Store, StoreError};
use crate::view::{Current, Identity, ViewKeeper};

pub use chunks::chunk_failed;
pub use fetch::Fetcher;

/// The most names or chunks in one request.
pub const MAX_BATCH: usize = 4096;
/// Chunks that are pulled onto this disk at a time.
const MAX_PULLS: usize = 4;

/// Answers calls out of this disk, and out of what this process is about.
pub struct Responder {
    me: Arc<Identity>,
    store: Store,
    view: Arc<ViewKeeper>,
    fetcher: Fetcher,
    uploads: Uploads,
    readers: Readers,
    garbage: Arc<Garbage>,
    pulls: Semaphore,
}

/// Asked before something is entered, in the transaction that enters it: lets it in
/// only while this view is in force. What came late is neither part of what was
/// proved of the view, nor of what a drained node has reported.
pub fn entered_under(current: &Current) -> MayEnter {
    let epoch = current.reference.epoch;
    Box::new(move |held| match held {
        Some(view) if view.epoch == epoch => Ok(()),
        _ => Err(StoreError::Refused("the view has changed".into())),
    })
}

/// What is said of a failure of the store.
fn failed(error: StoreError) -> Refusal {
    match error {
        StoreError::Full(_) => Refusal::Full,
        other => Refusal::Failed(Failure::of(other)),
    }
}

/// What is said of a batch that is too long, if it is.
fn check_batch(asked: usize, of: &str) -> Result<(), Refusal> {
    if asked > MAX_BATCH {
        let why = format!("at most {MAX_BATCH} {of} at a time");
        return Err(Refusal::Failed(why.into()));
    }
    Ok(())
}

impl Responder {
    /// Puts it together.
    pub fn new(
        me: Arc<Identity>,
        store: Store,
        view: Arc<ViewKeeper>,
        fetcher: Fetcher,
        uploads: Uploads,
        readers: Readers,
        garbage: Arc<Garbage>,
    ) -> Responder {
        Responder {
            me,
            store,
            view,
            fetcher,
            uploads,
            readers,
            garbage,
            pulls: Semaphore::new(MAX_PULLS),
        }
    }

    /// The view in force, if what `header` heads is meant for this disk and for that
    /// view. Where it is at another view that is said, unless `any_view` will do.
    pub fn admit(&self, header: &Header, any_view: bool) -> Result<Option<Arc<Current>>, Refusal> {
        if header.cluster != self.me.cluster {
            return Err(Refusal::OtherCluster);
        }
        if header.to != self.me.disk {
            return Err(Refusal::OtherDisk(self.me.disk));
        }
        match self.view.current() {
            Some(current) if current.reference == header.view => Ok(Some(current)),
            other if any_view => Ok(other),
            other => Err(Refusal::OtherView(other.map(|c| c.reference))),
        }
    }

    /// Answers one call.
    pub async fn handle(&self, call: Call) -> Reply {
        let Call { header, request } = call;
        let current = self.admit(&header, !request.needs_view())?;
        match (request, current) {
            (Request::Committed { chunks }, _) => self.committed(chunks).await,
            (Request::Reap { name, upload }, _) => {
                self.garbage.expect(name, upload);
                Ok(Answer::Done)
            }
            (Request::UploadActive { upload, boot }, _) => {
                let active = boot == self.me.boot && self.uploads.runs(&upload);
                Ok(Answer::Active(active))
            }
            (Request::Reading { upload }, _) => Ok(Answer::Active(self.readers.is_read(&upload))),
            (Request::VerifyChunk { chunk }, _) => match self.store.chunk_verify(chunk).await {
                Ok(_) => Ok(Answer::Checked(ChunkState::Whole)),
                Err(ChunkError::Missing) => Ok(Answer::Checked(ChunkState::Missing)),
                Err(ChunkError::Damaged(_)) => Ok(Answer::Checked(ChunkState::Damaged)),
                Err(e) => Err(Refusal::Failed(Failure::of(e))),
            },
            (request, Some(current)) => self.handle_in_view(request, &current).await,
            (_, None) => Err(Refusal::OtherView(None)),
        }
    }

    /// Answers what only the view that it is meant for gives a meaning to.
    async fn handle_in_view(&self, request: Request, current: &Arc<Current>) -> Reply {
        match request {
            Request::Prepare {
                name,
                ballot,
                bytes,
            } => self.prepare(current, name, ballot, bytes).await,
            Request::Accept {
                name,
                ballot,
                value,
                client,
            } => self.accept(current, name, ballot, value, client).await,
            Request::Read { name, with_value } => self.read(current, name, with_value).await,
            Request::Ballots { names } => self.ballots(current, names).await,
            Request::Names {
                prefix,
                after,
                limit,
            } => self.names(current, prefix, after, limit).await,
            Request::HasChunks { chunks } => self.has_chunks(current, chunks).await,
            Request::Ensure {
                name,
                chunk,
                committed,
                sources,
            } => self.ensure(current, name, chunk, committed, &sources).await,
            Request::Committed { .. }
            | Request::Reap { .. }
            | Request::UploadActive { .. }
            | Request::VerifyChunk { .. }
            | Request::Reading { .. } => {
                Err(Refusal::Failed("this needs no view, and had one".into()))
            }
        }
    }

    fn check_owner(&self, current: &Current, name: &FileName) -> Result<(), Refusal> {
        self.check_key(current, &Id::of_file(name))
    }

    fn check_key(&self, current: &Current, key: &Id) -> Result<(), Refusal> {
        if current.owns(self.me.disk, key) {
            Ok(())
        } else {
            Err(Refusal::NotOwner)
        }
    }

    /// What is said of a failure under a view that may have changed meanwhile.
    fn stale(&self, error: StoreError) -> Refusal {
        match error {
            StoreError::Refused(_) => Refusal::OtherView(self.view.reference()),
            other => failed(other),
        }
    }
}
