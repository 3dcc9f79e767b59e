//! What bounds the memory of the data path.
//!
//! All uploads of a node share one bound, and each takes from it only for bytes that
//! have come, so that slow clients do not keep others out.
//!
//! If every upload stood in the middle of a chunk with nothing left for its rest,
//! none could go on. So a part of the bound is set aside for finishing: an upload
//! that gets nothing from the rest may take there what a whole chunk needs, sends
//! its chunk, and gives all of it back.
//!
//! Copies that are under way behind their acknowledgement hold a part of the bound at
//! most, so that an owner that hangs does not keep the memory of all.
//!
//! Downloads share a bound too. A piece gives its part back when the client has
//! taken it, and pieces are fetched ahead only while half of the bound is free, so
//! that clients who take nothing hold one piece each until they are given up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;

/// Bytes of chunks that uploads may hold in memory together.
const UPLOADS: usize = 192 << 20;
/// Of these, bytes of copies that are under way behind their acknowledgement.
const STRAGGLERS: usize = 64 << 20;
/// Bytes of files that downloads may hold in memory together.
const DOWNLOADS: usize = 256 << 20;
/// Bytes that are taken at a time, ahead of what comes.
const STEP: usize = 64 * 1024;
/// The part that is set aside for finishing; at least one chunk.
const FINISHING: usize = 48 << 20;
/// How long an upload waits for memory before the client is told to try again.
const WAIT: Duration = Duration::from_secs(15);

/// The bounds of one node.
#[derive(Clone, Debug)]
pub struct Memory {
    pub(crate) uploads: UploadMemory,
    pub(crate) stragglers: Stragglers,
    pub(crate) downloads: ReadMemory,
}

impl Memory {
    /// For uploads in chunks of at most `chunk` bytes.
    pub fn new(chunk: usize) -> Memory {
        Memory {
            uploads: UploadMemory::new(UPLOADS, chunk),
            stragglers: Stragglers(Arc::new(Semaphore::new(STRAGGLERS))),
            downloads: ReadMemory::new(DOWNLOADS),
        }
    }
}

/// What copies behind their acknowledgement may hold together.
#[derive(Clone, Debug)]
pub struct Stragglers(Arc<Semaphore>);

impl Stragglers {
    /// A share for a copy of so many bytes, until the answer is dropped; `None` where
    /// the others have taken too much.
    pub fn share(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        some(&self.0, bytes)
    }

    /// Bytes that nobody holds.
    pub fn free(&self) -> usize {
        self.0.available_permits()
    }
}

/// What the uploads of a node may hold together.
#[derive(Clone, Debug)]
pub struct UploadMemory {
    shared: Arc<Semaphore>,
    finishing: Arc<Semaphore>,
    chunk: usize,
    wait: Duration,
}

impl UploadMemory {
    /// A bound of `total` bytes for chunks of at most `chunk` bytes.
    pub fn new(total: usize, chunk: usize) -> UploadMemory {
        let finishing = FINISHING.min(total / 4).max(chunk);
        UploadMemory {
            shared: Arc::new(Semaphore::new(total.saturating_sub(finishing))),
            finishing: Arc::new(Semaphore::new(finishing)),
            chunk,
            wait: WAIT,
        }
    }

    /// Bytes that nobody holds.
    pub fn free(&self) -> usize {
        self.shared.available_permits() + self.finishing.available_permits()
    }

    /// For one chunk; nothing is held yet.
    pub fn lease(&self) -> Lease {
        Lease {
            memory: self.clone(),
            held: Vec::new(),
            room: 0,
        }
    }
}

/// What one chunk holds; given back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    memory: UploadMemory,
    held: Vec<OwnedSemaphorePermit>,
    /// Bytes that fit into what is held.
    room: usize,
}

impl Lease {
    /// Makes room for `bytes` in all, waiting for it where there is none.
    pub async fn cover(&mut self, bytes: usize) -> Result<(), Error> {
        while self.room < bytes {
            let wanted = (bytes - self.room).next_multiple_of(STEP);
            if let Some(permit) = some(&self.memory.shared, wanted) {
                self.held.push(permit);
                self.room += wanted;
                continue;
            }
            let rest = self.memory.chunk.saturating_sub(self.room).max(wanted);
            let (shared, finishing) = (&self.memory.shared, &self.memory.finishing);
            let got = tokio::time::timeout(self.memory.wait, async {
                tokio::select! {
                    biased;
                    permit = shared.clone().acquire_many_owned(count(wanted)) => (permit, wanted),
                    permit = finishing.clone().acquire_many_owned(count(rest)) => (permit, rest),
                }
            });
            let Ok((Ok(permit), room)) = got.await else {
                return Err(Error::NoUploadMemory);
            };
            self.held.push(permit);
            self.room += room;
        }
        Ok(())
    }
}

/// What the downloads of a node may hold together.
#[derive(Clone, Debug)]
pub struct ReadMemory {
    free: Arc<Semaphore>,
    total: usize,
    wait: Duration,
}

impl ReadMemory {
    /// A bound of `total` bytes; no piece may be larger.
    pub fn new(total: usize) -> ReadMemory {
        ReadMemory {
            free: Arc::new(Semaphore::new(total)),
            total,
            wait: WAIT,
        }
    }

    /// Room for the first piece of an answer, waited for as long as a client may be
    /// kept without one.
    pub async fn first(&self, bytes: usize) -> Result<Room, Error> {
        let room = tokio::time::timeout(self.wait, self.next(bytes)).await;
        room.unwrap_or(Err(Error::NoDownloadMemory))
    }

    /// Room for the next piece of an answer that has begun: those before it end, or
    /// are given up.
    pub async fn next(&self, bytes: usize) -> Result<Room, Error> {
        let permit = self.free.clone().acquire_many_owned(count(bytes)).await;
        permit.map(Room).map_err(|_| Error::Stopping)
    }

    /// Room for a piece that the client has not come to, while there is plenty.
    pub fn ahead(&self, bytes: usize) -> Option<Room> {
        if self.free.available_permits() < self.total / 2 {
            return None;
        }
        some(&self.free, bytes).map(Room)
    }
}

/// Room for a piece.
#[derive(Debug)]
pub struct Room(OwnedSemaphorePermit);

impl Room {
    /// The piece, which gives the room back when the last of it is dropped.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held {
            bytes,
            _room: self.0,
        })
    }
}

struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn some(memory: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    memory.clone().try_acquire_many_owned(count(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 4 << 20;

    #[tokio::test]
    async fn uploads_that_send_little_hold_little() {
        let memory = UploadMemory::new(192 << 20, CHUNK);
        let whole = memory.free();
        let mut slow = Vec::new();
        for _ in 0..1024 {
            let mut lease = memory.lease();
            lease.cover(1).await.unwrap();
            slow.push(lease);
        }
        let mut quick = memory.lease();
        quick.cover(CHUNK).await.unwrap();
        drop((slow, quick));
        assert_eq!(memory.free(), whole);
    }

    #[tokio::test]
    async fn uploads_that_stand_in_the_middle_of_a_chunk_are_finished_one_by_one() {
        let memory = UploadMemory::new(8 * CHUNK, CHUNK);
        let mut half: Vec<Lease> = Vec::new();
        // Six chunks are for all: twelve halves take them.
        for _ in 0..12 {
            let mut lease = memory.lease();
            lease.cover(CHUNK / 2).await.unwrap();
            half.push(lease);
        }
        let all = half.into_iter().map(|mut lease| async move {
            let covered = lease.cover(CHUNK).await;
            tokio::task::yield_now().await;
            covered
        });
        for covered in futures::future::join_all(all).await {
            covered.unwrap();
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let memory = UploadMemory {
            wait: Duration::from_millis(20),
            ..UploadMemory::new(4 * CHUNK, CHUNK)
        };
        let mut held: Vec<Lease> = (0..4).map(|_| memory.lease()).collect();
        for lease in &mut held {
            lease.cover(CHUNK).await.unwrap();
        }
        let mut late = memory.lease();
        let refused = late.cover(1).await;
        assert!(matches!(refused, Err(Error::NoUploadMemory)), "{refused:?}");
        held.pop();
        late.cover(1).await.unwrap();
    }

    #[tokio::test]
    async fn a_piece_gives_its_room_back_when_the_last_of_it_is_gone() {
        let memory = ReadMemory {
            wait: Duration::from_millis(20),
            ..ReadMemory::new(4)
        };
        let held = memory
            .first(1)
            .await
            .unwrap()
            .hold(Bytes::from_static(b"abc"));
        let ahead = memory.ahead(1).unwrap();
        let begun = memory.next(1).await.unwrap();
        assert!(memory.ahead(1).is_none(), "less than half is free");
        let last = memory.first(1).await.unwrap();
        let refused = memory.first(1).await;
        assert!(matches!(refused, Err(Error::NoDownloadMemory)));
        let part = held.slice(1..);
        drop(held);
        assert!(memory.first(1).await.is_err(), "a part of it is still held");
        assert_eq!(part, "bc");
        drop(part);
        let room = memory.first(1).await.unwrap();
        drop((ahead, begun, last, room));
        assert!(memory.ahead(4).is_some());
    }

    #[tokio::test]
    async fn a_chunk_of_any_size_fits() {
        let memory = UploadMemory::new(192 << 20, 64 << 20);
        let mut leases: Vec<Lease> = (0..3).map(|_| memory.lease()).collect();
        for lease in &mut leases {
            lease.cover(64 << 20).await.unwrap();
        }
    }
}
