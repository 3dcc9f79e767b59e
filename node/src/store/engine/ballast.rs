//! The ballast of a disk: how large it is, and its file on the store's own file system.
//!
//! The database gives it back when it finds no room ([`Backend`]), so that it sees no
//! error while there is any. Who may begin something that needs it is decided before
//! ([`SpaceBook`]): votes, deletes, and what gives room back. But somebody may fill the
//! disk between that and the commit. Then this goes as far as `keep` says, and the
//! process ends, since the database is of no use after the error; what is left is for
//! the start that follows.
//!
//! [`Backend`]: crate::store::meta::database
//! [`SpaceBook`]: super::space::SpaceBook

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chord_api::host::Ballast;
use chord_api::host::ballast::{Hold, NEW_DISK, Place, STEP, write_noise};

use super::space::reserve;
use crate::store::platform::{FileSystem, How, OpenFile};
use crate::store::types::Tier;

/// It is never larger than this...
const AT_MOST: u64 = 4 * 1024 * 1024;
/// ...nor than this part of what moves of copies leave free: so nobody may use what it
/// takes, and the figures need not tell it from free room.
const PART_OF_RESERVE: u64 = 2;
/// This part of it is for starts alone, which nobody can refuse.
const PART_FOR_STARTS: u64 = 4;

/// Its file in the data folder.
pub(in crate::store) fn path(dir: &Path) -> PathBuf {
    dir.join("ballast")
}

/// How large it is on a disk of this capacity.
fn size(capacity: u64) -> u64 {
    (reserve(capacity, Tier::Moves) / PART_OF_RESERVE).min(AT_MOST) / STEP * STEP
}

/// What of it only a start may use.
pub(super) fn for_starts(ballast: &Ballast) -> u64 {
    ballast.size() / PART_FOR_STARTS
}

/// Keeps what a commit must not use: an essential one that of the starts, another one
/// most of what the essential ones may use, too.
pub(super) fn keep(ballast: &Ballast, essential: bool) {
    let starts = for_starts(ballast);
    ballast.keep(match essential {
        true => starts,
        false => starts + (ballast.size() - starts) / 2,
    });
}

/// What a new disk of this capacity takes, its ballast included.
pub(in crate::store) fn new_disk(capacity: u64) -> u64 {
    NEW_DISK - AT_MOST + size(capacity)
}

/// The ballast of the disk in `dir`, with what is there of it.
pub(in crate::store) fn open(files: &Arc<dyn FileSystem>, dir: &Path, capacity: u64) -> Ballast {
    let place = AtDisk {
        files: files.clone(),
        dir: dir.to_path_buf(),
    };
    Ballast::at(Box::new(place), size(capacity))
}

/// Its place on the store's file system.
#[derive(Debug)]
struct AtDisk {
    files: Arc<dyn FileSystem>,
    dir: PathBuf,
}

impl Place for AtDisk {
    fn free(&self) -> io::Result<u64> {
        Ok(self.files.room(&self.dir)?.free)
    }

    fn open(&self, create: bool) -> io::Result<Box<dyn Hold>> {
        let path = path(&self.dir);
        if !create {
            self.files.stat(&path)?;
        }
        Ok(Box::new(Kept(self.files.open(&path, How::Write)?)))
    }
}

/// Its open file.
#[derive(Debug)]
struct Kept(Box<dyn OpenFile>);

impl Hold for Kept {
    fn held(&self) -> io::Result<u64> {
        let found = self.0.stat()?;
        Ok(found.length.min(found.allocated))
    }

    fn take(&self, from: u64, upto: u64) -> io::Result<()> {
        match self.0.allocate(from, upto) {
            Ok(()) => {
                self.0.set_len(upto)?;
                if self.held()? >= upto {
                    return Ok(());
                }
                // It says yes and takes nothing.
            }
            Err(e) if e.kind() == ErrorKind::Unsupported => {}
            Err(e) => return Err(e),
        }
        write_noise(from, upto, |bytes, at| self.0.write_all_at(bytes, at))?;
        self.0.sync_data()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use chord_api::host::ballast::LEAVE;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn it_lies_within_what_nobody_may_use() {
        for capacity in [8 * MIB, 64 * MIB, 160 * MIB, 1 << 30, 1 << 40] {
            let (size, moves) = (size(capacity), reserve(capacity, Tier::Moves));
            assert!(size > 0 && 2 * size <= moves, "{size} of {capacity}");
            // With so much free it is whole: else there would be room for clients that
            // are refused.
            assert!(capacity < 32 * MIB || size + LEAVE <= reserve(capacity, Tier::Clients));
        }
        assert_eq!(size(1 << 40), AT_MOST);
        assert_eq!(new_disk(1 << 40), NEW_DISK);
    }
}
