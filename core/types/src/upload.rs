//! Names of uploads, and of the chunks that they write.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hexadecimal::in_hexadecimal;

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

in_hexadecimal!(UploadId, 16, short: "Upload", what: "an upload id");

/// Names one chunk everywhere: the upload that wrote it and its part, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId {
    /// The upload that wrote it.
    pub upload: UploadId,
    /// Its place in the file, from 1.
    pub part: u32,
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.upload, self.part)
    }
}
