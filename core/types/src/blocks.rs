//! How a chunk is checked: in blocks, so that a range of it verifies alone.
//! The one place that hashes blocks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of one block of a chunk: the unit in which checksums verify, so that a
/// range of a chunk can be checked without reading all of it.
pub const BLOCK_BYTES: usize = 64 * 1024;

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
