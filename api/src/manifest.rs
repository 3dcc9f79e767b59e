//! What a file is made of: its manifest, and the chunks that it names.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::name::FileName;

/// Bytes of one block of a chunk: the unit in which checksums verify, so that a
/// range of a chunk can be checked without reading all of it.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// One upload of a file. Never used twice: a random UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId([u8; 16]);

impl UploadId {
    /// A new id that nobody has.
    pub fn random() -> UploadId {
        UploadId(*uuid::Uuid::new_v4().as_bytes())
    }
    /// From its bytes, as they stand on disk.
    pub const fn from_bytes(bytes: [u8; 16]) -> UploadId {
        UploadId(bytes)
    }
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({}…)", hex::encode(&self.0[..4]))
    }
}
impl std::str::FromStr for UploadId {
    type Err = String;
    fn from_str(text: &str) -> Result<UploadId, String> {
        let mut bytes = [0u8; 16];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| "an upload id is 32 hexadecimal digits".to_string())?;
        Ok(UploadId(bytes))
    }
}
impl Serialize for UploadId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            s.serialize_str(&self.to_string())
        } else {
            s.serialize_bytes(&self.0)
        }
    }
}
impl<'de> Deserialize<'de> for UploadId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<UploadId, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?
                .parse()
                .map_err(serde::de::Error::custom)
        } else {
            let bytes = serde_bytes::ByteBuf::deserialize(d)?;
            let array = <[u8; 16]>::try_from(bytes.as_ref())
                .map_err(|_| serde::de::Error::custom("an upload id is 16 bytes"))?;
            Ok(UploadId(array))
        }
    }
}

/// Names one chunk everywhere: the upload that wrote it and its part, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId {
    pub upload: UploadId,
    pub part: u32,
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.upload, self.part)
    }
}

/// The BLAKE3 hash over a chunk's block hashes (BLAKE3 of each
/// [`BLOCK_BYTES`]), in order: whoever holds this can verify any range.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Root(pub [u8; 32]);

impl Root {
    /// The root of a whole chunk, and its block hashes.
    pub fn of(payload: &[u8]) -> (Root, Vec<[u8; 32]>) {
        let blocks: Vec<[u8; 32]> = payload
            .chunks(BLOCK_BYTES)
            .map(|b| *blake3::hash(b).as_bytes())
            .collect();
        (Root::of_blocks(&blocks), blocks)
    }
    /// The root over block hashes.
    pub fn of_blocks(blocks: &[[u8; 32]]) -> Root {
        let mut hash = blake3::Hasher::new();
        for block in blocks {
            hash.update(block);
        }
        Root(*hash.finalize().as_bytes())
    }
}
impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({}…)", hex::encode(&self.0[..4]))
    }
}
impl std::str::FromStr for Root {
    type Err = String;
    fn from_str(text: &str) -> Result<Root, String> {
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| "a root is 64 hexadecimal digits".to_string())?;
        Ok(Root(bytes))
    }
}
impl Serialize for Root {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            s.serialize_str(&self.to_string())
        } else {
            s.serialize_bytes(&self.0)
        }
    }
}
impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Root, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?
                .parse()
                .map_err(serde::de::Error::custom)
        } else {
            let bytes = serde_bytes::ByteBuf::deserialize(d)?;
            let array = <[u8; 32]>::try_from(bytes.as_ref())
                .map_err(|_| serde::de::Error::custom("a root is 32 bytes"))?;
            Ok(Root(array))
        }
    }
}

/// One chunk as a manifest lists it; its part is its place in the list, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Bytes.
    pub size: u32,
    pub root: Root,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// In the manifest itself: small files.
    Inline(Bytes),
    /// In chunks of one upload.
    Chunks {
        upload: UploadId,
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
    /// Milliseconds since the Unix epoch, as the node saw it that took the file.
    pub modified_ms: u64,
    pub content_type: Option<String>,
    /// `X-Chord-Meta-*`: lower-case name after the prefix, and value.
    pub meta: Vec<(String, String)>,
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
    pub id: ChunkId,
    pub key: Id,
    /// Bytes.
    pub size: u32,
    pub root: Root,
}
