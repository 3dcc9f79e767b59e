//! What a file is made of: its manifest, and the chunks that it names.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::blocks::Root;
use crate::id::Id;
use crate::name::FileName;
use crate::upload::{ChunkId, UploadId};

/// One chunk as a manifest lists it; its part is its place in the list, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Bytes.
    pub size: u32,
    /// What its blocks hash to.
    pub root: Root,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// In the manifest itself: small files.
    Inline(Bytes),
    /// In chunks of one upload.
    Chunks {
        /// The upload that wrote them.
        upload: UploadId,
        /// In the order of the file.
        chunks: Vec<ChunkRef>,
    },
}

/// One version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Counts the versions of this name; deletions count too.
    pub version: u64,
    /// The strong entity tag, without its quotes.
    pub etag: String,
    /// Bytes of the whole file.
    pub size: u64,
    /// Milliseconds since the Unix epoch, by the clock of the node that took the file; but
    /// in a later second than any earlier version of the name. Where a clock was ahead,
    /// or versions come fast, it may lie in the future: it is for comparing, and never
    /// shown to be later than now.
    pub modified_ms: u64,
    /// The media type, as the client said it.
    pub content_type: Option<String>,
    /// `X-Chord-Meta-*`: lower-case name after the prefix, and value.
    pub meta: Vec<(String, String)>,
    /// The contents, or the chunks that hold them.
    pub body: Body,
}

impl Manifest {
    /// The chunks of this file, each with its id and the key that places it.
    ///
    /// The only chunk of a one-chunk file is placed with its manifest, by the
    /// file's own key, so that a node that holds the file holds all of it.
    pub fn chunks<'a>(&'a self, name: &'a FileName) -> impl Iterator<Item = PlacedChunk> + 'a {
        let (upload, chunks): (UploadId, &[ChunkRef]) = match &self.body {
            Body::Inline(_) => (UploadId::from_bytes([0; 16]), &[]),
            Body::Chunks { upload, chunks } => (*upload, chunks),
        };
        let sole = chunks.len() == 1;
        chunks.iter().enumerate().map(move |(index, chunk)| {
            let id = ChunkId {
                upload,
                part: index as u32 + 1,
            };
            PlacedChunk {
                id,
                key: chunk_key(name, id, sole),
                size: chunk.size,
                root: chunk.root,
            }
        })
    }
}

/// The key that places a chunk; `sole` when its file has no other.
pub fn chunk_key(name: &FileName, id: ChunkId, sole: bool) -> Id {
    if sole {
        Id::of_file(name)
    } else {
        Id::of_part(name, id.part, &id.upload)
    }
}

/// A chunk with everything that is needed to find and check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedChunk {
    /// Its name.
    pub id: ChunkId,
    /// The key that places it.
    pub key: Id,
    /// Bytes.
    pub size: u32,
    /// What its blocks hash to.
    pub root: Root,
}
