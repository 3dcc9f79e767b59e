//! What the store is asked and what it answers: plain values and errors.

use std::path::PathBuf;

use chord_types::blocks::Root;
use chord_types::{ChunkId, ClusterUid, FileName, Id, UploadId, View};
use serde::{Deserialize, Serialize};

use chord_register::{Ballot, Value};

/// The largest chunk that a disk takes; chunk sizes are chosen up to this.
pub const MAX_CHUNK_BYTES: u32 = 64 * 1024 * 1024;

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// Data and metadata are synced before the answer.
    #[default]
    Durable,
    /// Only the view, the boot number and the identity are synced; after an
    /// unclean end the disk comes back as another disk, without registers.
    Relaxed,
}

/// How a disk is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder; made if it is not there.
    pub dir: PathBuf,
    /// The most that may be used, where that is less than the file system.
    pub capacity: Option<u64>,
    /// The cluster that this disk must belong to, where it is known.
    pub cluster: Option<ClusterUid>,
    pub durability: Durability,
}

/// Why a disk cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the data folder {dir} is in use by another process: one node at a time may open a disk"
    )]
    Busy { dir: PathBuf },
    #[error(
        "the disk in {dir} belongs to cluster {found}, not to {wanted}: give this node another disk, or empty this one"
    )]
    WrongCluster {
        dir: PathBuf,
        found: ClusterUid,
        wanted: ClusterUid,
    },
    #[error(
        "the disk in {dir} is of format {found}, this program reads up to format {known}: run the newer program"
    )]
    NewerFormat {
        dir: PathBuf,
        found: u32,
        known: u32,
    },
    #[error("the disk in {dir} is damaged: {what}; it must not vote, replace it by an empty one")]
    Damaged { dir: PathBuf, what: String },
    #[error("the disk in {dir} is full: {what}; free space on the file system")]
    Full { dir: PathBuf, what: String },
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        #[source]
        source: std::io::Error,
    },
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written.
    #[error("the disk is full: {0}")]
    Full(String),
    /// What the disk gives back is not what was written to it.
    #[error("the disk is damaged: {0}; it must not vote until it is replaced")]
    Damaged(String),
    /// The disk is bound to one cluster.
    #[error("the view is of cluster {found}, the disk belongs to {wanted}")]
    WrongCluster {
        found: ClusterUid,
        wanted: ClusterUid,
    },
    #[error("the disk failed: {0}")]
    Io(String),
    /// This process has no file descriptor left. It says nothing about the disk, and
    /// passes.
    #[error("too many files and connections are open: {0}")]
    Overloaded(String),
    #[error("the disk has been closed")]
    Closed,
    /// A caller's own reason to give up a transaction.
    #[error("{0}")]
    Refused(String),
}

/// Why a chunk could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("the chunk is not on this disk")]
    Missing,
    /// It has been marked as missing, so that it is fetched again.
    #[error("the chunk is damaged: {0}")]
    Damaged(String),
    /// The bytes received are not those announced; nothing was kept.
    #[error("the chunk that came is not the one announced: {0}")]
    Mismatch(String),
    /// Another chunk is here under this id.
    #[error("another chunk is on this disk under the same id")]
    Conflict,
    #[error("the chunk has no block {0}")]
    OutOfRange(u32),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asked in the very transaction that enters something new, with the view that
/// is on the disk then: whether it may still be entered.
pub type MayEnter = Box<dyn FnOnce(Option<&View>) -> Result<(), StoreError> + Send>;

/// Who wants space: each tier may go further than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Files of clients.
    Clients,
    /// Copies that a change of the view or a repair brings.
    Moves,
    /// Deletions, votes and views: never refused by accounting.
    Internal,
}

/// A part of an answer, and where to go on: `None` at the end. A page may be
/// short, or empty, and not be the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    pub items: Vec<T>,
    /// The `after` of the next page.
    pub next: Option<C>,
}

/// Where a walk by keys goes on.
pub type KeyCursor = (Id, FileName);

/// A register or a hint, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    pub key: Id,
    pub name: FileName,
    pub ballot: Ballot,
    pub value: Value,
}

/// A register as listings need it: without bodies and chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: FileName,
    pub ballot: Ballot,
    /// `None`: a tombstone, or only uploads are pending.
    pub current: Option<ListedFile>,
    pub pending: usize,
}

/// The current version, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    pub version: u64,
    pub etag: String,
    pub size: u64,
    pub modified_ms: u64,
    pub content_type: Option<String>,
    /// The upload and how many chunks it has; `None` when inline.
    pub upload: Option<(UploadId, u32)>,
}

/// What is known of a chunk beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMeta {
    pub id: ChunkId,
    pub name: FileName,
    /// The key that places it.
    pub key: Id,
    /// Bytes.
    pub size: u32,
    pub root: Root,
    /// Whether its upload is known to have been committed.
    pub committed: bool,
}

impl ChunkMeta {
    /// How many blocks it has.
    pub fn blocks(&self) -> u32 {
        self.size.div_ceil(chord_types::blocks::BLOCK_BYTES as u32)
    }
}

/// Verified blocks of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkBlocks {
    pub meta: ChunkMeta,
    /// The hashes of all its blocks, which give its root.
    pub hashes: Vec<[u8; 32]>,
    /// The bytes of the blocks asked for.
    pub data: bytes::Bytes,
}

/// Names a dropped file. Later drops have greater ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DroppedId(pub u64);

impl std::fmt::Display for DroppedId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A file kept on this node whoever owns it. Of two with one name the one with
/// the greater id is the newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub id: DroppedId,
    pub name: FileName,
    /// Bytes.
    pub size: u64,
    pub content_type: Option<String>,
    pub meta: Vec<(String, String)>,
    /// BLAKE3 of its bytes.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    /// The version of the name before this was first offered to its owners, once
    /// it has been. A greater one means that they have it, or something newer.
    #[serde(default)]
    pub observed: Option<u64>,
}

/// How many of each are on the disk; kept, not scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub registers: u64,
    pub hints: u64,
    pub promises: u64,
    /// Present, as far as is known.
    pub chunks: u64,
    /// Indexed, and found to be gone or damaged.
    pub missing: u64,
    pub dropped: u64,
}
