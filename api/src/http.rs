//! The JSON of the client port.

use serde::{Deserialize, Serialize};

use chord_types::view::{Epoch, Ordinal};

/// `GET /files`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileList {
    /// In byte order of their names.
    pub files: Vec<FileEntry>,
    /// What names have in common up to the delimiter, each with it, in byte order.
    pub prefixes: Vec<String>,
    /// Goes back as `after`; null at the end.
    pub next: Option<String>,
}

/// A file in a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// In full.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// RFC 3339, UTC.
    pub modified: String,
    /// As it was given when the file was stored.
    pub content_type: Option<String>,
}

/// `GET /list_files`: what one node holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LocalFiles {
    /// `NAME`, `NAME-partN`, and files kept here, in byte order.
    pub files: Vec<String>,
    /// Goes back as `after`; absent at the end, and where no page was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `GET /file_exists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileExists {
    /// Whether this node holds it.
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
    /// Of the view that `owners` follows.
    pub epoch: Epoch,
}

/// `GET /ring`: this node's pointers, a virtual node each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RingState {
    /// The name of the node that answers.
    pub node: String,
    /// Of the view that it holds, if it holds one.
    pub epoch: Option<Epoch>,
    /// Its virtual nodes.
    pub vnodes: Vec<VnodeState>,
}

/// The pointers of one virtual node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VnodeState {
    /// 40 hexadecimal digits.
    pub id: String,
    /// `member` or `joining`.
    pub state: String,
    /// The virtual node before this one, where one is known.
    pub predecessor: Option<RingPeer>,
    /// The virtual nodes after this one, nearest first.
    pub successors: Vec<RingPeer>,
    /// Distinct fingers, nearest first.
    pub fingers: Vec<RingPeer>,
}

/// A virtual node, and the node it is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingPeer {
    /// 40 hexadecimal digits.
    pub id: String,
    /// The node's name.
    pub node: String,
}

/// `GET /where?name=`: where each piece of a file is kept, by the view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Where {
    /// The file's name.
    pub name: String,
    /// The version that is meant.
    pub version: u64,
    /// The manifest first, then every chunk that is placed by itself.
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
    /// The file's name.
    pub name: String,
    /// The version that was checked.
    pub version: u64,
    /// Bytes of the whole file.
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
    /// The name of the node that should have it.
    pub node: String,
    /// Its ordinal.
    pub ordinal: Ordinal,
    /// `ok`, `missing`, `damaged`, `stale` or `unreachable`.
    pub state: String,
}

/// `POST /cluster/scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleRequest {
    /// How many there shall be.
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
