//! Ballots order proposals. Two proposers never share one: the member and its
//! boot number (synced at start) are part of it.

use chord_types::{Epoch, Ordinal};
use serde::{Deserialize, Serialize};

/// Compared field by field, the epoch first: a proposal of a newer view beats
/// every one of an older view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// The view in which it is proposed.
    pub epoch: Epoch,
    /// Counts the tries at one register.
    pub counter: u64,
    /// Who proposes.
    pub member: Ordinal,
    /// The proposer's start: the number of its disk's boot.
    pub boot: u64,
}

impl Ballot {
    /// Less than every ballot that anybody proposes.
    pub const ZERO: Ballot = Ballot {
        epoch: Epoch(0),
        counter: 0,
        member: Ordinal(0),
        boot: 0,
    };
}
