//! What an operation on a register means for who asked for it.

use chord_register::proposer::End;
use chord_register::value::Refusal;
use chord_register::{Outcome, Value};
use chord_types::FileName;

use super::Error;
use crate::view::{Identity, ViewKeeper};

/// What became of an operation that was to change something.
pub fn finished(name: &FileName, end: End) -> Result<(Value, Outcome), Error> {
    let name = name.clone();
    match end {
        End::Done(value, outcome) => Ok((*value, outcome)),
        End::Absent | End::Refused(Refusal::NotFound) => Err(Error::NotFound { name }),
        End::Refused(Refusal::Precondition { current }) => {
            Err(Error::Precondition { name, current })
        }
        // A refusal is an answer about a decided value which shows that this operation
        // is not in it: so nothing was changed.
        End::Refused(Refusal::UploadExpired) => Err(Error::UploadExpired { name }),
        End::Refused(Refusal::TooManyPending) => Err(Error::TooManyUploads { name }),
        End::Unknown => Err(Error::OutcomeUnknown { name }),
    }
}

/// Whether this node can take requests at all.
pub fn check_member(me: &Identity, view: &ViewKeeper) -> Result<(), Error> {
    if view.is_member() {
        return Ok(());
    }
    Err(Error::NotMember {
        node: me.name.clone(),
    })
}
