//! Why an operation on a register failed. Each of these is certain to have left
//! nothing behind; what is not certain is [`End::Unknown`](chord_register::proposer::End).

use chord_types::FileName;

use super::retry::OPERATION_LIMIT;
use crate::peer::PeerError;

/// Why nothing was changed, or could be read.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// There is nobody to ask yet.
    #[error(
        "this node has no view: the cluster has not been formed, or the node has not joined it"
    )]
    NoView,
    /// Too few owners answered, or agreed, in time.
    #[error("too few owners of {name:?} could be reached")]
    TooFew {
        /// Of what.
        name: FileName,
        /// What was the matter last.
        #[source]
        why: Hindrance,
    },
    /// Others were always faster.
    #[error(
        "{name:?} is changed by so many at once that this had no turn in {} s",
        OPERATION_LIMIT.as_secs()
    )]
    Outbid {
        /// What is changed.
        name: FileName,
    },
    /// Too many of the owners have no room for it.
    #[error("there is no space for {name:?} on its owners")]
    Full {
        /// For what.
        name: FileName,
    },
    /// Nothing was to be changed, and what there is could not be confirmed.
    #[error("the value of {name:?} could not be confirmed")]
    Unconfirmed {
        /// Of what.
        name: FileName,
    },
    /// What had to hold before something was proposed does not.
    #[error("part {part} of {name:?} is not on enough of its owners after the view changed")]
    ChunkUnconfirmed {
        /// Of what.
        name: FileName,
        /// From 1.
        part: u32,
    },
}

/// What stood in the way of a try.
#[derive(Debug, thiserror::Error)]
pub enum Hindrance {
    /// Somebody was asked, and nobody has answered.
    #[error("none answered")]
    NoneAnswered,
    /// One of the owners could not be asked, or refused.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// An owner answered another question.
    #[error("an owner answered something else")]
    OtherAnswer,
    /// The owners answered: another ballot was above.
    #[error("another operation was faster")]
    Outbid,
    /// The owners have no room.
    #[error("their disks are full")]
    Full,
    /// What has to hold in a view was asked in one that was not in force any more.
    #[error("the view keeps changing")]
    ViewChanges,
    /// No two reads found the same.
    #[error("the owners kept disagreeing")]
    Disagreement,
}

impl QuorumError {
    /// Why an operation that has left nothing behind has failed.
    pub(super) fn gave_up(name: &FileName, why: Hindrance) -> QuorumError {
        let name = name.clone();
        match why {
            Hindrance::Outbid => QuorumError::Outbid { name },
            why => QuorumError::TooFew { name, why },
        }
    }
}
