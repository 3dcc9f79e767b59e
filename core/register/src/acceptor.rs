//! What an acceptor answers, as a plain function of its state.

use serde::{Deserialize, Serialize};

use super::ballot::Ballot;
use super::value::Value;

/// What an acceptor answers to a prepare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every answer is the large one"
)]
pub enum Promise {
    /// No ballot below this one will be accepted; what has been.
    Promised {
        /// The ballot and value accepted last, if any.
        accepted: Option<(Ballot, Value)>,
    },
    /// A higher ballot has been promised or accepted.
    Rejected {
        /// That ballot.
        promised: Ballot,
    },
}

/// What an acceptor answers to an accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Vote {
    /// The value is on disk here under this ballot.
    Accepted,
    /// A higher ballot has been promised or accepted.
    Rejected {
        /// That ballot.
        promised: Ballot,
    },
}

/// Whether a prepare is granted: only above everything promised or accepted.
pub fn grants(promised: Ballot, accepted: Option<Ballot>, ballot: Ballot) -> Result<(), Ballot> {
    let floor = promised.max(accepted.unwrap_or(Ballot::ZERO));
    if ballot > floor { Ok(()) } else { Err(floor) }
}

/// Whether an accept is granted: at or above everything promised, and above
/// everything accepted, unless it is the same proposal again.
pub fn accepts(promised: Ballot, accepted: Option<Ballot>, ballot: Ballot) -> Result<(), Ballot> {
    let floor = promised.max(accepted.unwrap_or(Ballot::ZERO));
    if ballot >= floor { Ok(()) } else { Err(floor) }
}
