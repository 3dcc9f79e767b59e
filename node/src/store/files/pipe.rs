//! The way of bytes to a file: gathered, then written and hashed on threads that may
//! block.

use std::sync::Arc;

use bytes::Bytes;

use crate::store::engine::shared::Shared;
use crate::store::error::StoreError;
use crate::store::files::tmp::failed_before;
use crate::store::platform::Pending;

/// Bytes gathered before they are written.
const BATCH: usize = 256 * 1024;

/// Where bytes go on a thread that may block.
pub(in crate::store) trait Sink: Send + 'static {
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError>;
}

enum State<S> {
    Idle(S),
    Busy(Pending<Result<S, StoreError>>),
    /// An error was answered; the file is gone.
    Failed,
}

/// Gathers bytes and hands them to a sink while the next ones come. At most two
/// batches are in memory.
pub(in crate::store) struct Pipe<S: Sink> {
    shared: Arc<Shared>,
    state: State<S>,
    batch: Vec<Bytes>,
    gathered: usize,
}

impl<S: Sink> Pipe<S> {
    pub(in crate::store) fn new(shared: Arc<Shared>, sink: S) -> Pipe<S> {
        Pipe {
            shared,
            state: State::Idle(sink),
            batch: Vec::new(),
            gathered: 0,
        }
    }

    /// Forgets everything after an error.
    pub(in crate::store) fn fail(&mut self) {
        self.state = State::Failed;
        self.batch = Vec::new();
    }

    async fn idle(&mut self) -> Result<S, StoreError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(sink) => Ok(sink),
            State::Busy(pending) => pending.answer().await,
            State::Failed => Err(failed_before()),
        }
    }

    /// Takes the next bytes.
    pub(in crate::store) async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.gathered += bytes.len();
        self.batch.push(bytes);
        if self.gathered < BATCH {
            return Ok(());
        }
        let mut sink = self.idle().await?;
        let batch = std::mem::take(&mut self.batch);
        self.gathered = 0;
        self.state = State::Busy(self.shared.start(move || {
            drain(&mut sink, &batch)?;
            Ok(sink)
        }));
        Ok(())
    }

    /// Writes what is left, then does `last` with the sink, all on one thread
    /// that goes on when nobody waits any more.
    pub(in crate::store) async fn finish<R, E>(
        mut self,
        last: impl FnOnce(S) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let mut sink = self.idle().await?;
        let batch = std::mem::take(&mut self.batch);
        let pending = self.shared.start(move || {
            drain(&mut sink, &batch)?;
            last(sink)
        });
        pending.answer().await
    }
}

fn drain(sink: &mut impl Sink, batch: &[Bytes]) -> Result<(), StoreError> {
    batch.iter().try_for_each(|bytes| sink.take(bytes))
}
