//! A file system, as far as the store uses one.
//!
//! Calls block. Errors are those of the operating system, with its error numbers
//! where they matter: no room, not found, and what a disk says that cannot read.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::Result;
use std::path::Path;

use chord_types::DiskId;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// To be read; it is there.
    Read,
    /// To be read and written; made empty where it is not there.
    Write,
    /// To be read and written; it must not be there before.
    New,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Whether it is a plain file.
    pub plain: bool,
    /// Bytes, holes included.
    pub length: u64,
    /// Bytes that the file system has given to it.
    pub allocated: u64,
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the folder.
    pub name: OsString,
    /// What is known of it.
    pub stat: Stat,
}

/// The room of a file system at one moment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub total: u64,
    /// What may still be written by those without privileges.
    pub free: u64,
}

/// A file system. What one of its calls has changed is durable after the sync that
/// speaks of it, and not before: of a file [`OpenFile::sync_data`], of names
/// [`FileSystem::sync_folder`].
pub trait FileSystem: Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, how: How) -> Result<Box<dyn OpenFile>>;

    /// Gives a file another name, in one step, over what has that name.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Takes a file's name away.
    fn remove(&self, path: &Path) -> Result<()>;

    /// What is known of a file or folder.
    fn stat(&self, path: &Path) -> Result<Stat>;

    /// What is in a folder, in no order.
    fn list(&self, folder: &Path) -> Result<Vec<Entry>>;

    /// Makes a folder and those above it, where they are not there.
    fn make_folder(&self, folder: &Path) -> Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> Result<()>;

    /// Makes all of the file system durable on which a folder is.
    fn sync_all(&self, folder: &Path) -> Result<()>;

    /// The room of the file system on which a folder is.
    fn room(&self, folder: &Path) -> Result<Room>;

    /// Names the device below a folder: the same for two nodes on one device, and
    /// not the same on different machines.
    fn device(&self, folder: &Path) -> Result<String>;

    /// An identity for a new disk, which no other disk has.
    fn new_disk(&self) -> DiskId;
}

/// An open file. Closed when dropped, and its lock is let go.
pub trait OpenFile: Debug + Send + Sync {
    /// What is known of it now.
    fn stat(&self) -> Result<Stat>;

    /// Fills the buffer with the bytes from `at` on; an error if there are fewer.
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> Result<()>;

    /// Writes all the bytes from `at` on; the file grows as needed.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> Result<()>;

    /// Cuts the file, or lengthens it by a hole. Room beyond the end is given back.
    fn set_len(&self, length: u64) -> Result<()>;

    /// Takes the room for the bytes from `from` to `upto` from the file system now, and
    /// leaves the length as it is. `Unsupported` where that cannot be done.
    fn allocate(&self, from: u64, upto: u64) -> Result<()>;

    /// Makes the bytes durable, and the length with them.
    fn sync_data(&self) -> Result<()>;

    /// Takes the file for this open file alone; `false`: another has it. `Unsupported`
    /// where there are no locks.
    fn try_lock(&self) -> Result<bool>;

    /// Lets the lock go.
    fn unlock(&self) -> Result<()>;
}
