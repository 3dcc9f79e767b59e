//! How much room there is, and for whom.
//!
//! `used` is what our own files have allocated, counted as they come and go and
//! counted anew at every start. Reserves keep clients from filling a disk so far
//! that copies can no longer move, and moves so far that nothing can be deleted.

use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chord_types::report::Space;

use super::types::{StoreError, Tier};

/// File systems give out room in units of this.
const UNIT: u64 = 4096;
/// The reserve that clients leave: this share of the capacity in percent...
const RESERVE_PERCENT: u64 = 5;
/// ...or this many bytes, if that is more...
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;
/// ...but never more than this share in percent, so that a small disk is of use.
const RESERVE_AT_MOST_PERCENT: u64 = 10;

/// What a tier must leave free on a disk of this capacity.
pub(super) fn reserve(capacity: u64, tier: Tier) -> u64 {
    let clients = (capacity / 100 * RESERVE_PERCENT)
        .max(RESERVE_BYTES)
        .min(capacity / 100 * RESERVE_AT_MOST_PERCENT);
    match tier {
        Tier::Clients => clients,
        Tier::Moves => clients / 2,
        Tier::Internal => 0,
    }
}

/// What a file of so many bytes takes.
pub(super) fn allocated(length: u64) -> u64 {
    length.div_ceil(UNIT) * UNIT
}

/// The file system at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Device {
    total: u64,
    free: u64,
}

#[derive(Debug, Default)]
struct Book {
    /// Chunks and dropped files in their places.
    files: u64,
    /// Promised to writers that have not finished.
    reserved: u64,
    /// Of these, not yet allocated on the file system.
    pending: u64,
}

/// The books of one disk.
#[derive(Debug)]
pub(super) struct SpaceBook {
    dir: PathBuf,
    meta: PathBuf,
    limit: Option<u64>,
    device: String,
    book: Mutex<Book>,
}

impl SpaceBook {
    /// Opens the books with what the files already take.
    pub(super) fn new(
        dir: &Path,
        meta: &Path,
        limit: Option<u64>,
        files: u64,
    ) -> std::io::Result<SpaceBook> {
        let book = SpaceBook {
            dir: dir.to_path_buf(),
            meta: meta.to_path_buf(),
            limit,
            device: device_name(dir)?,
            book: Mutex::new(Book {
                files,
                ..Book::default()
            }),
        };
        book.device()?;
        Ok(book)
    }

    fn device(&self) -> std::io::Result<Device> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(Device {
            total: stat.f_blocks * stat.f_frsize,
            free: stat.f_bavail * stat.f_frsize,
        })
    }

    /// What the file system has left, whoever fills it.
    pub(super) fn device_free(&self) -> std::io::Result<u64> {
        Ok(self.device()?.free)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What meta.redb and the ballast have allocated; the length of the database
    /// says more than it takes.
    fn meta_bytes(&self) -> u64 {
        let blocks = |path: &Path| {
            std::fs::metadata(path)
                .map(|m| m.st_blocks() * 512)
                .unwrap_or(0)
        };
        blocks(&self.meta) + blocks(&self.dir.join("ballast"))
    }

    fn room(&self, book: &Book, device: Device, tier: Tier) -> u64 {
        let capacity = self.capacity(device);
        let used = book.files + book.reserved + self.meta_bytes();
        let free = device.free.saturating_sub(book.pending);
        capacity
            .saturating_sub(used)
            .min(free)
            .saturating_sub(reserve(capacity, tier))
    }

    fn capacity(&self, device: Device) -> u64 {
        self.limit.unwrap_or(u64::MAX).min(device.total)
    }

    /// For reports. A file system that does not answer has no room.
    pub(super) fn space(&self) -> Space {
        let device = self.device().unwrap_or(Device { total: 0, free: 0 });
        let book = self.lock();
        Space {
            capacity: self.capacity(device),
            used: book.files + self.meta_bytes(),
            available: self.room(&book, device, Tier::Clients),
            device: self.device.clone(),
        }
    }

    fn fits(&self, book: &Book, bytes: u64, tier: Tier) -> Result<(), StoreError> {
        if tier == Tier::Internal {
            return Ok(());
        }
        let device = self.device().map_err(|e| {
            StoreError::Io(format!("asking {} for its space: {e}", self.dir.display()))
        })?;
        let room = self.room(book, device, tier);
        if bytes > room {
            return Err(StoreError::Full(format!(
                "{bytes} bytes are wanted, {room} are left beside the reserve"
            )));
        }
        Ok(())
    }

    /// Whether so many bytes would fit now.
    pub(super) fn admit(&self, bytes: u64, tier: Tier) -> Result<(), StoreError> {
        self.fits(&self.lock(), bytes, tier)
    }

    /// Sets bytes aside for a file until the answer is dropped.
    pub(super) fn reserve(
        self: &Arc<Self>,
        length: u64,
        tier: Tier,
    ) -> Result<Reservation, StoreError> {
        let mut none = Reservation {
            book: self.clone(),
            tier,
            bytes: 0,
            pending: 0,
        };
        none.grow(length)?;
        Ok(none)
    }

    /// A file has come into its place, over another or not.
    pub(super) fn placed(&self, length: u64, before: Option<u64>) {
        let mut book = self.lock();
        book.files = (book.files + allocated(length)).saturating_sub(before.map_or(0, allocated));
    }

    /// A file has gone.
    pub(super) fn removed(&self, length: u64) {
        let mut book = self.lock();
        book.files = book.files.saturating_sub(allocated(length));
    }
}

/// Room set aside for a file that is being written.
#[derive(Debug)]
pub(super) struct Reservation {
    book: Arc<SpaceBook>,
    tier: Tier,
    bytes: u64,
    pending: u64,
}

impl Reservation {
    /// Sets more aside.
    pub(super) fn grow(&mut self, by: u64) -> Result<(), StoreError> {
        let more = allocated(by);
        let mut book = self.book.lock();
        self.book.fits(&book, more, self.tier)?;
        book.reserved += more;
        book.pending += more;
        self.bytes += more;
        self.pending += more;
        Ok(())
    }

    /// Bytes set aside.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file system has given so many of them.
    pub(super) fn given(&mut self, bytes: u64) {
        let bytes = bytes.min(self.pending);
        let mut book = self.book.lock();
        book.pending -= bytes.min(book.pending);
        self.pending -= bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut book = self.book.lock();
        book.reserved = book.reserved.saturating_sub(self.bytes);
        book.pending = book.pending.saturating_sub(self.pending);
    }
}

/// Names the device below a folder so that two nodes on one device give the same
/// name, and nodes on different machines do not.
fn device_name(dir: &Path) -> std::io::Result<String> {
    let device = std::fs::metadata(dir)?.st_dev();
    // Device numbers repeat from machine to machine; the kernel's boot id is the
    // same for all containers of one machine and for no other.
    let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn reserves_are_bounded_from_both_sides() {
        assert_eq!(
            reserve(64 * MIB, Tier::Clients),
            64 * MIB / 100 * 10,
            "a small disk keeps a tenth"
        );
        assert_eq!(reserve(4096 * MIB, Tier::Clients), 256 * MIB);
        assert_eq!(
            reserve(100_000 * MIB, Tier::Clients),
            100_000 * MIB / 100 * 5
        );
        assert_eq!(reserve(4096 * MIB, Tier::Moves), 128 * MIB);
        assert_eq!(reserve(4096 * MIB, Tier::Internal), 0);
    }

    #[test]
    fn tiers_stop_one_after_the_other_and_give_back_what_they_drop() {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join("none");
        let book = Arc::new(SpaceBook::new(dir.path(), &meta, Some(64 * MIB), 0).unwrap());
        let clients = book.space().available;
        assert_eq!(clients, 64 * MIB - reserve(64 * MIB, Tier::Clients));
        let held = book.reserve(clients / 4096 * 4096, Tier::Clients).unwrap();
        assert!(matches!(
            book.admit(4096, Tier::Clients),
            Err(StoreError::Full(_))
        ));
        let moves = book.reserve(3 * MIB, Tier::Moves).unwrap();
        assert!(matches!(
            book.admit(MIB, Tier::Moves),
            Err(StoreError::Full(_))
        ));
        book.admit(1 << 40, Tier::Internal).unwrap();
        assert_eq!(book.space().used, 0, "set aside is not used");
        drop((held, moves));
        assert_eq!(book.space().available, clients);
        book.placed(5000, None);
        assert_eq!(book.space().used, 8192);
        book.placed(100, Some(5000));
        assert_eq!(book.space().used, 4096);
        book.removed(100);
        assert_eq!(book.space().used, 0);
    }
}
