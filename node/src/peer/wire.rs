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

use super::error::Failure;
use chord_register::acceptor::{Promise, Vote};
use chord_register::{Ballot, Value};

/// The header of every request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The cluster that both belong to.
    pub cluster: ClusterUid,
    /// The view that the sender acts by.
    pub view: ViewRef,
    /// The disk that is meant.
    pub to: DiskId,
    /// The sender.
    pub from: Ordinal,
}

/// A request with its header.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Whom it is meant for, and by which view.
    pub header: Header,
    /// What is asked.
    pub request: Request,
}

/// What one node asks another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// First phase. Needs the view. `bytes` that a client's version would bring
    /// are admitted here, before anything of it can have been accepted.
    Prepare {
        /// The register.
        name: FileName,
        /// What is to be promised.
        ballot: Ballot,
        /// Bytes that a client brings; 0: none.
        #[serde(default)]
        bytes: u64,
    },
    /// Second phase. Needs the view.
    Accept {
        /// The register.
        name: FileName,
        /// What the value is proposed under.
        ballot: Ballot,
        /// The value.
        value: Value,
        /// A client's new version, not one that is confirmed or brought over.
        #[serde(default)]
        client: bool,
    },
    /// The accepted ballot, with the value if asked for. Needs the view.
    Read {
        /// The register.
        name: FileName,
        /// Whether the value is wanted, too.
        with_value: bool,
    },
    /// The accepted ballots of several names. Needs the view.
    Ballots {
        /// The registers.
        names: Vec<FileName>,
    },
    /// Registers in byte order of their names. Needs the view.
    Names {
        /// What the names begin with.
        prefix: String,
        /// The name that the page comes after; empty: none.
        after: String,
        /// The most names.
        limit: u32,
    },
    /// Which of these chunks are whole on disk. Needs the view: an answer is a receipt.
    HasChunks {
        /// Which.
        chunks: Vec<ChunkId>,
    },
    /// Hold this chunk: fetch it from one of `sources` where it is missing. Needs
    /// the view: success is a receipt.
    Ensure {
        /// The name of its file.
        name: FileName,
        /// The chunk.
        chunk: PlacedChunk,
        /// Whether its version is committed.
        committed: bool,
        /// Nodes that may have it, the best first.
        sources: Vec<Ordinal>,
    },
    /// These chunks belong to a committed version. A hint.
    Committed {
        /// Which.
        chunks: Vec<ChunkId>,
    },
    /// An upload of this name ended or was replaced: its chunks may be garbage.
    /// A hint: the holder finds out by itself.
    Reap {
        /// The name of the file.
        name: FileName,
        /// The upload.
        upload: UploadId,
    },
    /// Whether this node, in this boot, still streams an upload.
    UploadActive {
        /// The upload.
        upload: UploadId,
        /// The boot of the disk in which it began.
        boot: u64,
    },
    /// Read a chunk from disk and check it.
    VerifyChunk {
        /// Which.
        chunk: ChunkId,
    },
    /// Whether this node sends the chunks of an upload to a client.
    Reading {
        /// The upload.
        upload: UploadId,
    },
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
    /// To [`Request::Prepare`].
    Promise(Promise),
    /// To [`Request::Accept`].
    Vote(Vote),
    /// To [`Request::Read`].
    Read {
        /// `None`: nothing was accepted.
        ballot: Option<Ballot>,
        /// Where it was asked for.
        value: Option<Value>,
    },
    /// To [`Request::Ballots`], in the order of the names.
    Ballots(Vec<Option<Ballot>>),
    /// To [`Request::Names`].
    Names(NamesPage),
    /// To [`Request::HasChunks`], in the order of the chunks.
    Has(Vec<bool>),
    /// To [`Request::UploadActive`] and [`Request::Reading`].
    Active(bool),
    /// To [`Request::VerifyChunk`].
    Checked(ChunkState),
    /// To all others.
    Done,
}

/// A page of one node's registers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NamesPage {
    /// In byte order.
    pub names: Vec<NameEntry>,
    /// Whether there are more after the last of these.
    pub more: bool,
}

/// A register without its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameEntry {
    /// The name.
    pub name: FileName,
    /// What was accepted.
    pub ballot: Ballot,
    /// `None`: deleted, or not committed.
    pub file: Option<NameFile>,
}

/// What a listing shows of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameFile {
    /// Bytes.
    pub size: u64,
    /// Without its quotes.
    pub etag: String,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// The media type.
    pub content_type: Option<String>,
}

/// What became of a copy on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkState {
    /// All there, and right.
    Whole,
    /// Not there.
    Missing,
    /// There, and not what was written.
    Damaged,
}

/// Why a node did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// At this view, or at none.
    #[error("it is at view {0:?}")]
    OtherView(Option<ViewRef>),
    /// On this disk.
    #[error("it is another disk: {0}")]
    OtherDisk(DiskId),
    /// The sender belongs to another cluster.
    #[error("it belongs to another cluster")]
    OtherCluster,
    /// What is asked is not its business.
    #[error("it does not own that key in this view")]
    NotOwner,
    /// There is no room for it.
    #[error("its disk is full")]
    Full,
    /// It tried, and could not.
    #[error(transparent)]
    Failed(Failure),
}

/// What goes back over the wire.
pub type Reply = Result<Answer, Refusal>;

/// The header of a chunk's upload, in `X-Chord-Chunk`, as hexadecimal MessagePack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChunkHeader {
    /// Whom it is meant for, and by which view.
    pub header: Header,
    /// The name of its file.
    pub name: FileName,
    /// The chunk that follows.
    pub chunk: PlacedChunk,
    /// Whether its version is committed.
    pub committed: bool,
}
