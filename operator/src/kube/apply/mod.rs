//! Carrying a plan out, in the order of safety: the record is stored before any node
//! gets the view, a proof is written down before its node goes, and what a round could
//! not do it leaves for the next one.

pub mod claims;
pub mod objects;
pub mod outcome;
pub mod record;
pub mod restarts;
#[cfg(test)]
mod tests;
pub mod turns;

use super::api;
use super::failure::Kind;

/// Why a step was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object was not read or written, or is somebody else's.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// A StatefulSet is made anew for larger volumes, and the claims would go with it.
    #[error("the StatefulSet is made anew for larger volumes once it no longer owns the claims")]
    SetOwnsClaims,
    /// The StatefulSet was deleted without its pods.
    #[error("the StatefulSet is being made anew for larger volumes; its pods go on")]
    SetMadeAnew,
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Api(e) => e.kind(),
            Error::SetOwnsClaims | Error::SetMadeAnew => Kind::Waiting,
        }
    }
}
