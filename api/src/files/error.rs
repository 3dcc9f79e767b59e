//! Why a request for files did not do what it should; what people read of it is
//! [`causes::briefly`](crate::causes::briefly).

use http::StatusCode;

use crate::causes::Cause;
use crate::problem::{Kind, ProblemBody};

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// What was given is no base URL.
    #[error("{0:?} is no endpoint: it must look like http://127.0.0.1:8080")]
    Endpoint(String),
    /// No connection could be made, or no answer came in time.
    #[error("cannot {doing}: {url} cannot be reached")]
    Unreachable {
        /// What was being done, as in "cannot list the files".
        doing: String,
        /// The endpoint.
        url: String,
        /// What the network says.
        #[source]
        why: Cause,
    },
    /// The server answered that it does not.
    #[error("cannot {doing}: {detail}")]
    Refused {
        /// What was being done.
        doing: String,
        /// Of HTTP.
        status: StatusCode,
        /// What was wrong, where the server is one of ours.
        kind: Option<Kind>,
        /// For people.
        detail: String,
    },
    /// What was begun has not come to its end.
    #[error("cannot {doing}: the connection broke before the end")]
    Broken {
        /// What was being done.
        doing: String,
        /// What the network says, or what is missing.
        #[source]
        why: Cause,
    },
    /// The answer is not what this request is answered with.
    #[error("cannot {doing}: the answer cannot be read")]
    Unreadable {
        /// What was being done.
        doing: String,
        /// What is wrong with it.
        #[source]
        why: Cause,
    },
}

impl FilesError {
    /// What the server said was wrong, where it was one of ours.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            FilesError::Refused { kind, .. } => *kind,
            _ => None,
        }
    }

    /// The status that the server answered with, where it refused.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            FilesError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What a refusal says: the problem's kind and words, or the start of any body.
pub(super) async fn complaint(response: reqwest::Response) -> (Option<Kind>, String) {
    let status = response.status();
    let mut response = response;
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        body.extend_from_slice(&bytes);
        if body.len() > 64 * 1024 {
            break;
        }
    }
    if let Ok(problem) = serde_json::from_slice::<ProblemBody>(&body) {
        let name = problem
            .kind
            .strip_prefix("urn:chord:")
            .unwrap_or(&problem.kind)
            .to_string();
        let detail = if problem.detail.is_empty() {
            problem.title
        } else {
            problem.detail
        };
        return (
            serde_json::from_value(serde_json::Value::String(name)).ok(),
            detail,
        );
    }
    // HEAD has no body to say more.
    let kind = match status {
        StatusCode::NOT_FOUND => Some(Kind::NotFound),
        StatusCode::PRECONDITION_FAILED => Some(Kind::PreconditionFailed),
        _ => None,
    };
    let text: String = String::from_utf8_lossy(&body)
        .trim()
        .chars()
        .take(200)
        .collect();
    let words = match kind {
        Some(kind) if text.is_empty() => kind.title().to_string(),
        _ if text.is_empty() => format!("the server answered {status}"),
        _ => format!("the server answered {status}: {text}"),
    };
    (kind, words)
}
