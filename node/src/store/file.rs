//! Files that come into being whole or not at all, and the way bytes take to
//! them: gathered, then written and hashed on threads that may block.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chord_api::host::descriptors;
use tokio::task::JoinHandle;

use super::Shared;
use super::meta::is_full;
use super::space::Reservation;
use super::types::{Durability, StoreError};

/// Bytes gathered before they are written.
const BATCH: usize = 256 * 1024;

/// What an error means: a full disk is not a broken one, nor is one for which there is
/// no file descriptor.
pub(super) fn failed(doing: &str, path: &Path, e: &std::io::Error) -> StoreError {
    let what = format!("{doing} {}: {e}", path.display());
    if is_full(e) {
        StoreError::Full(what)
    } else if descriptors::exhausted(e) {
        StoreError::Overloaded(what)
    } else {
        StoreError::Io(what)
    }
}

/// A folder whose entries are about to change. It is opened before, since a change that
/// then cannot be made durable would be one of which nobody knows whether it stays.
pub(super) struct Folder<'a> {
    shared: &'a Shared,
    path: &'a Path,
    /// `None`: nothing is synced.
    file: Option<File>,
}

impl<'a> Folder<'a> {
    /// `None`: there is no such folder.
    pub(super) fn open(shared: &'a Shared, path: &'a Path) -> Result<Option<Self>, StoreError> {
        let file = match (shared.durability, File::open(path)) {
            (_, Err(e)) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            (_, Err(e)) => return Err(failed("opening the folder", path, &e)),
            (Durability::Durable, Ok(file)) => Some(file),
            (Durability::Relaxed, Ok(_)) => None,
        };
        Ok(Some(Folder { shared, path, file }))
    }

    /// Makes its entries durable, or ends the process.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_all);
        synced.map_err(|e| {
            let e = failed("syncing the folder", self.path, &e);
            self.shared.die(&e);
            e
        })
    }
}

/// A file that is being written in `tmp/`, with the room that is set aside for
/// it. Dropped before it is placed, it is gone.
pub(super) struct TmpFile {
    shared: Arc<Shared>,
    path: PathBuf,
    file: File,
    room: Reservation,
    written: u64,
    placed: bool,
}

impl TmpFile {
    pub(super) fn create(shared: Arc<Shared>, room: Reservation) -> Result<TmpFile, StoreError> {
        let path = shared.tmp_path();
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        let file = file.map_err(|e| failed("creating", &path, &e))?;
        let mut tmp = TmpFile {
            shared,
            path,
            file,
            room,
            written: 0,
            placed: false,
        };
        tmp.allocate()?;
        Ok(tmp)
    }

    /// Takes the room from the file system now, where it can do that, so that a
    /// full disk is found out before the bytes come.
    fn allocate(&mut self) -> Result<(), StoreError> {
        let bytes = self.room.bytes();
        if bytes == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes) {
            Ok(()) => self.room.given(bytes),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(e) => return Err(failed("allocating", &self.path, &e.into())),
        }
        Ok(())
    }

    /// Writes at the end; asks for more room where the file has outgrown it.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let needed = self.written + bytes.len() as u64;
        if needed > self.room.bytes() {
            self.room
                .grow((needed - self.room.bytes()).max(4 * BATCH as u64))?;
        }
        self.file
            .write_all(bytes)
            .map_err(|e| failed("writing", &self.path, &e))?;
        self.written = needed;
        Ok(())
    }

    /// Makes the contents durable. Where that fails nobody knows what the disk
    /// holds, and the process ends.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        if self.shared.durability == Durability::Relaxed {
            return Ok(());
        }
        self.file.sync_data().map_err(|e| {
            let e = failed("syncing", &self.path, &e);
            if !matches!(e, StoreError::Full(_)) {
                self.shared.die(&e);
            }
            e
        })
    }

    /// Moves it to its place, over what is there, and makes that durable.
    pub(super) fn place(mut self, to: &Path) -> Result<u64, StoreError> {
        // Room allocated beyond the end is given back.
        self.file
            .set_len(self.written)
            .map_err(|e| failed("cutting", &self.path, &e))?;
        let before = std::fs::metadata(to).ok().map(|m| m.len());
        let shared = self.shared.clone();
        let dir = to.parent().unwrap_or(&shared.dir);
        let folder = match Folder::open(&shared, dir)? {
            Some(folder) => folder,
            None => make_folder(&shared, dir)?,
        };
        std::fs::rename(&self.path, to).map_err(|e| failed("renaming", to, &e))?;
        self.placed = true;
        shared.space.placed(self.written, before);
        folder.sync()?;
        Ok(self.written)
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }
}

impl Drop for TmpFile {
    fn drop(&mut self) {
        if !self.placed
            && let Err(e) = std::fs::remove_file(&self.path)
        {
            // It is emptied at the next start.
            tracing::warn!("removing {}: {e}", self.path.display());
        }
    }
}

/// Makes a folder that stays.
fn make_folder<'a>(shared: &'a Shared, dir: &'a Path) -> Result<Folder<'a>, StoreError> {
    let gone = || StoreError::Io(format!("the folder {} is gone", dir.display()));
    let above = dir.parent().unwrap_or(dir);
    let above = Folder::open(shared, above)?.ok_or_else(gone)?;
    std::fs::create_dir_all(dir).map_err(|e| failed("making the folder", dir, &e))?;
    above.sync()?;
    Folder::open(shared, dir)?.ok_or_else(gone)
}

/// Deletes a file durably and gives its room back; whether it was there.
pub(super) fn remove(shared: &Shared, path: &Path) -> Result<bool, StoreError> {
    let length = match std::fs::metadata(path) {
        Ok(found) => found.len(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(failed("looking at", path, &e)),
    };
    let Some(folder) = Folder::open(shared, path.parent().unwrap_or(&shared.dir))? else {
        return Ok(false);
    };
    match std::fs::remove_file(path) {
        Ok(()) => shared.space.removed(length),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(failed("deleting", path, &e)),
    }
    folder.sync()?;
    Ok(true)
}

/// Where bytes go on a thread that may block.
pub(super) trait Sink: Send + 'static {
    fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError>;
}

enum State<S> {
    Idle(S),
    Busy(JoinHandle<Result<S, StoreError>>),
    /// An error was answered; the file is gone.
    Failed,
}

/// Gathers bytes and hands them to a sink while the next ones come. At most two
/// batches are in memory.
pub(super) struct Pipe<S: Sink> {
    state: State<S>,
    batch: Vec<Bytes>,
    gathered: usize,
}

impl<S: Sink> Pipe<S> {
    pub(super) fn new(sink: S) -> Pipe<S> {
        Pipe {
            state: State::Idle(sink),
            batch: Vec::new(),
            gathered: 0,
        }
    }

    /// Forgets everything after an error.
    pub(super) fn fail(&mut self) {
        self.state = State::Failed;
        self.batch = Vec::new();
    }

    async fn idle(&mut self) -> Result<S, StoreError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(sink) => Ok(sink),
            State::Busy(handle) => joined(handle).await,
            State::Failed => Err(StoreError::Refused(
                "writing this file has failed before".into(),
            )),
        }
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.gathered += bytes.len();
        self.batch.push(bytes);
        if self.gathered < BATCH {
            return Ok(());
        }
        let mut sink = self.idle().await?;
        let batch = std::mem::take(&mut self.batch);
        self.gathered = 0;
        self.state = State::Busy(tokio::task::spawn_blocking(move || {
            drain(&mut sink, &batch)?;
            Ok(sink)
        }));
        Ok(())
    }

    /// Writes what is left, then does `last` with the sink, all on one thread
    /// that goes on when nobody waits any more.
    pub(super) async fn finish<R, E>(
        mut self,
        last: impl FnOnce(S) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let mut sink = self.idle().await?;
        let batch = std::mem::take(&mut self.batch);
        joined(tokio::task::spawn_blocking(move || {
            drain(&mut sink, &batch)?;
            last(sink)
        }))
        .await
    }
}

fn drain(sink: &mut impl Sink, batch: &[Bytes]) -> Result<(), StoreError> {
    batch.iter().try_for_each(|bytes| sink.take(bytes))
}

/// The answer of a thread that may block.
pub(super) async fn joined<R, E: From<StoreError>>(
    handle: JoinHandle<Result<R, E>>,
) -> Result<R, E> {
    match handle.await {
        Ok(result) => result,
        Err(e) => Err(StoreError::Io(format!("a thread of the store ended: {e}")).into()),
    }
}
