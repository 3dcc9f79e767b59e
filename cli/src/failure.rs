//! How a command ends: the exit codes that scripts hold on to, and failures in
//! words.

use std::process::ExitCode;

use chord_api::causes::briefly;
use chord_api::files::FilesError;
use chord_api::problem::Kind;
use http::StatusCode;

/// Exit codes. Part of the interface: never renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Precondition = 4,
    Unavailable = 5,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{message}")]
    Because { code: Code, message: String },
    /// Who reads our standard output went away: nothing to complain about.
    #[error("standard output was closed")]
    OutputClosed,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure::Because {
            code,
            message: message.into(),
        }
    }
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Code::Failed, message)
    }
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Code::Usage, message)
    }

    /// The code to exit with; `None` where this counts as done.
    pub fn code(&self) -> Option<Code> {
        match self {
            Failure::Because { code, .. } => Some(*code),
            Failure::OutputClosed => None,
        }
    }
}

impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Failure {
        Failure::new(code_of(&error), briefly(&error))
    }
}

/// What an answer of the cluster means for a script: what it named is not there
/// (3), a condition does not hold (4), trying again later may help (5).
fn code_of(error: &FilesError) -> Code {
    match error {
        FilesError::Endpoint(_) => Code::Usage,
        FilesError::Unreachable { .. } => Code::Unavailable,
        FilesError::Broken { .. } | FilesError::Unreadable { .. } => Code::Failed,
        // The request was right, the cluster is not in a state for it: no usage error.
        FilesError::Refused {
            status: StatusCode::CONFLICT,
            kind: Some(Kind::InvalidRequest),
            ..
        } => Code::Precondition,
        FilesError::Refused {
            kind: Some(kind), ..
        } => match kind {
            Kind::NotFound => Code::NotFound,
            Kind::PreconditionFailed => Code::Precondition,
            Kind::NoQuorum | Kind::OutcomeUnknown | Kind::Overloaded | Kind::StaleEpoch => {
                Code::Unavailable
            }
            Kind::InvalidName | Kind::InvalidRequest => Code::Usage,
            Kind::DigestMismatch
            | Kind::Range
            | Kind::TooLarge
            | Kind::Full
            | Kind::Unauthenticated
            | Kind::Forbidden
            | Kind::Internal => Code::Failed,
        },
        FilesError::Refused {
            status, kind: None, ..
        } => match *status {
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Code::Precondition,
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
            _ => Code::Failed,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, kind: Option<Kind>) -> Code {
        let status = StatusCode::from_u16(status).unwrap();
        code_of(&FilesError::Refused {
            doing: "x".into(),
            status,
            kind,
            detail: "y".into(),
        })
    }

    #[test]
    fn codes_are_the_ones_of_the_interface() {
        assert_eq!(refused(404, Some(Kind::NotFound)), Code::NotFound);
        assert_eq!(refused(404, None), Code::NotFound);
        assert_eq!(
            refused(412, Some(Kind::PreconditionFailed)),
            Code::Precondition
        );
        assert_eq!(
            refused(409, Some(Kind::PreconditionFailed)),
            Code::Precondition
        );
        assert_eq!(refused(409, None), Code::Precondition);
        assert_eq!(
            refused(409, Some(Kind::InvalidRequest)),
            Code::Precondition,
            "scale, elsewhere than chord up"
        );
        assert_eq!(refused(503, Some(Kind::NoQuorum)), Code::Unavailable);
        assert_eq!(refused(503, Some(Kind::OutcomeUnknown)), Code::Unavailable);
        assert_eq!(refused(503, None), Code::Unavailable);
        assert_eq!(refused(507, Some(Kind::Full)), Code::Failed);
        assert_eq!(refused(400, Some(Kind::InvalidName)), Code::Usage);
        assert_eq!(refused(500, None), Code::Failed);
        let numbers: Vec<u8> = [
            Code::Failed,
            Code::Usage,
            Code::NotFound,
            Code::Precondition,
            Code::Unavailable,
        ]
        .map(|c| c as u8)
        .into();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
    }
}
