//! Errors as people and programs see them: RFC 9457 problem details.

use http::StatusCode;
use serde::{Deserialize, Serialize};

/// What went wrong, one of a closed list; `urn:chord:…` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A name that cannot be a file's.
    InvalidName,
    /// Not as this request has to be.
    InvalidRequest,
    /// The content is not that of the digest given with it.
    DigestMismatch,
    /// No such file, or no such route.
    NotFound,
    /// A condition of the request does not hold.
    PreconditionFailed,
    /// A range outside the file.
    Range,
    /// More than may be sent.
    TooLarge,
    /// No space left on the disks that would have to take it.
    Full,
    /// Too few copies can be reached; try again.
    NoQuorum,
    /// It may or may not have been done.
    OutcomeUnknown,
    /// Of another view than the one in force.
    StaleEpoch,
    /// Too much to do, or too little to do it with, at the moment; try again.
    Overloaded,
    /// No credentials, or wrong ones.
    Unauthenticated,
    /// Not allowed to whoever asks.
    Forbidden,
    /// The node failed: neither the request is to blame nor a lack of nodes or room.
    Internal,
}

impl Kind {
    /// The name after `urn:chord:`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::InvalidName => "invalid-name",
            Kind::InvalidRequest => "invalid-request",
            Kind::DigestMismatch => "digest-mismatch",
            Kind::NotFound => "not-found",
            Kind::PreconditionFailed => "precondition-failed",
            Kind::Range => "range",
            Kind::TooLarge => "too-large",
            Kind::Full => "full",
            Kind::NoQuorum => "no-quorum",
            Kind::OutcomeUnknown => "outcome-unknown",
            Kind::StaleEpoch => "stale-epoch",
            Kind::Overloaded => "overloaded",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Forbidden => "forbidden",
            Kind::Internal => "internal",
        }
    }

    /// The usual status of this kind.
    pub fn status(self) -> StatusCode {
        match self {
            Kind::InvalidName | Kind::InvalidRequest | Kind::DigestMismatch => {
                StatusCode::BAD_REQUEST
            }
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Kind::Range => StatusCode::RANGE_NOT_SATISFIABLE,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Full => StatusCode::INSUFFICIENT_STORAGE,
            Kind::NoQuorum | Kind::OutcomeUnknown | Kind::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Kind::StaleEpoch => StatusCode::CONFLICT,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A short title, the same for every case of this kind.
    pub fn title(self) -> &'static str {
        match self {
            Kind::InvalidName => "The name cannot be a file's name",
            Kind::InvalidRequest => "The request cannot be understood",
            Kind::DigestMismatch => "The content does not match its digest",
            Kind::NotFound => "There is no such thing",
            Kind::PreconditionFailed => "A condition of the request does not hold",
            Kind::Range => "The range lies outside the file",
            Kind::TooLarge => "Something in the request is too large",
            Kind::Full => "There is no space left for this",
            Kind::NoQuorum => "Too few copies can be reached",
            Kind::OutcomeUnknown => "Whether the change was made cannot be known",
            Kind::StaleEpoch => "The request is of another view",
            Kind::Overloaded => "There is too much to do at the moment",
            Kind::Unauthenticated => "The request does not say who makes it",
            Kind::Forbidden => "This is not allowed",
            Kind::Internal => "The node failed",
        }
    }
}

/// A problem: its kind and what there is to say of this case.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Which of the list it is.
    pub kind: Kind,
    /// What was being done, to what, why it failed, what to do.
    pub detail: String,
    /// Another status than the kind's usual one.
    pub status: Option<StatusCode>,
    /// The file's current entity tag (without quotes) and version: with 412.
    pub current: Option<(String, u64)>,
    /// The file's size: with 416.
    pub size: Option<u64>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem {
            kind,
            detail: detail.into(),
            status: None,
            current: None,
            size: None,
        }
    }

    /// The same with another status.
    pub fn with_status(mut self, status: StatusCode) -> Problem {
        self.status = Some(status);
        self
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| self.kind.status())
    }

    /// The body, `application/problem+json`.
    pub fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: format!("urn:chord:{}", self.kind.name()),
            title: self.kind.title().to_string(),
            status: self.status().as_u16(),
            detail: self.detail.clone(),
        }
    }
}

/// The body of a problem on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemBody {
    /// `urn:chord:` and the kind's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this kind.
    pub title: String,
    /// Of HTTP.
    pub status: u16,
    /// What there is to say of this case.
    pub detail: String,
}
