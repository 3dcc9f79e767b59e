//! Names of uploads, and of the chunks that they write.

use std::fmt;

use serde::{Deserialize, Serialize};

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
