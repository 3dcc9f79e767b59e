//! How much room there is, and for whom.
//!
//! `used` is what our own files have allocated, counted as they come and go and
//! counted anew at every start. Reserves keep clients from filling a disk so far
//! that copies can no longer move, and moves so far that nothing can be deleted.
//!
//! Somebody else may fill the file system all the same. For that there is the
//! [`ballast`]: in these figures it is as good as free, and lies within the reserves.
//! While it is not whole there is no room for anything new, whatever the file system
//! says of itself: it may not speak of a quota.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chord_api::host::Ballast;
use chord_types::report::Space;
use parking_lot::{Mutex, MutexGuard};

use super::ballast;
use crate::store::error::{StoreError, failed};
use crate::store::platform::{FileSystem, Room};
use crate::store::types::Tier;

/// File systems give out room in units of this.
const UNIT: u64 = 4096;
/// The reserve that clients leave: this share of the capacity in percent...
const RESERVE_PERCENT: u64 = 5;
/// ...or this many bytes, if that is more...
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;
/// ...but never more than this share in percent, so that a small disk is of use.
const RESERVE_AT_MOST_PERCENT: u64 = 10;

/// What a tier must leave free on a disk of this capacity.
pub(in crate::store) fn reserve(capacity: u64, tier: Tier) -> u64 {
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
pub(in crate::store) fn allocated(length: u64) -> u64 {
    length.div_ceil(UNIT) * UNIT
}

/// What of a file system is ours to use.
pub(in crate::store) fn capacity(limit: Option<u64>, device: Room) -> u64 {
    limit.unwrap_or(u64::MAX).min(device.total)
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
pub(in crate::store) struct SpaceBook {
    dir: PathBuf,
    meta: PathBuf,
    limit: Option<u64>,
    device: String,
    files: Arc<dyn FileSystem>,
    ballast: Arc<Ballast>,
    /// Not tokio's lock: nothing is awaited while it is held. It is held across the
    /// question how much room there is, so that two writers do not both get the last.
    book: Mutex<Book>,
}

impl SpaceBook {
    /// Opens the books with what the files already take.
    pub(in crate::store) fn new(
        on: Arc<dyn FileSystem>,
        dir: &Path,
        meta: &Path,
        limit: Option<u64>,
        files: u64,
        ballast: Arc<Ballast>,
    ) -> std::io::Result<SpaceBook> {
        let book = SpaceBook {
            dir: dir.to_path_buf(),
            meta: meta.to_path_buf(),
            limit,
            device: on.device(dir)?,
            files: on,
            ballast,
            book: Mutex::new(Book {
                files,
                ..Book::default()
            }),
        };
        book.device()?;
        Ok(book)
    }

    fn device(&self) -> std::io::Result<Room> {
        self.files.room(&self.dir)
    }

    /// What the file system has left, a great deal if it does not say; nothing while
    /// the ballast is not whole.
    pub(super) fn free(&self) -> u64 {
        match self.refill() {
            Ok(true) => self.device().map_or(u64::MAX, |device| device.free),
            _ => 0,
        }
    }

    /// What a commit that begins now may write, and from now on may use of the ballast:
    /// an essential one all but the part that is for starts.
    pub(super) fn room_for_commit(&self, essential: bool) -> u64 {
        ballast::keep(&self.ballast, essential);
        let free = self.free();
        let held = self.ballast.held();
        match essential {
            true => free.saturating_add(held.saturating_sub(ballast::for_starts(&self.ballast))),
            false => free,
        }
    }

    /// Lets the last commit use all of the ballast: a disk that was not closed properly
    /// may be worth less than one without a ballast.
    pub(super) fn room_for_close(&self) {
        self.ballast.keep(0);
    }

    /// Takes back what of the ballast was given, where there is room for it again;
    /// whether it is whole.
    pub(in crate::store) fn refill(&self) -> Result<bool, StoreError> {
        if self.ballast.is_whole() {
            return Ok(true);
        }
        let filled = self.ballast.fill();
        filled.map_err(|e| failed("filling", &ballast::path(&self.dir), e))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// What meta.redb has allocated; its length says more than it takes.
    fn meta_bytes(&self) -> u64 {
        let found = self.files.stat(&self.meta);
        found.map_or(0, |found| found.allocated)
    }

    fn room(&self, book: &Book, device: Room, tier: Tier) -> u64 {
        let capacity = self.capacity(device);
        let used = book.files + book.reserved + self.meta_bytes();
        let free = match self.ballast.is_whole() {
            true => (device.free + self.ballast.size()).saturating_sub(book.pending),
            false => 0,
        };
        capacity
            .saturating_sub(used)
            .min(free)
            .saturating_sub(reserve(capacity, tier))
    }

    fn capacity(&self, device: Room) -> u64 {
        capacity(self.limit, device)
    }

    /// For reports. A file system that does not answer has no room.
    pub(in crate::store) fn space(&self) -> Space {
        let device = self.device().unwrap_or(Room { total: 0, free: 0 });
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
        self.refill()?;
        let device = self
            .device()
            .map_err(|e| failed("asking for the space of", &self.dir, e))?;
        let room = self.room(book, device, tier);
        if bytes > room {
            let why = format!("{bytes} bytes are wanted, {room} are left beside the reserve");
            return Err(StoreError::Full(why.into()));
        }
        Ok(())
    }

    /// Whether so many bytes would fit now.
    pub(in crate::store) fn admit(&self, bytes: u64, tier: Tier) -> Result<(), StoreError> {
        self.fits(&self.lock(), bytes, tier)
    }

    /// Sets bytes aside for a file until the answer is dropped.
    pub(in crate::store) fn reserve(
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
    pub(in crate::store) fn placed(&self, length: u64, before: Option<u64>) {
        let mut book = self.lock();
        book.files = (book.files + allocated(length)).saturating_sub(before.map_or(0, allocated));
    }

    /// A file has gone.
    pub(in crate::store) fn removed(&self, length: u64) {
        let mut book = self.lock();
        book.files = book.files.saturating_sub(allocated(length));
    }
}

/// Room set aside for a file that is being written.
#[derive(Debug)]
pub(in crate::store) struct Reservation {
    book: Arc<SpaceBook>,
    tier: Tier,
    bytes: u64,
    pending: u64,
}

impl Reservation {
    /// Sets more aside.
    pub(in crate::store) fn grow(&mut self, by: u64) -> Result<(), StoreError> {
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
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file system has given so many of them.
    pub(in crate::store) fn given(&mut self, bytes: u64) {
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
        let files: Arc<dyn FileSystem> = Arc::new(crate::store::platform::RealFiles);
        let ballast = Arc::new(ballast::open(&files, dir.path(), 64 * MIB));
        let book = SpaceBook::new(files, dir.path(), &meta, Some(64 * MIB), 0, ballast);
        let book = Arc::new(book.unwrap());
        assert_eq!(book.space().available, 0, "the ballast is not there yet");
        assert!(book.refill().unwrap());
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
