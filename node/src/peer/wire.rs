//! What nodes say to each other on the peer port, as MessagePack.
//!
//! Everything that counts for safety carries the view it is meant for and the
//! disk it is meant for; a receiver of another view, or on another disk, says so
//! and does nothing.
//!
//! The shapes here are those of every version of the protocol that this program
//! speaks: they may only change as docs/architecture.md, "Versions", has it, and the
//! bytes in `tests/wire` hold them.

use chord_types::manifest::PlacedChunk;
use chord_types::view::ViewRef;
use chord_types::{ChunkId, ClusterUid, DiskId, FileName, Ordinal, UploadId};
use serde::{Deserialize, Serialize};

use chord_register::acceptor::{Promise, Vote};
use chord_register::{Ballot, Value};

/// The header of every request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub cluster: ClusterUid,
    /// The view that the sender acts by.
    pub view: ViewRef,
    /// The disk that is meant.
    pub to: DiskId,
    pub from: Ordinal,
}

/// A request with its header.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    pub header: Header,
    pub request: Request,
}

/// What one node asks another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// First phase. Needs the view. `bytes` that a client's version would bring
    /// are admitted here, before anything of it can have been accepted.
    Prepare {
        name: FileName,
        ballot: Ballot,
        #[serde(default)]
        bytes: u64,
    },
    /// Second phase. Needs the view.
    Accept {
        name: FileName,
        ballot: Ballot,
        value: Value,
        /// A client's new version, not one that is confirmed or brought over.
        #[serde(default)]
        client: bool,
    },
    /// The accepted ballot, with the value if asked for. Needs the view.
    Read { name: FileName, with_value: bool },
    /// The accepted ballots of several names. Needs the view.
    Ballots { names: Vec<FileName> },
    /// Registers in byte order of their names. Needs the view.
    Names {
        prefix: String,
        after: String,
        limit: u32,
    },
    /// Which of these chunks are whole on disk. Needs the view: an answer is a receipt.
    HasChunks { chunks: Vec<ChunkId> },
    /// Hold this chunk: fetch it from one of `sources` where it is missing. Needs
    /// the view: success is a receipt.
    Ensure {
        name: FileName,
        chunk: PlacedChunk,
        committed: bool,
        sources: Vec<Ordinal>,
    },
    /// These chunks belong to a committed version. A hint.
    Committed { chunks: Vec<ChunkId> },
    /// An upload of this name ended or was replaced: its chunks may be garbage.
    /// A hint: the holder finds out by itself.
    Reap { name: FileName, upload: UploadId },
    /// Whether this node, in this boot, still streams an upload.
    UploadActive { upload: UploadId, boot: u64 },
    /// Read a chunk from disk and check it.
    VerifyChunk { chunk: ChunkId },
    /// Whether this node sends the chunks of an upload to a client.
    Reading { upload: UploadId },
}

impl Request {
    /// Whether the receiver has to be at exactly the sender's view.
    pub fn needs_view(&self) -> bool {
        !matches!(
            self,
            Request::Committed { .. }
                | Request::Reap { .. }
                | Request::UploadActive { .. }
                | Request::VerifyChunk { .. }
                | Request::Reading { .. }
        )
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    Promise(Promise),
    Vote(Vote),
    Read {
        ballot: Option<Ballot>,
        value: Option<Value>,
    },
    Ballots(Vec<Option<Ballot>>),
    Names(NamesPage),
    Has(Vec<bool>),
    Active(bool),
    Checked(ChunkState),
    Done,
}

/// A page of one node's registers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NamesPage {
    pub names: Vec<NameEntry>,
    /// Whether there are more after the last of these.
    pub more: bool,
}

/// A register without its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameEntry {
    pub name: FileName,
    pub ballot: Ballot,
    /// `None`: deleted, or not committed.
    pub file: Option<NameFile>,
}

/// What a listing shows of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameFile {
    pub size: u64,
    pub etag: String,
    pub modified_ms: u64,
    pub content_type: Option<String>,
}

/// What became of a copy on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkState {
    Whole,
    Missing,
    Damaged,
}

/// Why a node did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("it is at view {0:?}")]
    OtherView(Option<ViewRef>),
    #[error("it is another disk: {0}")]
    OtherDisk(DiskId),
    #[error("it belongs to another cluster")]
    OtherCluster,
    #[error("it does not own that key in this view")]
    NotOwner,
    #[error("its disk is full")]
    Full,
    #[error("{0}")]
    Failed(String),
}

/// What goes back over the wire.
pub type Reply = Result<Answer, Refusal>;

/// The header of a chunk's upload, in `X-Chord-Chunk`, as hexadecimal MessagePack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChunkHeader {
    pub header: Header,
    pub name: FileName,
    pub chunk: PlacedChunk,
    pub committed: bool,
}
