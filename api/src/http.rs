//! The JSON of the client port.

use serde::{Deserialize, Serialize};

use chord_types::view::{Epoch, Ordinal};

/// `GET /files`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileList {
    pub files: Vec<FileEntry>,
    pub prefixes: Vec<String>,
    /// Goes back as `after`; null at the end.
    pub next: Option<String>,
}

/// A file in a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    pub name: String,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// RFC 3339, UTC.
    pub modified: String,
    pub content_type: Option<String>,
}

/// `GET /list_files`: what one node holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LocalFiles {
    pub files: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `GET /file_exists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileExists {
    pub file_exists: bool,
}

/// `GET /ring/successor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Successor {
    /// 40 hexadecimal digits.
    pub id: String,
    /// The node whose virtual node is the successor, as the ring found it.
    pub successor: String,
    /// The nodes that must hold the id, by the view, the primary first.
    pub owners: Vec<String>,
    /// The nodes that the look-up went through, this one first.
    pub path: Vec<String>,
    /// The virtual nodes that the look-up went through, and the successor. Older
    /// nodes leave them out where the ring had no answer and they gave the view's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<RingPeer>,
    pub epoch: Epoch,
}

/// `GET /ring`: this node's pointers, a virtual node each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RingState {
    pub node: String,
    pub epoch: Option<Epoch>,
    pub vnodes: Vec<VnodeState>,
}

/// The pointers of one virtual node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VnodeState {
    /// 40 hexadecimal digits.
    pub id: String,
    /// `member` or `joining`.
    pub state: String,
    pub predecessor: Option<RingPeer>,
    pub successors: Vec<RingPeer>,
    /// Distinct fingers, nearest first.
    pub fingers: Vec<RingPeer>,
}

/// A virtual node, and the node it is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingPeer {
    pub id: String,
    pub node: String,
}

/// `GET /where?name=`: where each piece of a file is kept, by the view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Where {
    pub name: String,
    pub version: u64,
    pub pieces: Vec<PlacedPiece>,
}

/// A piece of a file and the nodes that must hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacedPiece {
    /// `NAME` or `NAME-partN`.
    pub piece: String,
    /// Bytes.
    pub size: u64,
    /// The primary first.
    pub owners: Vec<String>,
}

/// `GET /verify?name=`: every copy of one file checked against its checksums.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    pub name: String,
    pub version: u64,
    pub size: u64,
    /// Every copy that should be there.
    pub copies: Vec<CopyCheck>,
    /// Whether all copies are whole.
    pub ok: bool,
}

/// One copy of one piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CopyCheck {
    /// `NAME` or `NAME-partN`.
    pub piece: String,
    /// Bytes.
    pub size: u64,
    pub node: String,
    pub ordinal: Ordinal,
    /// `ok`, `missing`, `damaged`, `stale` or `unreachable`.
    pub state: String,
}

/// `POST /cluster/scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleRequest {
    pub nodes: u32,
}

/// `POST /cluster/drain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRequest {
    /// The node's ordinal.
    pub ordinal: u32,
    /// False: takes the drain back.
    #[serde(default = "yes")]
    pub drain: bool,
}

/// `POST /cluster/replace`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceRequest {
    /// The disk to give up.
    pub disk: String,
    /// False: takes that back.
    #[serde(default = "yes")]
    pub replace: bool,
}

fn yes() -> bool {
    true
}
