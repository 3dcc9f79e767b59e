//! The operator's files on disk: replaced whole, the view only where it is still
//! the one that was read, and all by one process. On a file system that is full they
//! are replaced in the room of a ballast.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use chord_api::host::{Ballast, replace as whole};
use chord_types::View;
use rustix::fs::{FlockOperation, flock};

use super::files::{EventLine, Paths};
use chord_planner::plan::Stored;

/// Past this size the older half of the events goes.
const EVENTS_BYTES_AT_MOST: u64 = 256 * 1024;

/// What the ballast holds: the largest of these files, and as much again.
const BALLAST_BYTES: u64 = 512 * 1024;
/// A reader may be any program of the user's.
const MODE: u32 = 0o644;

/// The operator's ballast, made whole if there is room for it.
pub fn ballast(paths: &Paths) -> Ballast {
    let ballast = Ballast::new(paths.ballast(), BALLAST_BYTES);
    refill(&ballast);
    ballast
}

/// Takes back what was given of a ballast, where there is room for it.
pub fn refill(ballast: &Ballast) {
    if let Err(e) = ballast.fill() {
        tracing::warn!("setting room aside for a full disk: {e}; it is tried again");
    }
}

/// Reads a file; `None` where there is none.
pub fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    whole::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Replaces a file so that it is the old or the new one after a crash, unless it
/// has this content already.
pub fn replace(path: &Path, content: &[u8], ballast: &Ballast) -> anyhow::Result<()> {
    whole::replace(path, content, MODE, ballast)
        .with_context(|| format!("writing {}", path.display()))
}

/// Replaces a JSON file.
pub fn replace_json(
    path: &Path,
    content: &impl serde::Serialize,
    ballast: &Ballast,
) -> anyhow::Result<()> {
    let mut text =
        serde_json::to_vec(content).with_context(|| format!("writing {}", path.display()))?;
    text.push(b'\n');
    replace(path, &text, ballast)
}

/// The right to be this folder's operator, for as long as it is held.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock, or says that another operator has it.
pub fn lock(paths: &Paths) -> anyhow::Result<Lock> {
    let path = paths.lock();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            bail!(
                "another operator runs this cluster (it holds {}): stop it first",
                path.display()
            )
        }
        Err(e) => Err(e).with_context(|| format!("locking {}", path.display())),
    }
}

/// The stored view, as it was read.
#[derive(Debug, Default)]
pub struct StoredView {
    bytes: Option<Vec<u8>>,
}

impl StoredView {
    /// Reads what is stored.
    pub fn read(paths: &Paths) -> anyhow::Result<StoredView> {
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
    pub fn advance(&self, paths: &Paths, view: &View, ballast: &Ballast) -> anyhow::Result<()> {
        let path = paths.view();
        if read(&path)? != self.bytes {
            bail!(
                "storing view {}: {} has been changed by somebody else",
                view.epoch,
                path.display()
            );
        }
        match (self.parse(), &self.bytes) {
            (Stored::View(stored), _) if stored.epoch >= view.epoch => {
                bail!(
                    "storing view {}: {} holds view {} already",
                    view.epoch,
                    path.display(),
                    stored.epoch
                )
            }
            (Stored::Unreadable(_), Some(bytes)) => {
                replace(
                    &path.with_file_name(format!("view-unreadable-before-{}.bin", view.epoch)),
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
pub fn append_events(path: &Path, events: &[EventLine], ballast: &Ballast) -> anyhow::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for event in events {
        text.push_str(&serde_json::to_string(event)?);
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
    append().with_context(|| format!("writing {}", path.display()))
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
        assert!(error.to_string().contains("another operator"), "{error}");
        drop(first);
        lock(&paths).unwrap();
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
        assert!(
            before.advance(&paths, &second, &none(&paths)).is_err(),
            "it is not missing any more"
        );
        now.advance(&paths, &second, &none(&paths)).unwrap();
        let newest = StoredView::read(&paths).unwrap();
        assert!(
            newest.advance(&paths, &first, &none(&paths)).is_err(),
            "never backwards"
        );
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
