//! Why the data path did not do what it was asked: what was being done, to what, and
//! beneath it the cause. What HTTP makes of it is in `node/src/http/failure.rs`.

use chord_types::FileName;
use tokio::task::JoinError;

use crate::answer::fetch::FetchError;
use crate::peer::PeerError;
use crate::quorum::QuorumError;
use crate::store::StoreError;

/// Why a file was not read, stored or deleted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This node takes no requests.
    #[error("{node} is not a member of the cluster's view")]
    NotMember {
        /// Its name.
        node: String,
    },
    /// There is no current version.
    #[error("there is no file {name:?}")]
    NotFound {
        /// The file that was asked for.
        name: FileName,
    },
    /// What the request wants of the current version is not so.
    #[error("a precondition on {name:?} does not hold: {}", now(.current))]
    Precondition {
        /// The file.
        name: FileName,
        /// The current version's tag, without quotes, and its number; `None`: there is
        /// no file.
        current: Option<(String, u64)>,
    },
    /// The register was not read, or not changed.
    #[error(transparent)]
    Register(#[from] QuorumError),
    /// The members have not the room for all copies.
    #[error("there is no space for {name:?}: the nodes have {left} bytes left for files")]
    NoSpace {
        /// The file.
        name: FileName,
        /// Bytes that are left on all members together.
        left: u64,
    },
    /// Too many owners of a part have no room for it.
    #[error("there is no space for part {part} of {name:?} on its owners")]
    PartFull {
        /// The file.
        name: FileName,
        /// From 1.
        part: u32,
    },
    /// Too few owners of a part have it.
    #[error("too few owners of part {part} of {name:?} took it")]
    PartNotPlaced {
        /// The file.
        name: FileName,
        /// From 1.
        part: u32,
        /// What the last of them said.
        #[source]
        why: Option<PeerError>,
    },
    /// The task that brought a part to its owners ended before its work did.
    #[error("sending part of {name:?} was cut short")]
    CutShort {
        /// The file.
        name: FileName,
        /// Whether it panicked, or the node is stopping.
        #[source]
        why: JoinError,
    },
    /// Nobody knows whether the upload is entered, and nobody sees it if it is.
    #[error("too few owners of {name:?} confirmed in time that its upload may begin")]
    NotBegun {
        /// The file.
        name: FileName,
    },
    /// The upload's entry in the register was taken out before the commit.
    #[error("the upload of {name:?} was given up meanwhile")]
    UploadExpired {
        /// The file.
        name: FileName,
    },
    /// The register has as many uploads under way as it takes.
    #[error("too many uploads of {name:?} are under way")]
    TooManyUploads {
        /// The file.
        name: FileName,
    },
    /// The change has left for the owners, and may have been made.
    #[error(
        "whether {name:?} was changed cannot be known: its owners did not confirm it in time, because some are silent or other changes came first"
    )]
    OutcomeUnknown {
        /// The file.
        name: FileName,
    },
    /// A fault of this program: the register tells of another operation than the one
    /// that was asked for.
    #[error("the register of {name:?} answered for another operation")]
    OtherOutcome {
        /// The file.
        name: FileName,
    },
    /// Uploads hold all the memory that they may.
    #[error("the uploads through this node have taken all of its memory for them")]
    NoUploadMemory,
    /// Downloads hold all the memory that they may.
    #[error("the downloads through this node have taken all of its memory for them")]
    NoDownloadMemory,
    /// Nothing new is begun any more.
    #[error("the node is stopping")]
    Stopping,
    /// No holder gives a part, or not all of it.
    #[error("cannot read {name:?} to its end: no copy of part {part} can be read")]
    Unreadable {
        /// The file.
        name: FileName,
        /// From 1.
        part: u32,
        /// What the last holder said.
        #[source]
        why: FetchError,
    },
    /// A fault of this program: what was verified is not as long as it should be.
    #[error("cannot read {name:?} to its end: a holder sent less than its chunk has")]
    ShortPiece {
        /// The file.
        name: FileName,
    },
    /// Too few members give their names.
    #[error("the listing would not be complete")]
    Uncovered(#[source] Gap),
    /// This node's own disk does not keep a file that was dropped here.
    #[error("cannot keep {name:?} on this node")]
    NotKept {
        /// The file.
        name: FileName,
        /// What the disk says.
        #[source]
        why: StoreError,
    },
    /// Whoever sends the body has stopped, or sends what is not right. The cause is
    /// theirs.
    #[error(transparent)]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// Why the names of a range are not known.
#[derive(Debug, thiserror::Error)]
pub enum Gap {
    /// Time ran out.
    #[error("its members do not answer in time")]
    Silent,
    /// A member answered another question.
    #[error("a member answered something else")]
    OtherAnswer,
    /// A member could not be asked, or refused.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl Error {
    /// An error of whoever sends a body.
    pub fn body(error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Body(Box::new(error))
    }

    /// Whether the file may be changed, now or in a moment. Only what has left for the
    /// acceptors of a register may have been done (rule 4): the chunks of a version that
    /// is not committed are seen by nobody.
    pub fn may_have_changed(&self) -> bool {
        matches!(
            self,
            Error::OutcomeUnknown { .. } | Error::OtherOutcome { .. }
        )
    }
}

fn now(current: &Option<(String, u64)>) -> String {
    match current {
        Some((etag, version)) => {
            format!("its current version is {version}, with the tag \"{etag}\"")
        }
        None => "it does not exist".into(),
    }
}
