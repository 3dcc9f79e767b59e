//! The one place where a failure of the data path becomes what a client is told: its
//! kind, the words of the error and of its causes, and what to do.
//!
//! "Nothing was changed" stands here alone, and never behind an error of which
//! [`Error::may_have_changed`] says that it may have been.

use chord_api::causes::words;
use chord_api::problem::{Kind, Problem};

use crate::files::Error;
use crate::quorum::QuorumError;
use crate::store::StoreError;

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let (kind, advice) = meaning(&error);
        match error {
            // Of the client's own body: this floor has made it.
            Error::Body(theirs) => match theirs.downcast::<Problem>() {
                Ok(problem) => *problem,
                Err(other) => problem(kind, words(&*other), advice),
            },
            Error::Precondition { ref current, .. } => Problem {
                current: current.clone(),
                ..problem(kind, words(&error), advice)
            },
            error => problem(kind, words(&error), advice),
        }
    }
}

impl From<QuorumError> for Problem {
    fn from(error: QuorumError) -> Problem {
        Error::Register(error).into()
    }
}

fn problem(kind: Kind, words: String, advice: &str) -> Problem {
    if kind == Kind::Internal {
        tracing::error!("{words}");
    }
    match advice {
        "" => Problem::new(kind, words),
        advice => Problem::new(kind, format!("{words}; {advice}")),
    }
}

/// The kind of a failure, and what whoever asked is to make of it.
fn meaning(error: &Error) -> (Kind, &'static str) {
    match error {
        Error::NotMember { .. } => (Kind::NoQuorum, "ask another node"),
        Error::NotFound { .. } => (Kind::NotFound, ""),
        Error::Precondition { .. } => (Kind::PreconditionFailed, ""),
        Error::Register(error) => of_register(error),
        Error::NoSpace { .. } => (Kind::Full, "delete some, or let the cluster grow"),
        Error::PartFull { .. } => (Kind::Full, "nothing was changed"),
        Error::PartNotPlaced { .. } => (Kind::NoQuorum, "nothing was changed; try again"),
        Error::CutShort { why, .. } if why.is_panic() => (Kind::Internal, "nothing was changed"),
        Error::CutShort { .. } => (Kind::Overloaded, "nothing was changed; try another node"),
        Error::NotBegun { .. } => (Kind::NoQuorum, "the file was not changed; try again"),
        Error::UploadExpired { .. } => (Kind::Overloaded, "nothing was changed; send it again"),
        Error::TooManyUploads { .. } => (Kind::Overloaded, "nothing was changed; try again later"),
        Error::OutcomeUnknown { .. } => (Kind::OutcomeUnknown, "read it to find out"),
        Error::OtherOutcome { .. } => (
            Kind::OutcomeUnknown,
            "read it to find out whether it was changed",
        ),
        Error::NoUploadMemory => (
            Kind::Overloaded,
            "nothing was changed; try again, or through another node",
        ),
        Error::NoDownloadMemory => (Kind::Overloaded, "try again, or through another node"),
        Error::Stopping => (Kind::Overloaded, ""),
        Error::Unreadable { why, .. } if why.is_overload() => (Kind::Overloaded, ""),
        Error::Unreadable { .. } => (Kind::NoQuorum, ""),
        Error::Uncovered(_) => (Kind::NoQuorum, "try again"),
        Error::NotKept { why, .. } => (of_disk(why), ""),
        Error::ShortPiece { .. } | Error::Body(_) => (Kind::Internal, ""),
    }
}

fn of_register(error: &QuorumError) -> (Kind, &'static str) {
    match error {
        QuorumError::NoView => (Kind::NoQuorum, ""),
        QuorumError::TooFew { .. } => (Kind::NoQuorum, "nothing was changed; try again"),
        QuorumError::Outbid { .. } => (
            Kind::Overloaded,
            "nothing was changed; try again, with fewer at a time",
        ),
        QuorumError::Full { .. } => (
            Kind::Full,
            "nothing was changed; delete some files, or let the cluster grow",
        ),
        QuorumError::Unconfirmed { .. } => (Kind::NoQuorum, "try again"),
        QuorumError::ChunkUnconfirmed { .. } => {
            (Kind::NoQuorum, "nothing was changed; send it again")
        }
    }
}

/// What it means that this node's own disk does not take something, or give it.
pub(super) fn of_disk(error: &StoreError) -> Kind {
    match error {
        StoreError::Full(_) => Kind::Full,
        StoreError::Overloaded(_) | StoreError::Refused(_) | StoreError::Closed => Kind::Overloaded,
        StoreError::Damaged(_)
        | StoreError::WrongCluster { .. }
        | StoreError::Io(_)
        | StoreError::Internal(_) => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use chord_types::{FileName, Ordinal};

    use super::*;
    use crate::answer::fetch::FetchError;
    use crate::files::error::Gap;
    use crate::peer::PeerError;
    use crate::peer::wire::Refusal;
    use crate::quorum::Hindrance;

    fn name() -> FileName {
        "a".parse().unwrap()
    }

    fn refused() -> PeerError {
        PeerError::Refused(Ordinal(2), Refusal::NotOwner)
    }

    async fn panicked() -> tokio::task::JoinError {
        tokio::spawn(async { panic!("ordered by the test") })
            .await
            .unwrap_err()
    }

    async fn cancelled() -> tokio::task::JoinError {
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        task.await.unwrap_err()
    }

    fn of_register() -> Vec<(Error, Kind)> {
        let why = || refused().into();
        let errors = [
            (QuorumError::NoView, Kind::NoQuorum),
            (
                QuorumError::TooFew {
                    name: name(),
                    why: why(),
                },
                Kind::NoQuorum,
            ),
            (QuorumError::Outbid { name: name() }, Kind::Overloaded),
            (QuorumError::Full { name: name() }, Kind::Full),
            (QuorumError::Unconfirmed { name: name() }, Kind::NoQuorum),
            (
                QuorumError::ChunkUnconfirmed {
                    name: name(),
                    part: 1,
                },
                Kind::NoQuorum,
            ),
        ];
        let errors = errors.into_iter();
        errors.map(|(e, kind)| (Error::Register(e), kind)).collect()
    }

    async fn of_an_upload() -> Vec<(Error, Kind)> {
        let (part, left) = (1, 9);
        let of = |error: fn(FileName) -> Error| error(name());
        let cut_short = |why| Error::CutShort { name: name(), why };
        let not_placed = Error::PartNotPlaced {
            name: name(),
            part,
            why: Some(refused()),
        };
        let full = Error::PartFull { name: name(), part };
        let no_space = Error::NoSpace { name: name(), left };
        let theirs = Problem::new(Kind::DigestMismatch, "no");
        vec![
            (no_space, Kind::Full),
            (full, Kind::Full),
            (not_placed, Kind::NoQuorum),
            (cut_short(panicked().await), Kind::Internal),
            (cut_short(cancelled().await), Kind::Overloaded),
            (of(|name| Error::NotBegun { name }), Kind::NoQuorum),
            (of(|name| Error::UploadExpired { name }), Kind::Overloaded),
            (of(|name| Error::TooManyUploads { name }), Kind::Overloaded),
            (
                of(|name| Error::OutcomeUnknown { name }),
                Kind::OutcomeUnknown,
            ),
            (
                of(|name| Error::OtherOutcome { name }),
                Kind::OutcomeUnknown,
            ),
            (Error::NoUploadMemory, Kind::Overloaded),
            (Error::body(theirs), Kind::DigestMismatch),
            (Error::body(std::fmt::Error), Kind::Internal),
        ]
    }

    fn of_the_rest() -> Vec<(Error, Kind)> {
        let current = Some(("tag".into(), 7));
        let unreadable = Error::Unreadable {
            name: name(),
            part: 1,
            why: FetchError::Peer(refused()),
        };
        let kept = |why: StoreError| Error::NotKept { name: name(), why };
        vec![
            (Error::NotMember { node: "n".into() }, Kind::NoQuorum),
            (Error::NotFound { name: name() }, Kind::NotFound),
            (
                Error::Precondition {
                    name: name(),
                    current,
                },
                Kind::PreconditionFailed,
            ),
            (Error::NoDownloadMemory, Kind::Overloaded),
            (Error::Stopping, Kind::Overloaded),
            (unreadable, Kind::NoQuorum),
            (Error::ShortPiece { name: name() }, Kind::Internal),
            (Error::Uncovered(Gap::Peer(refused())), Kind::NoQuorum),
            (kept(StoreError::Full("no room".into())), Kind::Full),
            (kept(StoreError::Closed), Kind::Overloaded),
            (kept(StoreError::Io("it broke".into())), Kind::Internal),
        ]
    }

    #[tokio::test]
    async fn every_error_has_its_kind_and_says_what_is_left_only_where_that_is_known() {
        let upload = of_an_upload().await;
        let all = of_register().into_iter().chain(upload).chain(of_the_rest());
        for (error, kind) in all {
            let (changed, said) = (error.may_have_changed(), error.to_string());
            let problem = Problem::from(error);
            assert_eq!(problem.kind, kind, "{said}");
            let detail = &problem.detail;
            assert!(detail.starts_with(&said), "{detail}");
            let unchanged =
                detail.contains("not changed") || detail.contains("nothing was changed");
            assert!(!(unchanged && changed), "{detail}");
            let unknown = kind == Kind::OutcomeUnknown;
            assert_eq!(changed, unknown, "{detail}");
            assert!(
                !unknown || detail.contains("read it to find out"),
                "{detail}"
            );
        }
    }

    #[tokio::test]
    async fn a_client_is_told_of_every_cause_once() {
        let why = Hindrance::Peer(refused());
        let problem = Problem::from(QuorumError::TooFew { name: name(), why });
        assert_eq!(
            problem.detail,
            "too few owners of \"a\" could be reached: node 2 refuses: it does not own that key in this view; nothing was changed; try again"
        );
        let current = Some(("tag".to_string(), 7));
        let failed = Error::Precondition {
            name: name(),
            current: current.clone(),
        };
        assert_eq!(Problem::from(failed).current, current);
    }
}
