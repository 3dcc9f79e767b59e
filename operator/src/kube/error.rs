//! Why a round ended early.

use crate::crd::BadSpec;
use crate::crd::status::ConditionNow;

/// What happens so often in a row does not pass by itself.
const PASSES: u32 = 3;

/// Why a round ended early. What it had done stays; the next one goes on from
/// there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object of a name that the cluster needs belongs to somebody else.
    #[error(
        "{kind} {name} is there already and does not belong to this cluster; it is left alone: rename the cluster, or take the object away"
    )]
    NameConflict { kind: String, name: String },
    /// The resource cannot be obeyed.
    #[error("{0}")]
    InvalidSpec(#[from] BadSpec),
    /// The API server refused something.
    #[error("{doing}: {source}")]
    Api {
        doing: String,
        source: Box<kube::Error>,
    },
    /// Something takes its time; the next round looks again.
    #[error("{0}")]
    Waiting(String),
    /// Something that must not be: nothing is done rather than the wrong thing.
    #[error("{0}")]
    Refused(String),
    /// The round took too long or broke down.
    #[error("the round {0}")]
    Broken(String),
}

impl Error {
    /// Says what was being done when the API server refused it.
    pub fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Api {
            doing,
            source: Box::new(source),
        }
    }

    /// The condition that tells of it; `None` where it passes by itself. `failures`:
    /// how many rounds in a row have ended early before.
    pub fn condition(&self, failures: u32) -> Option<ConditionNow> {
        let (kind, reason) = match self {
            Error::NameConflict { .. } => ("NameConflict", "NameConflict"),
            Error::InvalidSpec(_) => ("InvalidSpec", "InvalidSpec"),
            // What is waited for is no fault.
            Error::Waiting(_) => ("Progressing", "Waiting"),
            Error::Refused(_) => ("ApplyFailed", "Refused"),
            _ => match self.status() {
                // Somebody was faster, or there is too much to do.
                Some(409 | 429) if failures < PASSES => return None,
                Some(400..=499) => ("ApplyFailed", "Rejected"),
                _ if failures < PASSES => return None,
                _ => ("ApplyFailed", "NotReached"),
            },
        };
        Some(ConditionNow {
            kind: kind.into(),
            status: true,
            reason: reason.into(),
            message: self.to_string(),
        })
    }

    /// The HTTP status with which the API server refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16) -> Error {
        let status = kube::core::Status::failure("no", "No").with_code(code);
        Error::api("applying StatefulSet files")(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn what_does_not_pass_by_itself_is_told_at_once() {
        let kind = |e: &Error, failures| e.condition(failures).map(|c| c.kind);
        let failed = Some("ApplyFailed".to_string());
        assert_eq!(kind(&answered(422), 0), failed);
        assert_eq!(kind(&answered(403), 0), failed);
        assert_eq!(kind(&Error::Refused("no".into()), 0), failed);
        assert_eq!(kind(&answered(409), 0), None);
        assert_eq!(kind(&answered(503), 0), None);
        assert_eq!(kind(&answered(500), PASSES), failed);
        assert_eq!(
            kind(&Error::Waiting("a moment".into()), 0).as_deref(),
            Some("Progressing")
        );
        let message = answered(422).condition(0).map(|c| c.message);
        assert!(message.is_some_and(|m| m.contains("StatefulSet files")));
    }
}
