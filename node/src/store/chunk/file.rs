//! A chunk's file: the payload, the hash of each block, and a trailer that says
//! what this is, so that a disk whose index is lost can be understood.
//!
//! ```text
//! payload ‖ 32 bytes a block ‖ trailer ‖ its length, u32 LE ‖ BLAKE3 of both ‖ magic
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chord_types::blocks::{BLOCK_BYTES, Root};
use chord_types::{ChunkId, FileName, Id};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::types::{ChunkMeta, MAX_CHUNK_BYTES, StoreError};

const FORMAT: u8 = 1;
const MAGIC: [u8; 8] = *b"chord\0c1";
/// Length, hash and magic.
const END: u64 = 4 + 32 + 8;
/// No trailer is longer; a length beyond it is damage.
const TRAILER_MAX: u32 = 256 * 1024;

#[derive(Serialize, Deserialize)]
struct Trailer {
    format: u8,
    id: ChunkId,
    name: FileName,
    key: Id,
    size: u32,
    root: Root,
}

/// A self-describing end of a file.
pub(in crate::store) fn seal_trailer(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut out = rmp_serde::to_vec_named(value)
        .map_err(|e| StoreError::Refused(format!("encoding the end of a file: {e}")))?;
    out.extend_from_slice(&(out.len() as u32).to_le_bytes());
    let hash = blake3::hash(&out);
    out.extend_from_slice(hash.as_bytes());
    out.extend_from_slice(&MAGIC);
    Ok(out)
}

/// Reads a file's end; where it begins, and what it says. `None`: damaged.
pub(in crate::store) fn read_trailer<V: DeserializeOwned>(
    file: &File,
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

/// The end of a chunk's file, behind the block hashes.
pub(super) fn trailer(meta: &ChunkMeta) -> Result<Vec<u8>, StoreError> {
    seal_trailer(&Trailer {
        format: FORMAT,
        id: meta.id,
        name: meta.name.clone(),
        key: meta.key,
        size: meta.size,
        root: meta.root,
    })
}

/// What a chunk's file says of itself; nothing of its payload has been checked.
pub(in crate::store) fn describe(file: &File, length: u64) -> std::io::Result<Option<ChunkMeta>> {
    let Some((start, t)) = read_trailer::<Trailer>(file, length)? else {
        return Ok(None);
    };
    let meta = ChunkMeta {
        id: t.id,
        name: t.name,
        key: t.key,
        size: t.size,
        root: t.root,
        committed: false,
    };
    let fits = t.format == FORMAT && t.size <= MAX_CHUNK_BYTES && start == table_end(&meta);
    Ok(fits.then_some(meta))
}

fn table_end(meta: &ChunkMeta) -> u64 {
    u64::from(meta.size) + 32 * u64::from(meta.blocks())
}

/// Below `chunks/`, spread over 256 folders by the upload's first byte.
pub(in crate::store) fn path(dir: &Path, id: ChunkId) -> PathBuf {
    dir.join("chunks")
        .join(format!("{:02x}", id.upload.as_bytes()[0]))
        .join(id.to_string())
}

/// The chunk that a file's name speaks of.
pub(in crate::store) fn id_of(file_name: &str) -> Option<ChunkId> {
    let (upload, part) = file_name.split_once('-')?;
    let id = ChunkId {
        upload: upload.parse().ok()?,
        part: part.parse().ok()?,
    };
    (id.to_string() == file_name).then_some(id)
}

/// Hashes blocks as the bytes go by.
#[derive(Default)]
pub(super) struct Blocks {
    hashes: Vec<[u8; 32]>,
    /// The block that is not full yet.
    open: blake3::Hasher,
    filled: usize,
}

impl Blocks {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filled));
            self.open.update(now);
            self.filled += now.len();
            if self.filled == BLOCK_BYTES {
                self.close();
            }
            bytes = rest;
        }
    }

    fn close(&mut self) {
        self.hashes.push(*self.open.finalize().as_bytes());
        self.open.reset();
        self.filled = 0;
    }

    pub(super) fn finish(mut self) -> Vec<[u8; 32]> {
        if self.filled > 0 {
            self.close();
        }
        self.hashes
    }
}

/// Reads and checks the block hashes; `None`: they are not those of the root.
pub(super) fn read_hashes(file: &File, meta: &ChunkMeta) -> std::io::Result<Option<Vec<[u8; 32]>>> {
    let mut table = vec![0; meta.blocks() as usize * 32];
    file.read_exact_at(&mut table, u64::from(meta.size))?;
    let (hashes, _) = table.as_chunks::<32>();
    let hashes = hashes.to_vec();
    Ok((Root::of_blocks(&hashes) == meta.root).then_some(hashes))
}

/// What a file on the disk is worth.
#[derive(Debug)]
pub(in crate::store) enum Health {
    Whole,
    /// The payload is right; what stands behind it is not.
    TailBroken,
    PayloadBroken,
}

/// Reads all of a chunk's file.
pub(in crate::store) fn examine(
    file: &File,
    meta: &ChunkMeta,
    length: u64,
) -> std::io::Result<Health> {
    let found = file.metadata()?.len();
    if found < u64::from(meta.size) {
        return Ok(Health::PayloadBroken);
    }
    let mut blocks = Blocks::default();
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut at = 0;
    while at < u64::from(meta.size) {
        let now = (u64::from(meta.size) - at).min(BLOCK_BYTES as u64) as usize;
        file.read_exact_at(&mut buffer[..now], at)?;
        blocks.update(&buffer[..now]);
        at += now as u64;
    }
    let hashes = blocks.finish();
    if Root::of_blocks(&hashes) != meta.root {
        return Ok(Health::PayloadBroken);
    }
    if found != length || read_hashes(file, meta)?.is_none() {
        return Ok(Health::TailBroken);
    }
    let said = describe(file, found)?;
    let right = said.is_some_and(|said| {
        ChunkMeta {
            committed: meta.committed,
            ..said
        } == *meta
    });
    Ok(if right {
        Health::Whole
    } else {
        Health::TailBroken
    })
}
