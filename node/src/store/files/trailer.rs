//! The end of a file that says what the file is, so that a disk whose index is lost
//! can be understood.
//!
//! ```text
//! … ‖ trailer ‖ its length, u32 LE ‖ BLAKE3 of both ‖ magic
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::error::{StoreError, Why};
use crate::store::platform::OpenFile;

const MAGIC: [u8; 8] = *b"chord\0c1";
/// Length, hash and magic.
const END: u64 = 4 + 32 + 8;
/// No trailer is longer; a length beyond it is damage.
const TRAILER_MAX: u32 = 256 * 1024;

/// A self-describing end of a file.
pub(in crate::store) fn seal_trailer(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut out = rmp_serde::to_vec_named(value)
        .map_err(|e| StoreError::Internal(Why::new("encoding the end of a file", e)))?;
    out.extend_from_slice(&(out.len() as u32).to_le_bytes());
    let hash = blake3::hash(&out);
    out.extend_from_slice(hash.as_bytes());
    out.extend_from_slice(&MAGIC);
    Ok(out)
}

/// Reads a file's end; where it begins, and what it says. `None`: damaged.
pub(in crate::store) fn read_trailer<V: DeserializeOwned>(
    file: &dyn OpenFile,
    length: u64,
) -> std::io::Result<Option<(u64, V)>> {
    let Some(at) = length.checked_sub(END) else {
        return Ok(None);
    };
    let mut end = [0; END as usize];
    file.read_exact_at(&mut end, at)?;
    let (size, rest) = end.split_at(4);
    let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]);
    let (hash, magic) = rest.split_at(32);
    if magic != MAGIC || size > TRAILER_MAX {
        return Ok(None);
    }
    let Some(start) = at.checked_sub(u64::from(size)) else {
        return Ok(None);
    };
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, start)?;
    let mut whole = blake3::Hasher::new();
    whole.update(&bytes).update(&size.to_le_bytes());
    if whole.finalize().as_bytes().as_slice() != hash {
        return Ok(None);
    }
    Ok(rmp_serde::from_slice(&bytes)
        .ok()
        .map(|value| (start, value)))
}
