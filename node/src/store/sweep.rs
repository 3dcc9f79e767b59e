//! What a start repairs: it brings files and index together again.
//!
//! A chunk's file without an entry was never acknowledged, and goes. An entry
//! without its file, or with a damaged one, is remembered as missing; the damaged
//! file stays, for it may have the last good blocks. Where the index itself cannot be
//! trusted (it is new, or was not synced) files speak for themselves instead: what
//! they are is what their own trailers say.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::path::Path;

use chord_types::ChunkId;

use super::chunk::file::{Health, describe, examine, id_of, path};
use super::dropped;
use super::file::failed;
use super::meta::{Source, T, chunk_of, prefix_end, unseal, with_prefix};
use super::open::at_open;
use super::records::ChunkEntry;
use super::space::allocated;
use super::txn::Txn;
use super::types::{Dropped, DroppedId, OpenError, StoreError};

/// Whether the index knows what was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Index,
    /// Only files that prove whole count, whether indexed or not.
    Adopt,
}

/// Repairs; gives what the files take.
pub(super) fn sweep(dir: &Path, txn: &mut Txn<'_>, trust: Trust) -> Result<u64, OpenError> {
    let done = empty_tmp(dir).and_then(|()| {
        let mut bytes = 0;
        for first in 0..=u8::MAX {
            bytes += sweep_folder(dir, txn, trust, first)?;
        }
        Ok(bytes + sweep_dropped(dir, txn, trust)?)
    });
    done.map_err(|e| at_open(dir, e))
}

/// The greatest boot number that dropped files speak of.
pub(super) fn last_boot(dir: &Path) -> Result<u64, OpenError> {
    let files = files(&dir.join("dropped")).map_err(|e| at_open(dir, e))?;
    Ok(files
        .keys()
        .filter_map(|name| dropped::id_of(name))
        .map(|id| id.0 >> 32)
        .max()
        .unwrap_or(0))
}

/// The plain files of a folder and their lengths; a folder that is not there
/// has none.
fn files(folder: &Path) -> Result<BTreeMap<String, u64>, StoreError> {
    let io = |e: std::io::Error| failed("reading the folder", folder, &e);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(io(e)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        let meta = entry.metadata().map_err(io)?;
        if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
            found.insert(name, meta.len());
        }
    }
    Ok(found)
}

fn delete(path: &Path, why: &str) -> Result<(), StoreError> {
    tracing::info!("deleting {}: {why}", path.display());
    std::fs::remove_file(path).map_err(|e| failed("deleting", path, &e))
}

fn empty_tmp(dir: &Path) -> Result<(), StoreError> {
    let tmp = dir.join("tmp");
    for name in files(&tmp)?.keys() {
        delete(&tmp.join(name), "its writing was broken off")?;
    }
    Ok(())
}

/// The entries of one folder of chunks.
fn entries(
    txn: &Txn<'_>,
    table: T,
    first: u8,
) -> Result<BTreeMap<ChunkId, ChunkEntry>, StoreError> {
    let prefix = [first];
    let end = prefix_end(&prefix);
    let mut found = BTreeMap::new();
    txn.scan(
        table,
        with_prefix(&prefix, None, end.as_deref()),
        &mut |key, record| {
            found.insert(chunk_of(key)?, unseal(table, key, record)?);
            Ok(true)
        },
    )?;
    Ok(found)
}

/// One of the 256 folders of chunks, so that memory stays small.
fn sweep_folder(dir: &Path, txn: &mut Txn<'_>, trust: Trust, first: u8) -> Result<u64, StoreError> {
    let mut indexed = entries(txn, T::Chunks, first)?;
    let missing = entries(txn, T::Missing, first)?;
    let folder = dir.join("chunks").join(format!("{first:02x}"));
    let mut bytes = 0;
    for (name, length) in files(&folder)? {
        let Some(id) = id_of(&name).filter(|id| id.upload.as_bytes()[0] == first) else {
            tracing::warn!(
                "{} is not a chunk of ours; it is left alone",
                folder.join(&name).display()
            );
            continue;
        };
        let at = path(dir, id);
        match (indexed.remove(&id), missing.get(&id), trust) {
            (Some(entry), _, Trust::Index) if entry.length == length => {}
            (Some(entry), _, _) => {
                if !keep(txn, &at, entry, length)? {
                    tracing::error!("{} is damaged and counts as missing", at.display());
                    txn.lose_chunk(id)?;
                }
            }
            (None, Some(entry), _) => {
                keep(txn, &at, entry.clone(), length)?;
            }
            (None, None, Trust::Adopt) => adopt(txn, &at, id, length)?,
            (None, None, Trust::Index) => {
                delete(&at, "it was never acknowledged")?;
                continue;
            }
        }
        bytes += allocated(length);
    }
    for (id, entry) in indexed {
        tracing::error!(
            "chunk {id} of {} counts as missing: its file is gone",
            entry.meta.name
        );
        txn.lose_chunk(id)?;
    }
    Ok(bytes)
}

/// Takes a known chunk (again) if all of its file is right.
fn keep(txn: &mut Txn<'_>, at: &Path, entry: ChunkEntry, length: u64) -> Result<bool, StoreError> {
    let file = File::open(at).map_err(|e| failed("opening", at, &e))?;
    let entry = ChunkEntry { length, ..entry };
    match examine(&file, &entry.meta, length) {
        Ok(Health::Whole) => txn.put_chunk(&entry).map(|()| true),
        Ok(Health::TailBroken) => {
            // Its payload is right: kept, and mended when it is next read.
            txn.put_chunk(&entry).map(|()| true)
        }
        Ok(Health::PayloadBroken) => Ok(false),
        Err(e) => {
            tracing::error!("{} cannot be read and counts as missing: {e}", at.display());
            txn.lose_chunk(entry.meta.id).map(|()| true)
        }
    }
}

/// Takes in a chunk that nobody knows, by what its file says and proves.
fn adopt(txn: &mut Txn<'_>, at: &Path, id: ChunkId, length: u64) -> Result<(), StoreError> {
    let io = |e: std::io::Error| failed("reading", at, &e);
    let file = File::open(at).map_err(io)?;
    let said = describe(&file, length).map_err(io)?;
    let Some(meta) = said.filter(|meta| meta.id == id) else {
        tracing::error!(
            "{} is damaged; it is left for a person to look at",
            at.display()
        );
        return Ok(());
    };
    let health = examine(&file, &meta, length).map_err(io)?;
    tracing::info!("taking in chunk {id} of {}: {health:?}", meta.name);
    let entry = ChunkEntry { meta, length };
    match health {
        Health::Whole | Health::TailBroken => txn.put_chunk(&entry),
        Health::PayloadBroken => txn.put_missing(&entry),
    }
}

fn sweep_dropped(dir: &Path, txn: &mut Txn<'_>, trust: Trust) -> Result<u64, StoreError> {
    let folder = dir.join("dropped");
    let mut known: BTreeMap<DroppedId, Dropped> = BTreeMap::new();
    txn.scan(
        T::Dropped,
        (Bound::Unbounded, Bound::Unbounded),
        &mut |key, record| {
            let dropped: Dropped = unseal(T::Dropped, key, record)?;
            known.insert(dropped.id, dropped);
            Ok(true)
        },
    )?;
    let mut bytes = 0;
    for (name, length) in files(&folder)? {
        let at = folder.join(&name);
        let Some(id) = dropped::id_of(&name) else {
            tracing::warn!(
                "{} is not a dropped file of ours; it is left alone",
                at.display()
            );
            continue;
        };
        if known.remove(&id).is_none() {
            let file = File::open(&at).map_err(|e| failed("opening", &at, &e))?;
            let said = dropped::describe(&file, length).map_err(|e| failed("reading", &at, &e))?;
            match (trust, said.filter(|said| said.id == id)) {
                (Trust::Adopt, Some(said)) => txn.put_dropped(&said)?,
                (Trust::Adopt, None) => {
                    tracing::error!(
                        "{} is damaged; it is left for a person to look at",
                        at.display()
                    );
                }
                (Trust::Index, _) => {
                    delete(&at, "it was never acknowledged")?;
                    continue;
                }
            }
        }
        bytes += allocated(length);
    }
    for (id, dropped) in known {
        tracing::error!(
            "the dropped file {id} ({}) is gone from {}",
            dropped.name,
            folder.display()
        );
        txn.remove_dropped(id)?;
    }
    Ok(bytes)
}
