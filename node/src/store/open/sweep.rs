//! What a start repairs: it brings files and index together again.
//!
//! A chunk's file without an entry was never acknowledged, and goes. An entry
//! without its file, or with a damaged one, is remembered as missing; the damaged
//! file stays, for it may have the last good blocks. Where the index itself cannot be
//! trusted (it is new, or was not synced) files speak for themselves instead: what
//! they are is what their own trailers say.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use chord_types::ChunkId;

use crate::store::chunk::file::{Health, describe, examine, id_of, path};
use crate::store::dropped::file as dropped;
use crate::store::engine::space::allocated;
use crate::store::error::{StoreError, failed};
use crate::store::meta::keys::{chunk_of, prefix_end, with_prefix};
use crate::store::meta::seal::unseal;
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::meta::txn::Txn;
use crate::store::platform::{FileSystem, How};
use crate::store::records::chunks::ChunkEntry;
use crate::store::types::{Dropped, DroppedId};

/// Whether the index knows what was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Index,
    /// Only files that prove whole count, whether indexed or not.
    Adopt,
}

/// Brings the files below one data folder and the index together.
pub(super) struct Sweep<'a, 't> {
    /// Where the files are.
    pub files: &'a dyn FileSystem,
    /// The data folder.
    pub dir: &'a Path,
    /// The index, about to be committed.
    pub txn: &'a mut Txn<'t>,
    /// What the index is worth.
    pub trust: Trust,
}

/// The greatest boot number that dropped files speak of.
pub(super) fn last_boot(on: &dyn FileSystem, dir: &Path) -> Result<u64, StoreError> {
    let files = files(on, &dir.join("dropped"))?;
    Ok(files
        .keys()
        .filter_map(|name| dropped::id_of(name))
        .map(|id| id.0 >> 32)
        .max()
        .unwrap_or(0))
}

/// The plain files of a folder and their lengths; a folder that is not there
/// has none.
fn files(on: &dyn FileSystem, folder: &Path) -> Result<BTreeMap<String, u64>, StoreError> {
    let entries = match on.list(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(failed("reading the folder", folder, e)),
    };
    let plain = entries.into_iter().filter(|entry| entry.stat.plain);
    Ok(plain
        .filter_map(|entry| Some((entry.name.into_string().ok()?, entry.stat.length)))
        .collect())
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

impl Sweep<'_, '_> {
    /// Repairs; gives what the files take.
    pub(super) fn run(mut self) -> Result<u64, StoreError> {
        self.empty_tmp()?;
        let mut bytes = 0;
        for first in 0..=u8::MAX {
            bytes += self.folder(first)?;
        }
        Ok(bytes + self.dropped()?)
    }

    fn delete(&self, path: &Path, why: &str) -> Result<(), StoreError> {
        tracing::info!("deleting {}: {why}", path.display());
        self.files
            .remove(path)
            .map_err(|e| failed("deleting", path, e))
    }

    fn empty_tmp(&self) -> Result<(), StoreError> {
        let tmp = self.dir.join("tmp");
        for name in files(self.files, &tmp)?.keys() {
            self.delete(&tmp.join(name), "its writing was broken off")?;
        }
        Ok(())
    }

    /// One of the 256 folders of chunks, so that memory stays small.
    fn folder(&mut self, first: u8) -> Result<u64, StoreError> {
        let mut indexed = entries(self.txn, T::Chunks, first)?;
        let missing = entries(self.txn, T::Missing, first)?;
        let folder = self.dir.join("chunks").join(format!("{first:02x}"));
        let mut bytes = 0;
        for (name, length) in files(self.files, &folder)? {
            let Some(id) = id_of(&name).filter(|id| id.upload.as_bytes()[0] == first) else {
                tracing::warn!(
                    "{} is not a chunk of ours; it is left alone",
                    folder.join(&name).display()
                );
                continue;
            };
            let at = path(self.dir, id);
            match (indexed.remove(&id), missing.get(&id), self.trust) {
                (Some(entry), _, Trust::Index) if entry.length == length => {}
                (Some(entry), _, _) => {
                    if !self.keep(&at, entry, length)? {
                        tracing::error!("{} is damaged and counts as missing", at.display());
                        self.txn.lose_chunk(id)?;
                    }
                }
                (None, Some(entry), _) => {
                    self.keep(&at, entry.clone(), length)?;
                }
                (None, None, Trust::Adopt) => self.adopt(&at, id, length)?,
                (None, None, Trust::Index) => {
                    self.delete(&at, "it was never acknowledged")?;
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
            self.txn.lose_chunk(id)?;
        }
        Ok(bytes)
    }

    /// Takes a known chunk (again) if all of its file is right.
    fn keep(&mut self, at: &Path, entry: ChunkEntry, length: u64) -> Result<bool, StoreError> {
        let file = self
            .files
            .open(at, How::Read)
            .map_err(|e| failed("opening", at, e))?;
        let entry = ChunkEntry { length, ..entry };
        match examine(&*file, &entry.meta, length) {
            Ok(Health::Whole) => self.txn.put_chunk(&entry).map(|()| true),
            Ok(Health::TailBroken) => {
                // Its payload is right: kept, and mended when it is next read.
                self.txn.put_chunk(&entry).map(|()| true)
            }
            Ok(Health::PayloadBroken) => Ok(false),
            Err(e) => {
                tracing::error!("{} cannot be read and counts as missing: {e}", at.display());
                self.txn.lose_chunk(entry.meta.id).map(|()| true)
            }
        }
    }

    /// Takes in a chunk that nobody knows, by what its file says and proves.
    fn adopt(&mut self, at: &Path, id: ChunkId, length: u64) -> Result<(), StoreError> {
        let io = |e: std::io::Error| failed("reading", at, e);
        let file = self.files.open(at, How::Read).map_err(io)?;
        let said = describe(&*file, length).map_err(io)?;
        let Some(meta) = said.filter(|meta| meta.id == id) else {
            tracing::error!(
                "{} is damaged; it is left for a person to look at",
                at.display()
            );
            return Ok(());
        };
        let health = examine(&*file, &meta, length).map_err(io)?;
        tracing::info!("taking in chunk {id} of {}: {health:?}", meta.name);
        let entry = ChunkEntry { meta, length };
        match health {
            Health::Whole | Health::TailBroken => self.txn.put_chunk(&entry),
            Health::PayloadBroken => self.txn.put_missing(&entry),
        }
    }

    /// The folder of dropped files.
    fn dropped(&mut self) -> Result<u64, StoreError> {
        let folder = self.dir.join("dropped");
        let mut known: BTreeMap<DroppedId, Dropped> = BTreeMap::new();
        self.txn.scan(
            T::Dropped,
            (Bound::Unbounded, Bound::Unbounded),
            &mut |key, record| {
                let dropped: Dropped = unseal(T::Dropped, key, record)?;
                known.insert(dropped.id, dropped);
                Ok(true)
            },
        )?;
        let mut bytes = 0;
        for (name, length) in files(self.files, &folder)? {
            let at = folder.join(&name);
            let Some(id) = dropped::id_of(&name) else {
                tracing::warn!(
                    "{} is not a dropped file of ours; it is left alone",
                    at.display()
                );
                continue;
            };
            if known.remove(&id).is_none() {
                let file = self
                    .files
                    .open(&at, How::Read)
                    .map_err(|e| failed("opening", &at, e))?;
                let said =
                    dropped::describe(&*file, length).map_err(|e| failed("reading", &at, e))?;
                match (self.trust, said.filter(|said| said.id == id)) {
                    (Trust::Adopt, Some(said)) => self.txn.put_dropped(&said)?,
                    (Trust::Adopt, None) => {
                        tracing::error!(
                            "{} is damaged; it is left for a person to look at",
                            at.display()
                        );
                    }
                    (Trust::Index, _) => {
                        self.delete(&at, "it was never acknowledged")?;
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
            self.txn.remove_dropped(id)?;
        }
        Ok(bytes)
    }
}
