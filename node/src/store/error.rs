//! Why a disk could not be opened, or did not do what it was asked: each says what
//! was being done, to what and why it failed, and keeps the error beneath it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chord_api::host::ballast::no_room;
use chord_api::host::descriptors;
use chord_types::ClusterUid;

/// What was being done, and the error that ended it where there is one.
///
/// Two are equal if they say the same.
#[derive(Clone, Debug)]
pub struct Why {
    doing: String,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Why {
    /// What was being done, to what, and the error that ended it.
    pub fn new(doing: impl Into<String>, cause: impl Error + Send + Sync + 'static) -> Why {
        Why {
            doing: doing.into(),
            cause: Some(Arc::new(cause)),
        }
    }

    /// The error beneath, if it is one of the file system.
    pub fn io(&self) -> Option<&std::io::Error> {
        self.source()?.downcast_ref()
    }
}

impl From<String> for Why {
    fn from(doing: String) -> Why {
        Why { doing, cause: None }
    }
}

impl From<&str> for Why {
    fn from(doing: &str) -> Why {
        doing.to_string().into()
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.cause {
            None => f.write_str(&self.doing),
            Some(cause) => write!(f, "{}: {cause}", self.doing),
        }
    }
}

impl Error for Why {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            None => None,
            Some(cause) => Some(&**cause),
        }
    }
}

impl PartialEq for Why {
    fn eq(&self, other: &Why) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Why {}

/// Why a disk cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the data folder {dir} is in use by another process: one node at a time may open a disk"
    )]
    Busy {
        /// The data folder.
        dir: PathBuf,
    },
    /// It is bound to a cluster, and that is not the one asked for.
    #[error(
        "the disk in {dir} belongs to cluster {found}, not to {wanted}: give this node another disk, or empty this one"
    )]
    WrongCluster {
        /// The data folder.
        dir: PathBuf,
        /// The cluster of the disk.
        found: ClusterUid,
        /// The cluster of this node.
        wanted: ClusterUid,
    },
    /// A newer program has written it.
    #[error(
        "the disk in {dir} is of format {found}, this program reads up to format {known}: run the newer program"
    )]
    NewerFormat {
        /// The data folder.
        dir: PathBuf,
        /// The format of the disk.
        found: u32,
        /// The newest format that this program reads.
        known: u32,
    },
    /// What it gives back is not what was written to it.
    #[error("the disk in {dir} is damaged: {why}; it must not vote, replace it by an empty one")]
    Damaged {
        /// The data folder.
        dir: PathBuf,
        /// What is damaged.
        #[source]
        why: Why,
    },
    /// There is not even the room that opening takes.
    #[error("the disk in {dir} is full: {why}; free space on the file system")]
    Full {
        /// The data folder.
        dir: PathBuf,
        /// What could not be written.
        #[source]
        why: Why,
    },
    /// The file system refused something.
    #[error("cannot open the disk in {dir}: {why}")]
    Io {
        /// The data folder.
        dir: PathBuf,
        /// What was being done.
        #[source]
        why: Why,
    },
}

impl OpenError {
    /// What a failure of the store means while the disk in `dir` is being opened.
    pub(in crate::store) fn of(dir: &Path, error: StoreError) -> OpenError {
        let dir = dir.to_path_buf();
        match error {
            StoreError::Full(why) => OpenError::Full { dir, why },
            StoreError::Damaged(why) => OpenError::Damaged { dir, why },
            StoreError::Io(why) => OpenError::Io { dir, why },
            other => OpenError::Io {
                dir,
                why: Why::new("reading what it says of itself", other),
            },
        }
    }
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written.
    #[error("the disk is full: {0}")]
    Full(#[source] Why),
    /// What the disk gives back is not what was written to it.
    #[error("the disk is damaged: {0}; it must not vote until it is replaced")]
    Damaged(#[source] Why),
    /// The disk is bound to one cluster.
    #[error("the view is of cluster {found}, the disk belongs to {wanted}")]
    WrongCluster {
        /// The cluster of the view.
        found: ClusterUid,
        /// The cluster of the disk.
        wanted: ClusterUid,
    },
    /// The file system or the database failed.
    #[error("the disk failed: {0}")]
    Io(#[source] Why),
    /// This process has no file descriptor left. It says nothing about the disk, and
    /// passes.
    #[error("too many files and connections are open: {0}")]
    Overloaded(#[source] Why),
    /// It was closed before.
    #[error("the disk has been closed")]
    Closed,
    /// A caller's own reason to give up a transaction, or a call that makes no sense.
    #[error("{0}")]
    Refused(#[source] Why),
    /// A fault of this program; the disk is not to blame.
    #[error("a fault of the store: {0}")]
    Internal(#[source] Why),
}

/// Why a chunk could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// There is none under this id, as far as is known.
    #[error("the chunk is not on this disk")]
    Missing,
    /// It has been marked as missing, so that it is fetched again.
    #[error("the chunk is damaged: {0}")]
    Damaged(#[source] Why),
    /// The bytes received are not those announced; nothing was kept.
    #[error("the chunk that came is not the one announced: {0}")]
    Mismatch(String),
    /// Another chunk is here under this id.
    #[error("another chunk is on this disk under the same id")]
    Conflict,
    /// A block was asked for that it does not have.
    #[error("the chunk has no block {0}")]
    OutOfRange(u32),
    /// The disk, not the chunk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an error of the file system means: a full disk is not a broken one, nor is one
/// for which there is no file descriptor.
pub(in crate::store) fn failed(doing: &str, path: &Path, error: std::io::Error) -> StoreError {
    let (full, overloaded) = (no_room(&error), descriptors::exhausted(&error));
    let why = Why::new(format!("{doing} {}", path.display()), error);
    if full {
        StoreError::Full(why)
    } else if overloaded {
        StoreError::Overloaded(why)
    } else {
        StoreError::Io(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_done_to_what_and_keeps_what_the_file_system_said() {
        let of = |kind| failed("writing", Path::new("/data/tmp/7"), kind);
        let full = of(std::io::ErrorKind::StorageFull.into());
        let StoreError::Full(why) = &full else {
            panic!("{full:?}");
        };
        assert_eq!(
            why.io().map(std::io::Error::kind),
            Some(std::io::ErrorKind::StorageFull)
        );
        assert!(full.to_string().contains("writing /data/tmp/7: "), "{full}");
        let broken = of(rustix::io::Errno::IO.into());
        assert!(matches!(broken, StoreError::Io(_)), "{broken:?}");
        assert_ne!(full, broken);
        let scarce = of(rustix::io::Errno::MFILE.into());
        assert!(matches!(scarce, StoreError::Overloaded(_)), "{scarce:?}");
        let opening = OpenError::of(Path::new("/data"), broken.clone());
        let OpenError::Io { why, .. } = &opening else {
            panic!("{opening:?}");
        };
        assert_eq!(StoreError::Io(why.clone()), broken, "nothing is lost");
        // The whole chain can be walked to the cause.
        let mut chain: &dyn Error = &opening;
        while let Some(next) = chain.source() {
            chain = next;
        }
        assert!(chain.downcast_ref::<std::io::Error>().is_some(), "{chain}");
    }
}
