//! The operator's files on disk: replaced whole, the view only where it is still
//! the one that was read, and all by one process. On a file system that is full they
//! are replaced in the room of a ballast.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use chord_api::host::{Ballast, replace as whole};
use chord_types::{Epoch, View};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::files::{EventLine, Paths};
use chord_planner::plan::Stored;

/// Past this size the older half of the events goes.
const EVENTS_BYTES_AT_MOST: u64 = 256 * 1024;

/// What the ballast holds: the largest of these files, and as much again.
const BALLAST_BYTES: u64 = 512 * 1024;
/// A reader may be any program of the user's.
const MODE: u32 = 0o644;

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there and cannot be read.
    #[error("reading {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not of the form that it should have.
    #[error("reading {}: it is not what is expected there", .path.display())]
    Misshapen {
        /// The file.
        path: PathBuf,
        /// Where it departs from that form.
        source: serde_json::Error,
    },
    /// The file cannot be written: it is as it was, or has the new content.
    #[error("writing {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What should be written has no form as JSON.
    #[error("writing {}", .path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why it has none.
        source: serde_json::Error,
    },
    /// Another process has the lock.
    #[error("another operator runs this cluster (it holds {}): stop it first", .path.display())]
    Held {
        /// The lock's file.
        path: PathBuf,
    },
    /// The lock can be neither taken nor seen to be taken.
    #[error("locking {}", .path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The stored view is not the one that was read.
    #[error("storing view {epoch}: {} has been changed by somebody else", .path.display())]
    Overtaken {
        /// The view that was to be stored.
        epoch: Epoch,
        /// Where views are stored.
        path: PathBuf,
    },
    /// The stored view has this number or a higher one.
    #[error("storing view {epoch}: {} holds view {stored} already", .path.display())]
    Backwards {
        /// The view that was to be stored.
        epoch: Epoch,
        /// Where views are stored.
        path: PathBuf,
        /// The view that is there.
        stored: Epoch,
    },
}

/// The operator's ballast, made whole if there is room for it.
pub fn ballast(paths: &Paths) -> Ballast {
    let ballast = Ballast::new(paths.ballast(), BALLAST_BYTES);
    refill(&ballast);
    ballast
}

/// Fills the ballast again, as far as there is room.
pub fn refill(ballast: &Ballast) {
    if let Err(e) = ballast.fill() {
        tracing::warn!("setting room aside for a full disk: {e}; it is tried again");
    }
}

/// Reads a file; `None` where there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    whole::read(path).map_err(|source| Error::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// Reads a JSON file; `None` where there is none.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    let content = serde_json::from_slice(&bytes).map_err(|source| Error::Misshapen {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(Some(content))
}

/// Replaces a file so that it is the old or the new one after a crash, unless it
/// has this content already.
pub fn replace(path: &Path, content: &[u8], ballast: &Ballast) -> Result<(), Error> {
    whole::replace(path, content, MODE, ballast).map_err(|source| unwritten(path, source))
}

fn unwritten(path: &Path, source: std::io::Error) -> Error {
    Error::Write {
        path: path.to_path_buf(),
        source,
    }
}

fn unencoded(path: &Path, source: serde_json::Error) -> Error {
    Error::Encode {
        path: path.to_path_buf(),
        source,
    }
}

/// Replaces a JSON file.
pub fn replace_json(path: &Path, content: &impl Serialize, ballast: &Ballast) -> Result<(), Error> {
    let mut text = serde_json::to_vec(content).map_err(|e| unencoded(path, e))?;
    text.push(b'\n');
    replace(path, &text, ballast)
}

/// The right to be this folder's operator, for as long as it is held.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock, or says that another operator has it.
pub fn lock(paths: &Paths) -> Result<Lock, Error> {
    let path = paths.lock();
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(source) => return Err(Error::Lock { path, source }),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Held { path }),
        Err(e) => Err(Error::Lock {
            path,
            source: e.into(),
        }),
    }
}

/// The stored view, as it was read.
#[derive(Debug, Default)]
pub struct StoredView {
    bytes: Option<Vec<u8>>,
}

impl StoredView {
    /// Reads what is stored.
    pub fn read(paths: &Paths) -> Result<StoredView, Error> {
        Ok(StoredView {
            bytes: read(&paths.view())?,
        })
    }

    /// What it is.
    pub fn parse(&self) -> Stored {
        match &self.bytes {
            None => Stored::Missing,
            Some(bytes) => match View::decode(bytes) {
                Ok(view) => Stored::View(Box::new(view)),
                Err(e) => Stored::Unreadable(e.to_string()),
            },
        }
    }

    /// Stores the next view, if what is stored is still what was read. What could
    /// not be read is kept beside it.
    pub fn advance(&self, paths: &Paths, view: &View, ballast: &Ballast) -> Result<(), Error> {
        let (path, epoch) = (paths.view(), view.epoch);
        if read(&path)? != self.bytes {
            return Err(Error::Overtaken { epoch, path });
        }
        match (self.parse(), &self.bytes) {
            (Stored::View(stored), _) if stored.epoch >= epoch => {
                let stored = stored.epoch;
                return Err(Error::Backwards {
                    epoch,
                    path,
                    stored,
                });
            }
            (Stored::Unreadable(_), Some(bytes)) => {
                replace(
                    &path.with_file_name(format!("view-unreadable-before-{epoch}.bin")),
                    bytes,
                    ballast,
                )?;
            }
            _ => {}
        }
        replace(&path, &view.encode(), ballast)
    }
}

/// Appends events, and drops the older half when there are too many. Where there is no
/// room for more of them they are lost: the ballast is for what the cluster needs.
pub fn append_events(path: &Path, events: &[EventLine], ballast: &Ballast) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for event in events {
        text.push_str(&serde_json::to_string(event).map_err(|e| unencoded(path, e))?);
        text.push('\n');
    }
    let before = read(path)?.unwrap_or_default();
    if (before.len() + text.len()) as u64 > EVENTS_BYTES_AT_MOST {
        let keep = before.len() / 2;
        let start = before[keep..]
            .iter()
            .position(|b| *b == b'\n')
            .map_or(before.len(), |at| keep + at + 1);
        let kept = before.get(start..).unwrap_or_default();
        return replace(path, &[kept, text.as_bytes()].concat(), ballast);
    }
    let append = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // A line that a crash cut off stays alone.
        if before.last().is_some_and(|last| *last != b'\n') {
            file.write_all(b"\n")?;
        }
        file.write_all(text.as_bytes())
    };
    append().map_err(|source| unwritten(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_types::{ClusterUid, DiskId, Member, Ordinal, Table, Token};

    fn paths() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path());
        std::fs::create_dir(paths.operator()).unwrap();
        (dir, paths)
    }

    fn none(paths: &Paths) -> Ballast {
        Ballast::new(paths.ballast(), 0)
    }

    fn table() -> Table {
        let member = Member {
            ordinal: Ordinal(0),
            disk: DiskId::random(),
            tokens: vec![Token(1)],
            zone: None,
            machine: None,
            out: false,
        };
        Table {
            replication: 1,
            members: vec![member],
        }
    }

    #[test]
    fn a_second_operator_is_turned_away_and_the_next_one_is_not() {
        let (_dir, paths) = paths();
        let first = lock(&paths).unwrap();
        let error = lock(&paths).unwrap_err();
        assert!(matches!(error, Error::Held { .. }), "{error}");
        drop(first);
        lock(&paths).unwrap();
    }

    #[test]
    fn what_failed_is_said_with_its_file_and_keeps_its_cause() {
        use std::error::Error as _;
        let (dir, paths) = paths();
        assert_eq!(read_json::<Vec<u8>>(&paths.slots()).unwrap(), None);
        std::fs::write(paths.slots(), b"{").unwrap();
        let misshapen = read_json::<Vec<u8>>(&paths.slots()).unwrap_err();
        let folder_read = read(dir.path()).unwrap_err();
        let below_a_file = replace(&paths.slots().join("x"), b"x", &none(&paths)).unwrap_err();
        for (error, path) in [
            (misshapen, paths.slots()),
            (folder_read, dir.path().to_path_buf()),
            (below_a_file, paths.slots().join("x")),
        ] {
            let said = error.to_string();
            assert!(said.contains(&path.display().to_string()), "{said}");
            let cause = error.source().unwrap().to_string();
            assert!(
                !cause.is_empty() && !said.contains(&cause),
                "{said}: {cause}"
            );
        }
    }

    #[test]
    fn a_view_is_stored_only_over_the_one_that_was_read() {
        let (_dir, paths) = paths();
        let first = View::first(ClusterUid("c".into()), table()).unwrap();
        let before = StoredView::read(&paths).unwrap();
        assert_eq!(before.parse(), Stored::Missing);
        before.advance(&paths, &first, &none(&paths)).unwrap();
        let now = StoredView::read(&paths).unwrap();
        assert_eq!(now.parse(), Stored::View(Box::new(first.clone())));
        let second = first.change_to(table()).unwrap();
        let overtaken = before.advance(&paths, &second, &none(&paths)).unwrap_err();
        assert!(
            matches!(overtaken, Error::Overtaken { .. }),
            "it is not missing any more: {overtaken}"
        );
        now.advance(&paths, &second, &none(&paths)).unwrap();
        let newest = StoredView::read(&paths).unwrap();
        let backwards = newest.advance(&paths, &first, &none(&paths)).unwrap_err();
        assert!(matches!(backwards, Error::Backwards { .. }), "{backwards}");
        assert_eq!(newest.parse(), Stored::View(Box::new(second)));
    }

    #[test]
    fn what_cannot_be_read_is_kept_when_a_view_takes_its_place() {
        let (_dir, paths) = paths();
        std::fs::write(paths.view(), b"\x09something").unwrap();
        let damaged = StoredView::read(&paths).unwrap();
        assert!(matches!(damaged.parse(), Stored::Unreadable(_)));
        let first = View::first(ClusterUid("c".into()), table()).unwrap();
        damaged.advance(&paths, &first, &none(&paths)).unwrap();
        let kept = paths.view().with_file_name("view-unreadable-before-1.bin");
        assert_eq!(std::fs::read(kept).unwrap(), b"\x09something");
    }

    #[test]
    fn events_stay_bounded_and_keep_the_newest() {
        let (_dir, paths) = paths();
        let event = |n: usize| EventLine {
            at: "2026-01-01T00:00:00Z".into(),
            kind: "Normal".into(),
            reason: "Tested".into(),
            message: format!("{n} {}", "x".repeat(4000)),
        };
        for n in 0..200 {
            append_events(&paths.events(), &[event(n)], &none(&paths)).unwrap();
        }
        let text = std::fs::read_to_string(paths.events()).unwrap();
        assert!(text.len() as u64 <= EVENTS_BYTES_AT_MOST);
        let lines: Vec<EventLine> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines.last().unwrap(), &event(199));
        assert!(lines.len() > 20);
    }
}
