//! The operating system's files and threads: one call of ours is one of its calls.

use std::fs::{File, TryLockError};
use std::io::Result;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use chord_types::DiskId;

use super::files::{Entry, FileSystem, How, OpenFile, Room, Stat};
use super::threads::{Threads, Work};

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl From<std::fs::Metadata> for Stat {
    fn from(found: std::fs::Metadata) -> Stat {
        Stat {
            plain: found.is_file(),
            length: found.len(),
            allocated: found.blocks() * 512,
        }
    }
}

impl FileSystem for RealFiles {
    fn open(&self, path: &Path, how: How) -> Result<Box<dyn OpenFile>> {
        let mut options = File::options();
        options.read(true);
        match how {
            How::Read => &mut options,
            How::Write => options.write(true).create(true).truncate(false),
            How::New => options.write(true).create_new(true),
        };
        Ok(Box::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        std::fs::remove_file(path)
    }

    fn stat(&self, path: &Path) -> Result<Stat> {
        Ok(std::fs::metadata(path)?.into())
    }

    fn list(&self, folder: &Path) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            found.push(Entry {
                name: entry.file_name(),
                stat: entry.metadata()?.into(),
            });
        }
        Ok(found)
    }

    fn make_folder(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        File::open(folder)?.sync_all()
    }

    fn sync_all(&self, folder: &Path) -> Result<()> {
        Ok(rustix::fs::syncfs(File::open(folder)?)?)
    }

    fn room(&self, folder: &Path) -> Result<Room> {
        let stat = rustix::fs::statvfs(folder)?;
        Ok(Room {
            total: stat.f_blocks * stat.f_frsize,
            free: stat.f_bavail * stat.f_frsize,
        })
    }

    fn device(&self, folder: &Path) -> Result<String> {
        let device = std::fs::metadata(folder)?.dev();
        // Device numbers repeat from machine to machine; the kernel's boot id is the
        // same for all containers of one machine and for no other.
        let machine =
            std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let machine: String = machine
            .chars()
            .filter(char::is_ascii_hexdigit)
            .take(12)
            .collect();
        Ok(format!(
            "{machine}-{}-{}",
            rustix::fs::major(device),
            rustix::fs::minor(device)
        ))
    }

    fn new_disk(&self) -> DiskId {
        DiskId::random()
    }
}

impl OpenFile for File {
    fn stat(&self) -> Result<Stat> {
        Ok(self.metadata()?.into())
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        FileExt::read_exact_at(self, buffer, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        FileExt::write_all_at(self, bytes, at)
    }

    fn set_len(&self, length: u64) -> Result<()> {
        File::set_len(self, length)
    }

    fn allocate(&self, from: u64, upto: u64) -> Result<()> {
        use rustix::io::Errno;
        let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(self, keep, from, upto.saturating_sub(from)) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                Err(std::io::ErrorKind::Unsupported.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> Result<()> {
        File::sync_data(self)
    }

    fn try_lock(&self) -> Result<bool> {
        match File::try_lock(self) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> Result<()> {
        File::unlock(self)
    }
}

/// The runtime's threads for blocking work, and one of its own for each writer.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealThreads;

impl Threads for RealThreads {
    fn run(&self, work: Work) {
        // Its answer comes by another way, and it goes on when nobody waits for it.
        drop(tokio::task::spawn_blocking(work));
    }

    fn spawn(&self, name: &str, work: Work) -> Result<Option<std::thread::JoinHandle<()>>> {
        let thread = std::thread::Builder::new().name(name.into());
        thread.spawn(work).map(Some)
    }
}
