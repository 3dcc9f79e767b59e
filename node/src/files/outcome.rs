//! What an operation on a register means for who asked for it.

use chord_api::problem::{Kind, Problem};
use chord_register::proposer::End;
use chord_register::value::Refusal;
use chord_register::{Outcome, Value};
use chord_types::FileName;

use crate::view::{Identity, ViewKeeper};

/// The problem of a precondition that does not hold, with the current version.
pub fn precondition_failed(name: &FileName, current: Option<(String, u64)>) -> Problem {
    let now = match &current {
        Some((etag, version)) => {
            format!("its current version is {version}, with the tag \"{etag}\"")
        }
        None => "it does not exist".into(),
    };
    Problem {
        current,
        ..Problem::new(
            Kind::PreconditionFailed,
            format!("a precondition on {name:?} does not hold: {now}"),
        )
    }
}

/// What became of an operation that was to change something.
pub fn finished(name: &FileName, end: End) -> Result<(Value, Outcome), Problem> {
    match end {
        End::Done(value, outcome) => Ok((*value, outcome)),
        End::Absent => Err(Problem::new(
            Kind::NotFound,
            format!("there is no file {name:?}"),
        )),
        End::Refused(Refusal::NotFound) => Err(Problem::new(
            Kind::NotFound,
            format!("there is no file {name:?}"),
        )),
        End::Refused(Refusal::Precondition { current }) => Err(precondition_failed(name, current)),
        End::Refused(Refusal::UploadExpired) => Err(Problem::new(
            Kind::OutcomeUnknown,
            format!(
                "the upload of {name:?} was given up meanwhile; nothing was changed; send it again"
            ),
        )),
        End::Refused(Refusal::TooManyPending) => Err(Problem::new(
            Kind::Overloaded,
            format!(
                "too many uploads of {name:?} are under way; nothing was changed; try again later"
            ),
        )),
        End::Unknown => Err(Problem::new(
            Kind::OutcomeUnknown,
            format!(
                "whether {name:?} was changed cannot be known: its owners did not confirm it in time, because some are silent or other changes came first; read it to find out"
            ),
        )),
    }
}

/// Whether this node can take requests at all.
pub fn check_member(me: &Identity, view: &ViewKeeper) -> Result<(), Problem> {
    if view.is_member() {
        return Ok(());
    }
    Err(Problem::new(
        Kind::NoQuorum,
        format!(
            "{} is not a member of the cluster's view; ask another node",
            me.name
        ),
    ))
}
