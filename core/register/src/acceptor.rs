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
        accepted: Option<(Ballot, Value)>,
    },
    Rejected {
        promised: Ballot,
    },
}

/// What an acceptor answers to an accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Vote {
    Accepted,
    Rejected { promised: Ballot },
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
