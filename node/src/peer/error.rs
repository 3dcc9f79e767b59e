//! Why another node was not asked, or did not do what it was asked. Each error says
//! what was the matter with which node, and keeps what lies beneath it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use chord_api::causes;
use chord_api::host::descriptors;
use chord_types::view::BadView;
use chord_types::{Ordinal, ProtocolVersion, Speaks};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::wire::Refusal;

/// Why a node did not do what it was asked, as far as is known here.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Nothing says where it is.
    #[error("node {0} has no known address")]
    NoAddress(Ordinal),
    /// No answer came, or not all of it: what was asked may have been done.
    #[error("node {0} does not answer")]
    Unreachable(Ordinal, #[source] reqwest::Error),
    /// Its address is there, and refuses connections.
    #[error("node {0} does not run")]
    Gone(Ordinal, #[source] reqwest::Error),
    /// This process has no file descriptor to ask it with: that says nothing about it.
    #[error("node {0} cannot be asked from here")]
    Overloaded(Ordinal, #[source] reqwest::Error),
    /// It understood, and did not do it.
    #[error("node {0} refuses")]
    Refused(Ordinal, #[source] Refusal),
    /// It could not make sense of what it was sent, and did nothing. It lives.
    #[error("node {0} does not understand this node")]
    NotUnderstood(Ordinal, #[source] NotUnderstood),
    /// What came back is no answer to this request.
    #[error("node {0} answered what cannot be understood")]
    Unreadable(Ordinal, #[source] Misread),
    /// A fault of this program: nothing was sent.
    #[error("what is to be said to node {0} cannot be encoded")]
    Unwritable(Ordinal, #[source] rmp_serde::encode::Error),
}

impl PeerError {
    /// What it means that a request has failed without an answer. A refused connection
    /// says more than a time-out: nobody listens there.
    pub(super) fn unreached(to: Ordinal, error: reqwest::Error) -> PeerError {
        if descriptors::caused_by_exhaustion(&error) {
            return PeerError::Overloaded(to, error);
        }
        let mut cause = error.source();
        while let Some(beneath) = cause {
            if beneath
                .downcast_ref::<std::io::Error>()
                .is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
            {
                return PeerError::Gone(to, error);
            }
            cause = beneath.source();
        }
        PeerError::Unreachable(to, error)
    }
}

/// What about an answer cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum Misread {
    /// A failure without the words of a node: something else may have answered.
    #[error("HTTP {0}")]
    Status(StatusCode),
    /// More bytes came than can be an answer.
    #[error("it sent more than was asked")]
    TooLong,
    /// Fewer bytes came than the hashes of the chunk have.
    #[error("the chunk's answer is too short")]
    TooShort,
    /// It is no message.
    #[error(transparent)]
    Message(#[from] rmp_serde::decode::Error),
    /// It is no view.
    #[error(transparent)]
    View(#[from] BadView),
    /// It is no report.
    #[error(transparent)]
    Report(#[from] serde_json::Error),
}

/// What a node did not understand, and what it would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUnderstood {
    /// Who says so, for people.
    pub by: Ordinal,
    /// The version that it was written to in.
    pub written: ProtocolVersion,
    /// The versions that it speaks.
    pub speaks: Speaks,
    /// What it says of it.
    pub why: String,
}

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let them = format!("node {}", self.by);
        write!(f, "{}; ", self.why)?;
        match Speaks::OURS.apart("this node", &self.speaks, &them) {
            Some(remedy) => f.write_str(&remedy),
            None => write!(
                f,
                "it was written to in version {} of the protocol and speaks {}, this node {}: should it go on, bring both to one release",
                self.written,
                self.speaks,
                Speaks::OURS
            ),
        }
    }
}

impl Error for NotUnderstood {}

/// Why a node has failed to do what it was asked.
///
/// Its words are those of the error and of all its causes: they go over the wire. Where it
/// failed it keeps the error itself, too. Two are equal if their words are.
#[derive(Clone)]
pub struct Failure {
    words: String,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// What was being done, and the error that ended it.
    pub fn new(doing: &str, cause: impl Error + Send + Sync + 'static) -> Failure {
        let words = format!("{doing}: {}", causes::words(&cause));
        Failure::in_words(words, cause)
    }

    /// An error that says by itself what was being done.
    pub fn of(error: impl Error + Send + Sync + 'static) -> Failure {
        Failure::in_words(causes::words(&error), error)
    }

    /// Words that have the error's in them.
    pub fn in_words(words: String, cause: impl Error + Send + Sync + 'static) -> Failure {
        let cause: Arc<dyn Error + Send + Sync> = Arc::new(cause);
        Failure {
            words,
            cause: Some(cause),
        }
    }
}

impl From<&str> for Failure {
    fn from(words: &str) -> Failure {
        words.to_string().into()
    }
}

impl From<String> for Failure {
    fn from(words: String) -> Failure {
        Failure { words, cause: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.words, f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Some(cause) => Some(&**cause),
            None => None,
        }
    }
}

impl PartialEq for Failure {
    fn eq(&self, other: &Failure) -> bool {
        self.words == other.words
    }
}

impl Eq for Failure {}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.words)
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Failure, D::Error> {
        String::deserialize(from).map(Failure::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_cause_here_and_goes_over_the_wire_in_words() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let words = format!("reading the register: {full}");
        let here = Refusal::Failed(Failure::new("reading the register", full));
        let cause = here.source().unwrap();
        assert!(cause.downcast_ref::<std::io::Error>().is_some(), "{cause}");
        let sent = rmp_serde::to_vec_named(&here).unwrap();
        let plain = rmp_serde::to_vec_named(&Refusal::Failed(words.clone().into())).unwrap();
        assert_eq!(sent, plain, "as it was when it was a string");
        let there: Refusal = rmp_serde::from_slice(&sent).unwrap();
        assert_eq!(there, here);
        assert_eq!(causes::words(&here), words, "a cause is said once");
        let told = PeerError::Refused(Ordinal(3), there);
        assert_eq!(causes::words(&told), format!("node 3 refuses: {words}"));
    }

    #[tokio::test]
    async fn what_was_not_reached_keeps_what_the_network_said() {
        // Nobody listens where somebody has just stopped listening.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = chord_api::client::builder::between_nodes().unwrap();
        let error = client.get(url).send().await.unwrap_err();
        let gone = PeerError::unreached(Ordinal(2), error);
        assert!(matches!(gone, PeerError::Gone(..)), "{gone:?}");
        assert_eq!(gone.to_string(), "node 2 does not run");
        let words = causes::words(&gone);
        assert!(words.contains("refused"), "{words}");
    }
}
