//! Second looks: what a file is worth that did not read as it should.
//!
//! A copy counts as missing only after a second look at all of it: one bad read is
//! no proof, and a payload whose tail alone is damaged is worth keeping. Its file
//! stays where it is all the same, and gives out the blocks that are right: they may
//! be the last. A whole copy takes its place, or the reaper takes it away.

use std::io::ErrorKind;

use chord_types::ChunkId;

use super::file::{Health, examine, path};
use super::write::rewrite;
use crate::store::engine::handle::Store;
use crate::store::engine::writer::Manner;
use crate::store::error::{ChunkError, StoreError, Why, failed};
use crate::store::meta::table::T;
use crate::store::platform::How;
use crate::store::records::chunks::{self, ChunkEntry};
use crate::store::types::ChunkMeta;

/// What a first look at a chunk gave.
pub(super) enum Look<R> {
    Good(R),
    /// Something is not as it should be; take a second look.
    Doubt,
}

impl Store {
    /// What the index knows of a chunk that is here.
    pub(super) fn indexed(&self, id: ChunkId) -> Result<Option<ChunkEntry>, StoreError> {
        let snapshot = self.shared().snapshot()?;
        self.shared().latch(chunks::chunk(&snapshot, T::Chunks, id))
    }

    /// Reads once. If the file looks damaged, checks it, and then reads again.
    pub(super) fn read_settled<R>(
        &self,
        id: ChunkId,
        look: impl Fn(ChunkEntry) -> Result<Look<R>, ChunkError>,
    ) -> Result<R, ChunkError> {
        for _ in 0..2 {
            let entry = self.indexed(id)?.ok_or(ChunkError::Missing)?;
            if let Look::Good(result) = look(entry)? {
                return Ok(result);
            }
            self.settle(id)?;
        }
        let why = format!("reading chunk {id} gave different bytes each time");
        Err(StoreError::Io(why.into()).into())
    }

    /// Finds out what a chunk's file is worth, and acts on it: rewrites its tail, or
    /// marks the chunk as missing.
    pub(super) fn settle(&self, id: ChunkId) -> Result<ChunkMeta, ChunkError> {
        let shared = self.shared();
        let _turn = shared.turn(id);
        let entry = self.indexed(id)?.ok_or(ChunkError::Missing)?;
        let at = path(&shared.dir, id);
        let file = match shared.platform.files.open(&at, How::Read) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(failed("opening", &at, e).into()),
        };
        let why = match &file {
            None => Why::from("its file is gone"),
            Some(file) => match examine(&**file, &entry.meta, entry.length) {
                Ok(Health::Whole) => return Ok(entry.meta),
                Ok(Health::TailBroken) => {
                    tracing::warn!(
                        "the tail of chunk {id} is damaged; written anew from its payload"
                    );
                    rewrite(self, &**file, &entry.meta)?;
                    return Ok(entry.meta);
                }
                Ok(Health::PayloadBroken) => "its bytes are not those that were written".into(),
                Err(e) if is_lost(&e) => Why::new("the disk cannot read it", e),
                Err(e) => return Err(failed("reading", &at, e).into()),
            },
        };
        tracing::error!("chunk {id} of {} counts as missing: {why}", entry.meta.name);
        self.submit_blocking(Manner::Essential, move |txn| txn.lose_chunk(id))?;
        if file.is_none() {
            shared.space.removed(entry.length);
            return Err(ChunkError::Missing);
        }
        Err(ChunkError::Damaged(why))
    }
}

/// Whether the disk says that it has lost what lay there. Other errors, too many open
/// files for one, say nothing about the bytes.
pub(super) fn is_lost(e: &std::io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(e),
        Some(Errno::IO | Errno::BADMSG | LOST_STRUCTURE)
    )
}

/// What file systems of Linux say where they find their own structures damaged.
#[cfg(target_os = "linux")]
const LOST_STRUCTURE: rustix::io::Errno = rustix::io::Errno::UCLEAN;
#[cfg(not(target_os = "linux"))]
const LOST_STRUCTURE: rustix::io::Errno = rustix::io::Errno::IO;
