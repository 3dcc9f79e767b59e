//! Room set aside on a file system, for what has to be written when there is none.
//!
//! Whoever fills a disk, a store has to be able to delete on it, to vote, and to be
//! started again, and a supervisor to write down what it runs. Each needs a little
//! room for a while. So a file holds some; it is made shorter when a write finds no
//! room, and made whole again as soon as there is.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};

/// A ballast is so many of these large, and takes no less of what it lacks in part.
pub const STEP: u64 = 64 * 1024;
/// Room is given back in units of this, as file systems give it.
const UNIT: u64 = 4096;
/// A ballast takes no room unless so much more is free: who has just been given some
/// is still to use it.
pub const LEAVE: u64 = 1024 * 1024;
/// The most bytes that a new disk of a node needs: its files, its ballast, and [`LEAVE`].
pub const NEW_DISK: u64 = 6 * 1024 * 1024;

/// Whether an error says that there is no room, or none for this user.
pub fn no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What the file system of a folder has left for an ordinary user, in bytes.
pub fn free(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Where the file of a ballast is to be.
pub trait Place: Debug + Send + Sync {
    /// What its file system has left for an ordinary user, in bytes.
    fn free(&self) -> io::Result<u64>;

    /// Opens the file. Where there is none it is made if `create` says so.
    fn open(&self, create: bool) -> io::Result<Box<dyn Hold>>;
}

/// The open file of a ballast.
pub trait Hold: Debug + Send + Sync {
    /// Bytes that are really there: a copy of a file may be nothing but a length.
    fn held(&self) -> io::Result<u64>;

    /// Has the file system give the bytes from `from` to `upto`. [`write_noise`] does
    /// it where nothing else will.
    fn take(&self, from: u64, upto: u64) -> io::Result<()>;

    /// Cuts the file to this length.
    fn cut(&self, length: u64) -> io::Result<()>;
}

/// A file that holds room.
#[derive(Debug)]
pub struct Ballast {
    place: Box<dyn Place>,
    size: u64,
    /// Bytes that are not given now.
    kept: AtomicU64,
    /// parking_lot's mutex, and not tokio's: nothing is awaited while it is held.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Stays open: it has to be made shorter even when no file descriptor is left.
    file: Option<Box<dyn Hold>>,
    /// Bytes that the file system has given for it.
    bytes: u64,
}

impl Ballast {
    /// Room of `size` bytes in the file `path`, of which what lies there is held
    /// already. Nothing is taken yet.
    pub fn new(path: impl Into<PathBuf>, size: u64) -> Ballast {
        Ballast::at(Box::new(OnDisk(path.into())), size)
    }

    /// The same in another place than this machine's file system.
    pub fn at(place: Box<dyn Place>, size: u64) -> Ballast {
        let file = place.open(false).ok();
        let bytes = file.as_ref().and_then(|file| file.held().ok());
        let held = Held {
            bytes: bytes.unwrap_or(0),
            file,
        };
        Ballast {
            place,
            size: size / STEP * STEP,
            kept: AtomicU64::new(0),
            held: Mutex::new(held),
        }
    }

    /// Bytes that it holds when it is whole.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that are held.
    pub fn held(&self) -> u64 {
        self.held.lock().bytes
    }

    /// Whether nothing of it has been given that was not taken again.
    pub fn is_whole(&self) -> bool {
        self.held() >= self.size
    }

    /// Takes what is missing, as far as [`LEAVE`] bytes stay free beside it; whether it
    /// is whole. That there is no room for it is no error.
    pub fn fill(&self) -> io::Result<bool> {
        let mut held = self.held.lock();
        let held = &mut *held;
        if held.bytes > self.size {
            // It was to be larger once.
            if let Some(file) = &held.file {
                file.cut(self.size)?;
            }
            held.bytes = self.size;
        }
        if held.bytes == self.size {
            return Ok(true);
        }
        let missing = self.size - held.bytes;
        let spare = self.place.free()?.saturating_sub(LEAVE);
        let mut more = missing.min(spare / STEP * STEP);
        if more == 0 {
            return Ok(false);
        }
        let file = match held.file.take() {
            Some(file) => file,
            None => match self.place.open(true) {
                Err(e) if no_room(&e) => return Ok(false),
                opened => opened?,
            },
        };
        let file = held.file.insert(file);
        let from = held.bytes;
        while more > 0 {
            // What is to stay free is taken too and given back: a quota may leave less
            // than the file system says.
            let taken = file.take(from, from + more + LEAVE);
            let upto = from + if taken.is_ok() { more } else { 0 };
            file.cut(upto)?;
            held.bytes = upto;
            match taken {
                Ok(()) => break,
                Err(e) if no_room(&e) => more = more / 2 / STEP * STEP,
                Err(e) => return Err(e),
            }
        }
        Ok(held.bytes == self.size)
    }

    /// From now on so many bytes are not given.
    pub fn keep(&self, bytes: u64) {
        self.kept.store(bytes, Ordering::Relaxed);
    }

    /// Gives back `bytes` or a little more, or what there is; whether there was any.
    pub fn give(&self, bytes: u64) -> io::Result<bool> {
        let mut held = self.held.lock();
        let Some(file) = &held.file else {
            return Ok(false);
        };
        let kept = self.kept.load(Ordering::Relaxed);
        if held.bytes <= kept {
            return Ok(false);
        }
        let units = bytes.max(1).div_ceil(UNIT);
        let left = held.bytes.saturating_sub(units.saturating_mul(UNIT));
        let left = left.max(kept);
        file.cut(left)?;
        held.bytes = left;
        Ok(true)
    }

    /// Does what needs room, `bytes` about; where there is none, gives some back and
    /// tries again for as long as there is any. Whoever fills the disk may be faster.
    pub fn with<T>(&self, bytes: u64, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match work() {
                Err(e) if no_room(&e) && self.give(bytes)? => {}
                done => return done,
            }
        }
    }
}

/// Takes room by writing what no file system makes smaller, with `write`: its bytes and
/// where they go.
pub fn write_noise(
    from: u64,
    upto: u64,
    mut write: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut noise = blake3::Hasher::new()
        .update(&from.to_le_bytes())
        .finalize_xof();
    let mut piece = vec![0; STEP as usize];
    let mut at = from;
    while at < upto {
        noise.fill(&mut piece);
        let now = (upto - at).min(STEP);
        write(&piece[..now as usize], at)?;
        at += now;
    }
    Ok(())
}

/// A file on this machine.
#[derive(Debug)]
struct OnDisk(PathBuf);

impl Place for OnDisk {
    fn free(&self) -> io::Result<u64> {
        free(self.0.parent().unwrap_or(Path::new(".")))
    }

    fn open(&self, create: bool) -> io::Result<Box<dyn Hold>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .open(&self.0)?;
        Ok(Box::new(file))
    }
}

impl Hold for File {
    fn held(&self) -> io::Result<u64> {
        let found = self.metadata()?;
        Ok(found.len().min(found.blocks().saturating_mul(512)))
    }

    fn take(&self, from: u64, upto: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::empty(), from, upto - from) {
            Ok(()) if self.held()? >= upto => return Ok(()),
            // It says yes and takes nothing.
            Ok(()) => {}
            Err(e) if is_unknown(e) => {}
            Err(e) => return Err(e.into()),
        }
        write_noise(from, upto, |bytes, at| self.write_all_at(bytes, at))?;
        self.sync_data()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Whether a file system does not know how to set room aside.
fn is_unknown(e: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(e, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_really_taken_given_in_units_and_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ballast");
        let ballast = Ballast::new(&path, 10 * STEP);
        assert_eq!(ballast.held(), 0);
        assert!(!ballast.give(1).unwrap(), "there is none yet");
        ballast.fill().unwrap();
        assert_eq!(ballast.held(), 10 * STEP);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 10 * STEP);
        assert!(ballast.give(1).unwrap());
        assert_eq!(ballast.held(), 10 * STEP - UNIT);
        assert!(ballast.give(UNIT + 1).unwrap());
        assert_eq!(ballast.held(), 10 * STEP - 3 * UNIT);
        let again = Ballast::new(&path, 10 * STEP);
        assert_eq!(
            again.held(),
            10 * STEP - 3 * UNIT,
            "it outlives its process"
        );
        assert!(!again.is_whole());
        assert!(again.fill().unwrap() && again.is_whole());
        assert_eq!(again.held(), 10 * STEP);
        let smaller = Ballast::new(&path, 3 * STEP);
        assert!(smaller.fill().unwrap());
        assert_eq!(smaller.held(), 3 * STEP, "it was to be larger once");
    }

    #[test]
    fn what_finds_no_room_is_tried_again_while_the_ballast_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path().join("ballast"), 3 * STEP);
        let one = STEP;
        ballast.fill().unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let mut tries = 0;
        let done = ballast.with(one, || {
            tries += 1;
            if tries < 3 { Err(full()) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap(), 3);
        assert_eq!(ballast.held(), STEP);
        ballast.keep(UNIT);
        let never = ballast.with::<()>(one, || Err(full()));
        assert!(no_room(&never.unwrap_err()));
        assert_eq!(ballast.held(), UNIT, "what is kept is not given");
        ballast.keep(0);
        let never = ballast.with::<()>(one, || Err(full()));
        assert!(no_room(&never.unwrap_err()));
        assert_eq!(ballast.held(), 0);
        let other = || io::Error::other("something else");
        ballast.fill().unwrap();
        assert!(ballast.with::<()>(1, || Err(other())).is_err());
        assert_eq!(ballast.held(), 3 * STEP, "it is for want of room alone");
    }

    #[test]
    fn a_copy_that_is_nothing_but_a_length_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ballast");
        File::create(&path).unwrap().set_len(10 * STEP).unwrap();
        let ballast = Ballast::new(&path, 10 * STEP);
        assert_eq!(ballast.held(), 0);
        ballast.fill().unwrap();
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 10 * STEP);
    }
}
