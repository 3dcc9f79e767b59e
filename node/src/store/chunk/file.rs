//! A chunk's file: the payload, the hash of each block, and a trailer that says
//! what this is, so that a disk whose index is lost can be understood.
//!
//! ```text
//! payload ‖ 32 bytes a block ‖ trailer ‖ its length, u32 LE ‖ BLAKE3 of both ‖ magic
//! ```

use std::path::{Path, PathBuf};

use chord_types::blocks::{BLOCK_BYTES, BlockHasher, Root};
use chord_types::{ChunkId, FileName, Id};
use serde::{Deserialize, Serialize};

use crate::store::error::StoreError;
use crate::store::files::trailer::{read_trailer, seal_trailer};
use crate::store::platform::OpenFile;
use crate::store::types::{ChunkMeta, MAX_CHUNK_BYTES};

const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Trailer {
    format: u8,
    id: ChunkId,
    name: FileName,
    key: Id,
    size: u32,
    root: Root,
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
pub(in crate::store) fn describe(
    file: &dyn OpenFile,
    length: u64,
) -> std::io::Result<Option<ChunkMeta>> {
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

/// Reads and checks the block hashes; `None`: they are not those of the root.
pub(super) fn read_hashes(
    file: &dyn OpenFile,
    meta: &ChunkMeta,
) -> std::io::Result<Option<Vec<[u8; 32]>>> {
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
    file: &dyn OpenFile,
    meta: &ChunkMeta,
    length: u64,
) -> std::io::Result<Health> {
    let found = file.stat()?.length;
    if found < u64::from(meta.size) {
        return Ok(Health::PayloadBroken);
    }
    let mut blocks = BlockHasher::default();
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
