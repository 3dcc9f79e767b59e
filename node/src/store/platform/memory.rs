//! A file system in memory that keeps account of what is done to it.
//!
//! Names and files are apart, as in Unix: a file that was renamed or removed lives
//! on for whoever has it open. Room is given out by units, and files have holes. What
//! would be left after a crash is not modelled, but the account has all that such a
//! model needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chord_types::DiskId;
use parking_lot::Mutex;

use super::files::{Entry, FileSystem, How, OpenFile, Room, Stat};
use super::{NoThreads, Platform};

/// In which room is given out.
const UNIT: u64 = 4096;

/// One change, or a sync. A file is named as it was when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Change {
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    SetLen(PathBuf, u64),
    Allocate(PathBuf, u64, u64),
    SyncData(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    MakeFolder(PathBuf),
    SyncFolder(PathBuf),
    SyncAll,
}

/// The file system. Clones are the same one.
#[derive(Clone, Debug)]
pub(in crate::store) struct MemoryFiles(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    files: BTreeMap<PathBuf, Arc<Mutex<Inode>>>,
    folders: BTreeSet<PathBuf>,
    total: u64,
    /// What others have taken.
    others: u64,
    /// Room that is not there and not told of: others' quota is not ours to see.
    untold: u64,
    /// How often others are faster with room that a file gives back.
    greedy: u32,
    /// Identities given out.
    disks: u128,
    changes: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    /// The units that it has been given; the others are holes.
    taken: BTreeSet<u64>,
    locked: bool,
}

impl Inode {
    fn allocated(&self) -> u64 {
        self.taken.len() as u64 * UNIT
    }

    /// The units between two places.
    fn units(from: u64, upto: u64) -> std::ops::Range<u64> {
        from / UNIT..upto.div_ceil(UNIT)
    }

    /// Room that it needs to have all of these.
    fn lacks(&self, units: std::ops::Range<u64>) -> u64 {
        units.filter(|unit| !self.taken.contains(unit)).count() as u64 * UNIT
    }

    fn stat(&self) -> Stat {
        Stat {
            plain: true,
            length: self.bytes.len() as u64,
            allocated: self.allocated(),
        }
    }
}

impl State {
    fn free(&self) -> u64 {
        let files = self.files.values().map(|file| file.lock().allocated());
        let files: u64 = files.sum();
        self.total.saturating_sub(files + self.others)
    }

    fn file(&self, path: &Path) -> Result<&Arc<Mutex<Inode>>> {
        self.files
            .get(path)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn folder_of(&self, path: &Path) -> Result<()> {
        match path.parent() {
            Some(folder) if self.folders.contains(folder) => Ok(()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }
}

impl MemoryFiles {
    /// An empty one with so much room.
    pub(in crate::store) fn new(total: u64) -> MemoryFiles {
        MemoryFiles(Arc::new(Mutex::new(State {
            files: BTreeMap::new(),
            folders: BTreeSet::from([PathBuf::from("/")]),
            total,
            others: 0,
            untold: 0,
            greedy: 0,
            disks: 0,
            changes: Vec::new(),
        })))
    }

    /// With everything on the thread of whoever asks.
    pub(in crate::store) fn platform(&self) -> Platform {
        Platform {
            files: Arc::new(self.clone()),
            threads: Arc::new(NoThreads),
        }
    }

    /// Others take all but so many bytes of what is free.
    pub(in crate::store) fn others_leave(&self, bytes: u64) {
        let mut state = self.0.lock();
        let free = state.free();
        state.others += free.saturating_sub(bytes);
    }

    /// Others give back all that they have.
    pub(in crate::store) fn others_go(&self) {
        let mut state = self.0.lock();
        (state.others, state.untold) = (0, 0);
    }

    /// A quota leaves so many bytes, whatever the file system says to be free.
    pub(in crate::store) fn set_quota(&self, leaves: u64) {
        let mut state = self.0.lock();
        state.untold = state.free().saturating_sub(leaves);
    }

    /// So often others are faster with room that a file gives back.
    pub(in crate::store) fn set_greedy(&self, times: u32) {
        self.0.lock().greedy = times;
    }

    /// The file system as it is, with nothing of it open.
    pub(in crate::store) fn copy(&self) -> MemoryFiles {
        let mut state = self.0.lock().clone();
        for file in state.files.values_mut() {
            let mut inode = file.lock().clone();
            inode.locked = false;
            *file = Arc::new(Mutex::new(inode));
        }
        MemoryFiles(Arc::new(Mutex::new(state)))
    }

    /// What was done since this was last asked.
    pub(in crate::store) fn changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.0.lock().changes)
    }
}

impl FileSystem for MemoryFiles {
    fn open(&self, path: &Path, how: How) -> Result<Box<dyn OpenFile>> {
        let mut state = self.0.lock();
        state.folder_of(path)?;
        let inode = match (state.files.get(path), how) {
            (Some(_), How::New) => return Err(ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => inode.clone(),
            (None, How::Read) => return Err(ErrorKind::NotFound.into()),
            (None, _) => {
                let inode = Arc::new(Mutex::new(Inode::default()));
                state.files.insert(path.to_path_buf(), inode.clone());
                state.changes.push(Change::Create(path.to_path_buf()));
                inode
            }
        };
        Ok(Box::new(MemoryFile {
            files: self.clone(),
            path: path.to_path_buf(),
            inode,
            locks: Mutex::new(false),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.0.lock();
        state.folder_of(to)?;
        let inode = state.file(from)?.clone();
        state.files.remove(from);
        state.files.insert(to.to_path_buf(), inode);
        let change = Change::Rename(from.to_path_buf(), to.to_path_buf());
        state.changes.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.0.lock();
        state.file(path)?;
        state.files.remove(path);
        state.changes.push(Change::Remove(path.to_path_buf()));
        Ok(())
    }

    fn stat(&self, path: &Path) -> Result<Stat> {
        let state = self.0.lock();
        if state.folders.contains(path) {
            return Ok(Stat {
                plain: false,
                length: 0,
                allocated: 0,
            });
        }
        let stat = state.file(path)?.lock().stat();
        Ok(stat)
    }

    fn list(&self, folder: &Path) -> Result<Vec<Entry>> {
        let state = self.0.lock();
        if !state.folders.contains(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let files = state.files.iter();
        Ok(files
            .filter(|(path, _)| path.parent() == Some(folder))
            .filter_map(|(path, inode)| {
                Some(Entry {
                    name: path.file_name()?.to_os_string(),
                    stat: inode.lock().stat(),
                })
            })
            .collect())
    }

    fn make_folder(&self, folder: &Path) -> Result<()> {
        let mut state = self.0.lock();
        for folder in folder.ancestors() {
            if state.folders.insert(folder.to_path_buf()) {
                state.changes.push(Change::MakeFolder(folder.to_path_buf()));
            }
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        let mut state = self.0.lock();
        state.changes.push(Change::SyncFolder(folder.to_path_buf()));
        Ok(())
    }

    fn sync_all(&self, _: &Path) -> Result<()> {
        self.0.lock().changes.push(Change::SyncAll);
        Ok(())
    }

    fn room(&self, _: &Path) -> Result<Room> {
        let state = self.0.lock();
        Ok(Room {
            total: state.total,
            free: state.free(),
        })
    }

    fn device(&self, _: &Path) -> Result<String> {
        Ok("memory".into())
    }

    fn new_disk(&self) -> DiskId {
        let mut state = self.0.lock();
        state.disks += 1;
        DiskId(uuid::Uuid::from_u128(state.disks))
    }
}

#[derive(Debug)]
struct MemoryFile {
    files: MemoryFiles,
    path: PathBuf,
    inode: Arc<Mutex<Inode>>,
    /// Whether this open file has the lock.
    locks: Mutex<bool>,
}

impl MemoryFile {
    /// Makes the change if there is room for what it takes more.
    fn change(&self, change: Change, make: impl FnOnce(&mut Inode)) -> Result<()> {
        let mut state = self.files.0.lock();
        let free = state.free();
        let mut inode = self.inode.lock();
        let units = match &change {
            Change::Write(_, at, bytes) => Inode::units(*at, at + bytes.len() as u64),
            Change::Allocate(_, from, upto) => Inode::units(*from, *upto),
            _ => 0..0,
        };
        let needed = inode.lacks(units.clone());
        if needed > free {
            return Err(ErrorKind::StorageFull.into());
        }
        if needed > free.saturating_sub(state.untold) {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        let before = inode.allocated();
        make(&mut inode);
        inode.taken.extend(units);
        let given = before.saturating_sub(inode.allocated());
        if given > 0 && state.greedy > 0 {
            state.greedy -= 1;
            state.others += given;
        }
        state.changes.push(change);
        Ok(())
    }
}

impl OpenFile for MemoryFile {
    fn stat(&self) -> Result<Stat> {
        Ok(self.inode.lock().stat())
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        let inode = self.inode.lock();
        let found = inode.bytes.get(at as usize..at as usize + buffer.len());
        let found = found.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        let change = Change::Write(self.path.clone(), at, bytes.to_vec());
        self.change(change, |inode| {
            let at = at as usize;
            let length = inode.bytes.len().max(at + bytes.len());
            inode.bytes.resize(length, 0);
            inode.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        })
    }

    fn set_len(&self, length: u64) -> Result<()> {
        self.change(Change::SetLen(self.path.clone(), length), |inode| {
            inode.bytes.resize(length as usize, 0);
            drop(inode.taken.split_off(&length.div_ceil(UNIT)));
        })
    }

    fn allocate(&self, from: u64, upto: u64) -> Result<()> {
        self.change(Change::Allocate(self.path.clone(), from, upto), |_| {})
    }

    fn sync_data(&self) -> Result<()> {
        self.change(Change::SyncData(self.path.clone()), |_| {})
    }

    fn try_lock(&self) -> Result<bool> {
        let mut locks = self.locks.lock();
        let mut inode = self.inode.lock();
        if inode.locked && !*locks {
            return Ok(false);
        }
        inode.locked = true;
        *locks = true;
        Ok(true)
    }

    fn unlock(&self) -> Result<()> {
        let mut locks = self.locks.lock();
        if std::mem::take(&mut *locks) {
            self.inode.lock().locked = false;
        }
        Ok(())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        drop(self.unlock());
    }
}
