//! Why a round ended early.

use crate::crd::BadSpec;

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
