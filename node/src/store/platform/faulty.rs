//! This machine's file system with faults that a test switches on and off.

use std::io::Result;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chord_types::DiskId;
use parking_lot::Mutex;

use super::Platform;
use super::files::{Entry, FileSystem, How, OpenFile, Room, Stat};
use super::real::{RealFiles, RealThreads};

/// What is wrong with a file system. Clones are the same switches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    free: Option<u64>,
    unreadable: Option<String>,
    unseen: Option<String>,
    syncs_fail: bool,
    syncs: usize,
}

impl Faults {
    /// This machine, with these faults.
    pub(crate) fn platform(&self) -> Platform {
        Platform {
            files: Arc::new(FaultyFiles(self.clone())),
            threads: Arc::new(RealThreads),
        }
    }

    /// So many bytes are free, whatever is so.
    pub(crate) fn set_free(&self, bytes: Option<u64>) {
        self.0.lock().free = bytes;
    }

    /// The disk cannot read a file of this name.
    pub(crate) fn set_unreadable(&self, name: Option<String>) {
        self.0.lock().unreadable = name;
    }

    /// Whether a file of this name is there cannot be told.
    pub(in crate::store) fn set_unseen(&self, name: Option<String>) {
        self.0.lock().unseen = name;
    }

    /// Syncs of files fail.
    pub(in crate::store) fn set_syncs_fail(&self, fail: bool) {
        self.0.lock().syncs_fail = fail;
    }

    /// How often a file has been synced.
    pub(in crate::store) fn syncs(&self) -> usize {
        self.0.lock().syncs
    }

    fn readable(&self, path: &Path) -> Result<()> {
        unless_named(path, &self.0.lock().unreadable)
    }
}

/// An error of the disk for a file of this name.
fn unless_named(path: &Path, bad: &Option<String>) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy());
    match (bad, name) {
        (Some(bad), Some(name)) if *bad == *name => Err(rustix::io::Errno::IO.into()),
        _ => Ok(()),
    }
}

#[derive(Debug)]
struct FaultyFiles(Faults);

impl FileSystem for FaultyFiles {
    fn open(&self, path: &Path, how: How) -> Result<Box<dyn OpenFile>> {
        Ok(Box::new(FaultyFile {
            file: RealFiles.open(path, how)?,
            path: path.to_path_buf(),
            faults: self.0.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        RealFiles.remove(path)
    }

    fn stat(&self, path: &Path) -> Result<Stat> {
        unless_named(path, &self.0.0.lock().unseen)?;
        RealFiles.stat(path)
    }

    fn list(&self, folder: &Path) -> Result<Vec<Entry>> {
        RealFiles.list(folder)
    }

    fn make_folder(&self, folder: &Path) -> Result<()> {
        RealFiles.make_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        RealFiles.sync_folder(folder)
    }

    fn sync_all(&self, folder: &Path) -> Result<()> {
        RealFiles.sync_all(folder)
    }

    fn room(&self, folder: &Path) -> Result<Room> {
        let room = RealFiles.room(folder)?;
        let free = self.0.0.lock().free.unwrap_or(room.free);
        Ok(Room { free, ..room })
    }

    fn device(&self, folder: &Path) -> Result<String> {
        RealFiles.device(folder)
    }

    fn new_disk(&self) -> DiskId {
        RealFiles.new_disk()
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn OpenFile>,
    path: PathBuf,
    faults: Faults,
}

impl OpenFile for FaultyFile {
    fn stat(&self) -> Result<Stat> {
        self.file.stat()
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.faults.readable(&self.path)?;
        self.file.read_exact_at(buffer, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn set_len(&self, length: u64) -> Result<()> {
        self.file.set_len(length)
    }

    fn allocate(&self, from: u64, upto: u64) -> Result<()> {
        self.file.allocate(from, upto)
    }

    fn sync_data(&self) -> Result<()> {
        {
            let mut state = self.faults.0.lock();
            state.syncs += 1;
            if state.syncs_fail {
                return Err(std::io::Error::other("told to fail"));
            }
        }
        self.file.sync_data()
    }

    fn try_lock(&self) -> Result<bool> {
        self.file.try_lock()
    }

    fn unlock(&self) -> Result<()> {
        self.file.unlock()
    }
}
