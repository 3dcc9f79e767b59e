//! Why something was not read from the API server, or not written to it.

use crate::kube::failure::Kind;

/// Why an object was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error("{doing}")]
    Request {
        /// What was being done, and to what.
        doing: String,
        /// Why it failed.
        source: Cause,
    },
    /// An object of a name that the cluster needs belongs to somebody else.
    #[error(
        "{kind} {name} is there already and does not belong to this cluster; it is left alone: rename the cluster, or take the object away"
    )]
    NameConflict {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The object is on its way out; it is made anew once it has gone.
    #[error("{kind} {name} is being deleted")]
    BeingDeleted {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// Why a request to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The API server refused it.
    #[error("{words}")]
    Refused {
        /// Its HTTP status.
        status: u16,
        /// Its own words.
        words: String,
    },
    /// There was no answer, or none that can be read.
    #[error("the API server does not answer as it should")]
    NoAnswer(#[source] Box<kube::Error>),
}

impl From<kube::Error> for Cause {
    fn from(error: kube::Error) -> Cause {
        match error {
            kube::Error::Api(status) => Cause::Refused {
                status: status.code,
                words: match (status.message.as_str(), status.reason.as_str()) {
                    ("", "") => format!("the API server answers {}", status.code),
                    ("", reason) => format!("the API server answers {} {reason}", status.code),
                    (message, _) => message.to_string(),
                },
            },
            other => Cause::NoAnswer(Box::new(other)),
        }
    }
}

impl Error {
    /// Says what was being done when a request failed.
    pub fn request(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
        let doing = doing.into();
        move |error| Error::Request {
            doing,
            source: error.into(),
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Request { source, .. } => match source {
                Cause::Refused { status, .. } => Kind::Rejected(*status),
                Cause::NoAnswer(_) => Kind::Unreachable,
            },
            Error::NameConflict { .. } => Kind::NameConflict,
            Error::BeingDeleted { .. } => Kind::Waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_api::causes;

    #[test]
    fn a_refusal_is_shown_by_its_message_alone() {
        let status = kube::core::Status::failure("spec.x: Invalid value", "Invalid");
        let refused = kube::Error::Api(Box::new(status.with_code(422)));
        let error = Error::request("applying StatefulSet files")(refused);
        assert_eq!(error.kind(), Kind::Rejected(422));
        assert_eq!(
            causes::words(&error),
            "applying StatefulSet files: spec.x: Invalid value"
        );
        let wordless = kube::core::Status::default().with_code(503);
        let error = Error::request("reading pod files-0")(kube::Error::Api(Box::new(wordless)));
        assert_eq!(
            causes::words(&error),
            "reading pod files-0: the API server answers 503"
        );
    }

    #[test]
    fn why_there_was_no_answer_is_said_once() {
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = Error::request("reading pod files-0")(kube::Error::Service(Box::new(io)));
        assert_eq!(error.kind(), Kind::Unreachable);
        let words = causes::words(&error);
        assert_eq!(words.matches("connection refused").count(), 1, "{words}");
    }
}
