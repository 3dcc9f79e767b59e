//! PUT: chunk by chunk to the owners, and one change of the register at the end.
//!
//! Small bodies go into the register itself. Others first enter their upload as
//! pending; each chunk is acknowledged by a quorum of its owners in every table;
//! the commit consumes the pending entry. What breaks off leaves nothing that
//! anybody can see, and its chunks become garbage.

use std::sync::Arc;

use bytes::Bytes;
use chord_register::proposer::End;
use chord_register::{Change, NewFile, Outcome, Pending};
use chord_types::blocks::Root;
use chord_types::manifest::{Body as Contents, ChunkRef, PlacedChunk, chunk_key};
use chord_types::{ChunkId, FileName, UploadId};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tokio::task::JoinError;

use super::memory::{Lease, UploadMemory};
use super::outcome::finished;
use super::pieces::Pieces;
use super::place::{Placed, Placer};
use super::{Body, Error, Put, PutDone, notices};
use crate::notes::Uploads;
use crate::notes::uploads::Upload;
use crate::peer::wire::Request;
use crate::quorum::{Quorum, QuorumError, Ready};
use crate::view::{Current, Identity};
use crate::world::{Clock, Random, Tasks};

/// Files up to this many bytes live in their register.
pub const INLINE_BYTES: usize = 32 * 1024;
/// Chunks of one upload that are on their way at a time.
const CHUNKS_AT_ONCE: usize = 2;

/// Stores bodies as new versions of files.
pub struct Uploader {
    pub(crate) me: Arc<Identity>,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) placer: Arc<Placer>,
    pub(crate) tasks: Tasks,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) uploads: Uploads,
    pub(crate) memory: UploadMemory,
    /// Bytes of a chunk.
    pub chunk_size: usize,
}

/// The next chunk of a body: its pieces, the memory that they hold, and whether it is
/// the only one.
type Cut = (Vec<Bytes>, Lease, bool);

/// The first bytes of a hash of the contents, as entity tags have it.
fn fingerprint(root: Root) -> String {
    hex::encode(&root.0[..8])
}

impl Uploader {
    /// Stores a body.
    pub async fn put(&self, put: Put, mut body: Body) -> Result<PutDone, Error> {
        let mut reader = Pieces::new(&mut body);
        let mut memory = self.memory.lease();
        let first = reader.take(self.chunk_size, &mut memory).await?;
        let sole = reader.at_end().await?;
        let size: usize = first.iter().map(Bytes::len).sum();
        if sole && size <= INLINE_BYTES {
            drop(memory);
            let print = fingerprint(Root::of_pieces(&first));
            let contents = Contents::Inline(Bytes::from(first.concat()));
            return self.commit(&put, size as u64, print, contents, &[]).await;
        }
        let upload = self.random.upload_id();
        let mut guard = UploadGuard {
            quorum: self.quorum.clone(),
            tasks: self.tasks.clone(),
            name: put.name.clone(),
            upload: Some(self.uploads.begin(upload)),
            keep: false,
        };
        self.begin(&put, upload).await?;
        let chunks = self
            .stream(&put.name, upload, reader, (first, memory, sole))
            .await?;
        let roots: Vec<[u8; 32]> = chunks.iter().map(|c| c.chunk.root.0).collect();
        let size = chunks.iter().map(|c| u64::from(c.chunk.size)).sum();
        let refs = chunks.iter().map(|placed| ChunkRef {
            size: placed.chunk.size,
            root: placed.chunk.root,
        });
        let contents = Contents::Chunks {
            upload,
            chunks: refs.collect(),
        };
        let print = fingerprint(Root::of_blocks(&roots));
        let done = self.commit(&put, size, print, contents, &chunks).await;
        // An unknown outcome may have been applied: the upload is not taken back.
        guard.keep = match &done {
            Ok(_) => true,
            Err(error) => error.may_have_changed(),
        };
        done
    }

    /// Brings all chunks of a body to their owners, a few at a time.
    async fn stream(
        &self,
        name: &FileName,
        upload: UploadId,
        mut reader: Pieces<'_>,
        first: Cut,
    ) -> Result<Vec<Placed>, Error> {
        let mut chunks = Vec::new();
        let mut flights = FuturesOrdered::new();
        let mut next = Some(first);
        let mut part = 0u32;
        while let Some((pieces, memory, sole)) = next.take() {
            part += 1;
            let size: usize = pieces.iter().map(Bytes::len).sum();
            let id = ChunkId { upload, part };
            let chunk = PlacedChunk {
                id,
                key: chunk_key(name, id, sole),
                size: size as u32,
                root: Root::of_pieces(&pieces),
            };
            // A task of its own, so that it goes on while the next chunk is read.
            let flight = self.placer.clone();
            let flight = flight.place(name.clone(), chunk, pieces, memory);
            flights.push_back(self.tasks.beside(flight));
            while flights.len() >= CHUNKS_AT_ONCE {
                if let Some(placed) = flights.next().await {
                    chunks.push(landed(name, placed)?);
                }
            }
            if !sole && !reader.at_end().await? {
                let mut memory = self.memory.lease();
                let pieces = reader.take(self.chunk_size, &mut memory).await?;
                next = Some((pieces, memory, false));
            }
        }
        while let Some(placed) = flights.next().await {
            chunks.push(landed(name, placed)?);
        }
        Ok(chunks)
    }

    /// Enters the upload as pending, where the conditions hold.
    async fn begin(&self, put: &Put, upload: UploadId) -> Result<(), Error> {
        let pending = Pending {
            upload,
            disk: self.me.disk,
            boot: self.me.boot,
            since_ms: self.clock.now_ms(),
        };
        let change = Change::Begin {
            pending,
            condition: put.condition.clone(),
        };
        match self.quorum.change(&put.name, change).await? {
            // It may have been entered; then it is taken out again. Nobody sees it.
            End::Unknown => Err(Error::NotBegun {
                name: put.name.clone(),
            }),
            end => finished(&put.name, end).map(|_| ()),
        }
    }

    /// Makes the new version.
    async fn commit(
        &self,
        put: &Put,
        size: u64,
        fingerprint: String,
        contents: Contents,
        chunks: &[Placed],
    ) -> Result<PutDone, Error> {
        let name = &put.name;
        let before = self.quorum.read(name).await?.and_then(|v| v.current);
        let file = NewFile {
            size,
            modified_ms: self.clock.now_ms(),
            content_type: put.content_type.clone(),
            meta: put.meta.clone(),
            fingerprint,
            body: contents,
        };
        let change = Change::Commit {
            op: self.quorum.next_operation(),
            file,
            condition: put.condition.clone(),
        };
        let confirm = |current: Arc<Current>| -> BoxFuture<'_, Result<Ready, QuorumError>> {
            Box::pin(self.placer.confirm(name, chunks, current))
        };
        let end = self.quorum.change_when(name, change, &confirm).await?;
        let (_, outcome) = finished(name, end)?;
        let Outcome::Committed {
            version,
            etag,
            replaced,
        } = outcome
        else {
            let name = name.clone();
            return Err(Error::OtherOutcome { name });
        };
        if let Some(manifest) = before
            && manifest.version < version
        {
            notices::replaced(&self.quorum, name, &manifest);
        }
        let ids: Vec<ChunkId> = chunks.iter().map(|c| c.chunk.id).collect();
        notices::committed(&self.quorum, &ids);
        Ok(PutDone {
            version,
            etag,
            replaced,
        })
    }
}

fn landed<T>(name: &FileName, flight: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
    flight.map_err(|why| Error::CutShort {
        name: name.clone(),
        why,
    })?
}

/// Takes the upload back unless it was committed, whatever ended the request.
struct UploadGuard {
    quorum: Arc<Quorum>,
    tasks: Tasks,
    name: FileName,
    upload: Option<Upload>,
    /// It is committed, or may be.
    keep: bool,
}

impl Drop for UploadGuard {
    fn drop(&mut self) {
        // It does not run any more, whatever else happens.
        let Some(upload) = self.upload.take().map(|running| running.id()) else {
            return;
        };
        if self.keep {
            return;
        }
        let (quorum, name) = (self.quorum.clone(), self.name.clone());
        self.tasks.background(async move {
            // The pending entry goes first; only then is anything deleted.
            let expired = quorum.change(&name, Change::Expire { upload }).await;
            if expired.is_ok() {
                quorum.notify_members(&Request::Reap { name, upload }).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use chord_register::Condition;

    use super::*;
    use crate::files::Files;
    use crate::node::testing::{Nodes, file};

    #[tokio::test]
    async fn an_owner_that_hangs_does_not_keep_the_memory_of_uploads() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        let node = &all.nodes[0];
        let chunk = node.files.uploader.chunk_size;
        let whole = node.memory.uploads.free();
        // Room for one copy that is late.
        let late = node.memory.stragglers.free() - chunk;
        let _held = node.memory.stragglers.share(late).unwrap();
        all.hang(2, true);
        all.put(0, "a", vec![1; 10 * chunk]).await.unwrap();
        let kept = whole - node.memory.uploads.free();
        assert!(kept <= chunk, "{kept} bytes are kept");
        assert_eq!(
            node.debts.next(),
            Some(file("a")),
            "what is given up is owed"
        );
        all.hang(2, false);
    }

    #[tokio::test]
    async fn small_files_leave_the_reserve_too_and_a_full_disk_still_deletes() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        all.put(0, "old", "here before").await.unwrap();
        let mut full = all.fill(1);
        all.put(0, "two", vec![1; 20_000]).await.unwrap();
        let held = all.nodes[1].store.counts().unwrap();
        assert_eq!(held.registers, 1, "the full one takes no new file");
        full.extend(all.fill(2));
        let refused = all.put(0, "one", vec![1; 20_000]).await;
        assert!(
            matches!(refused, Err(Error::Register(QuorumError::Full { .. }))),
            "{refused:?}"
        );
        let value = all.nodes[0].quorum.read(&file("one")).await.unwrap();
        assert!(value.is_none_or(|v| v.current.is_none()));
        let files = &all.nodes[0].files;
        let gone = files.delete(&file("old"), Condition::default()).await;
        gone.unwrap();
        drop(full);
        all.put(0, "one", vec![1; 20_000]).await.unwrap();
    }
}
