//! Ballots order proposals. Two proposers never share one: the member and its
//! boot number (synced at start) are part of it.

use chord_types::{Epoch, Ordinal};
use serde::{Deserialize, Serialize};

/// Compared field by field, the epoch first: a proposal of a newer view beats
/// every one of an older view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    pub epoch: Epoch,
    pub counter: u64,
    pub member: Ordinal,
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
