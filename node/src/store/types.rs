//! What the store is asked and what it answers: plain values.

use std::path::PathBuf;

use chord_register::{Ballot, Value};
use chord_types::blocks::Root;
use chord_types::{ChunkId, ClusterUid, FileName, Id, UploadId, View};
use serde::{Deserialize, Serialize};

use super::error::StoreError;

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
    /// What an acknowledgement promises.
    pub durability: Durability,
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
    /// In the order that was asked for.
    pub items: Vec<T>,
    /// The `after` of the next page.
    pub next: Option<C>,
}

/// Where a walk by keys goes on.
pub type KeyCursor = (Id, FileName);

/// A register or a hint, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The key of its name.
    pub key: Id,
    /// The name of the file.
    pub name: FileName,
    /// Under which it was accepted.
    pub ballot: Ballot,
    /// What was accepted.
    pub value: Value,
}

/// A register as listings need it: without bodies and chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name of the file.
    pub name: FileName,
    /// Under which its value was accepted.
    pub ballot: Ballot,
    /// `None`: a tombstone, or only uploads are pending.
    pub current: Option<ListedFile>,
    /// Uploads that are under way.
    pub pending: usize,
}

/// The current version, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its number among the versions of the name.
    pub version: u64,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// When it was stored, in milliseconds since 1970.
    pub modified_ms: u64,
    /// The media type that came with it.
    pub content_type: Option<String>,
    /// The upload and how many chunks it has; `None` when inline.
    pub upload: Option<(UploadId, u32)>,
}

/// What is known of a chunk beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMeta {
    /// The upload that brought it, and which part of that it is.
    pub id: ChunkId,
    /// The name of its file.
    pub name: FileName,
    /// The key that places it.
    pub key: Id,
    /// Bytes.
    pub size: u32,
    /// The hash over its block hashes.
    pub root: Root,
    /// Whether its upload is known to have been committed.
    pub committed: bool,
}

impl ChunkMeta {
    /// How many blocks it has.
    pub fn blocks(&self) -> u32 {
        self.size.div_ceil(chord_types::blocks::BLOCK_BYTES as u32)
    }

    /// The chunk as manifests and requests name it.
    pub fn placed(&self) -> chord_types::manifest::PlacedChunk {
        chord_types::manifest::PlacedChunk {
            id: self.id,
            key: self.key,
            size: self.size,
            root: self.root,
        }
    }
}

/// Verified blocks of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkBlocks {
    /// What is known of the chunk.
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
    /// Names it on this disk.
    pub id: DroppedId,
    /// The name under which it is to be stored.
    pub name: FileName,
    /// Bytes.
    pub size: u64,
    /// The media type that came with it.
    pub content_type: Option<String>,
    /// What else came with it: names and values.
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
    /// Names on which this disk votes.
    pub registers: u64,
    /// Names of which it only remembers something.
    pub hints: u64,
    /// Names for which a ballot was promised.
    pub promises: u64,
    /// Chunks that are here, as far as is known.
    pub chunks: u64,
    /// Chunks that are indexed, and were found to be gone or damaged.
    pub missing: u64,
    /// Files kept for their owners.
    pub dropped: u64,
}
