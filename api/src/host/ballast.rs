//! Room set aside on a file system, for what has to be written when there is none.
//!
//! Whoever fills a disk, a store has to be able to delete on it, to vote, and to be
//! started again, and a supervisor to write down what it runs. Each needs a little
//! room for a while. So a file holds some; it is made shorter when a write finds no
//! room, and made whole again as soon as there is.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};

/// Room is given back in steps of this.
const STEP: u64 = 64 * 1024;
/// Room is taken in units of this, as file systems give it.
const UNIT: u64 = 4096;
/// Bytes written in one go where room has to be taken by writing.
const PIECE: usize = 64 * 1024;

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

/// A file that holds room.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    size: u64,
    /// parking_lot's mutex, and not tokio's: nothing is awaited while it is held.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Stays open: it has to be made shorter even when no file descriptor is left.
    file: Option<File>,
    /// Bytes that the file system has given for it.
    bytes: u64,
}

impl Ballast {
    /// Room of `size` bytes in the file `path`, of which what lies there is held
    /// already. Nothing is taken yet.
    pub fn new(path: impl Into<PathBuf>, size: u64) -> Ballast {
        let path = path.into();
        let file = open(&path, false).ok();
        let held = Held {
            bytes: file.as_ref().map_or(0, allocated),
            file,
        };
        Ballast {
            path,
            size,
            held: Mutex::new(held),
        }
    }

    /// Bytes that are held.
    pub fn held(&self) -> u64 {
        self.held.lock().bytes
    }

    /// Takes what is missing, as far as `leave` bytes stay free beside it. That there
    /// is no room for it is no error.
    pub fn fill(&self, leave: u64) -> io::Result<()> {
        let mut held = self.held.lock();
        if held.bytes >= self.size {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let spare = free(folder)?.saturating_sub(leave);
        let more = (self.size - held.bytes).min(spare / UNIT * UNIT);
        if more == 0 {
            return Ok(());
        }
        if held.file.is_none() {
            held.file = Some(open(&self.path, true)?);
        }
        let (from, upto) = (held.bytes, held.bytes + more);
        let Some(file) = &held.file else {
            return Ok(());
        };
        match take(file, from, upto) {
            Ok(()) => {
                held.bytes = upto;
                Ok(())
            }
            Err(e) => {
                // A part of it is not kept.
                file.set_len(from)?;
                if no_room(&e) { Ok(()) } else { Err(e) }
            }
        }
    }

    /// Gives back `bytes` or a little more, or what there is; whether there was any.
    pub fn give(&self, bytes: u64) -> io::Result<bool> {
        let mut held = self.held.lock();
        let Some(file) = &held.file else {
            return Ok(false);
        };
        if held.bytes == 0 {
            return Ok(false);
        }
        let left = held
            .bytes
            .saturating_sub(bytes.max(1).div_ceil(STEP) * STEP);
        file.set_len(left)?;
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

fn open(path: &Path, create: bool) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// What of a file is really there: a copy of one may be nothing but a length.
fn allocated(file: &File) -> u64 {
    file.metadata()
        .map_or(0, |m| m.len().min(m.blocks().saturating_mul(512)))
}

/// Makes the file system give the bytes from `from` to `upto`.
fn take(file: &File, from: u64, upto: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, upto) {
        Ok(()) if allocated(file) >= upto => return Ok(()),
        // It says yes and takes nothing.
        Ok(()) => {}
        Err(e) if is_unknown(e) => {}
        Err(e) => return Err(e.into()),
    }
    // Not zeros, which some file systems do not store.
    let mut noise = blake3::Hasher::new()
        .update(&from.to_le_bytes())
        .finalize_xof();
    let mut piece = vec![0; PIECE];
    let mut at = from;
    while at < upto {
        noise.fill(&mut piece);
        let now = (upto - at).min(PIECE as u64) as usize;
        file.write_all_at(&piece[..now], at)?;
        at += now as u64;
    }
    file.sync_data()
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
    fn room_is_really_taken_given_in_steps_and_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ballast");
        let ballast = Ballast::new(&path, 10 * STEP);
        assert_eq!(ballast.held(), 0);
        assert!(!ballast.give(1).unwrap(), "there is none yet");
        ballast.fill(0).unwrap();
        assert_eq!(ballast.held(), 10 * STEP);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 10 * STEP);
        assert!(ballast.give(1).unwrap());
        assert_eq!(ballast.held(), 9 * STEP);
        assert!(ballast.give(STEP + 1).unwrap());
        assert_eq!(ballast.held(), 7 * STEP);
        let again = Ballast::new(&path, 10 * STEP);
        assert_eq!(again.held(), 7 * STEP, "it outlives its process");
        again.fill(u64::MAX).unwrap();
        assert_eq!(again.held(), 7 * STEP, "what is to stay free stays free");
        again.fill(0).unwrap();
        assert_eq!(again.held(), 10 * STEP);
    }

    #[test]
    fn what_finds_no_room_is_tried_again_while_the_ballast_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path().join("ballast"), 3 * STEP);
        ballast.fill(0).unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let mut tries = 0;
        let done = ballast.with(1, || {
            tries += 1;
            if tries < 3 { Err(full()) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap(), 3);
        assert_eq!(ballast.held(), STEP);
        let never = ballast.with::<()>(1, || Err(full()));
        assert!(no_room(&never.unwrap_err()));
        assert_eq!(ballast.held(), 0);
        let other = || io::Error::other("something else");
        ballast.fill(0).unwrap();
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
        ballast.fill(0).unwrap();
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 10 * STEP);
    }
}
