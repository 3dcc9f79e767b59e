//! The operator's side of a node's peer port (8081).
//!
//! Each node is written to in the newest version of the protocol that it and this
//! program speak, as its last answer had it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chord_types::protocol::{SPEAKS, Speaks, WRITTEN_IN};
use chord_types::report::NodeReport;
use chord_types::view::View;
// Held for a look at a map, never while anything is awaited.
use parking_lot::Mutex;

/// Nodes whose versions are remembered: past it all are asked anew, which costs no
/// more than to be spoken to in the older version once.
const REMEMBERED: usize = 4096;

/// The status of the answer to what a node did not understand, for those who speak
/// [`ProtocolVersion::NAMED`](chord_types::ProtocolVersion::NAMED). Such an answer
/// looks the same in all versions to come: this status, the header [`SPEAKS`], and a
/// line of text.
pub const NOT_UNDERSTOOD: http::StatusCode = http::StatusCode::NOT_IMPLEMENTED;

use super::builder;
use crate::causes::Cause;
use crate::host::descriptors;

/// The header that carries the cluster's secret: `Authorization: Bearer …`.
pub fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

/// Why a node could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No answer came, or not all of it.
    #[error("{url} does not answer")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What lies beneath.
        #[source]
        why: Cause,
    },
    /// This process has no file descriptor to ask it with. That says nothing of the node.
    #[error("{url} cannot be asked from here")]
    Overloaded {
        /// What was asked for.
        url: String,
        /// What lies beneath.
        #[source]
        why: Cause,
    },
    /// It answered with another status than one of success.
    #[error("{url} answered {status}: {body}")]
    Refused {
        /// What was asked for.
        url: String,
        /// Of HTTP.
        status: u16,
        /// The beginning of what it said.
        body: String,
    },
    /// It could not make sense of what it was sent, and did nothing. It lives.
    #[error("{url} does not understand what it was sent: {why}; {}", remedy(.url, .speaks))]
    NotUnderstood {
        /// What was asked for.
        url: String,
        /// The versions of the protocol that it speaks.
        speaks: Speaks,
        /// What it says of it.
        why: String,
    },
    /// What it answered is not what this request is answered with.
    #[error("{url} answered something that cannot be read")]
    Unreadable {
        /// What was asked for.
        url: String,
        /// What lies beneath.
        #[source]
        why: Cause,
    },
}

fn remedy(url: &str, speaks: &Speaks) -> String {
    let apart = Speaks::OURS.apart("this program", speaks, url);
    apart.unwrap_or_else(|| "bring both to one release".into())
}

/// Talks to the peer port of nodes, with the cluster's secret.
#[derive(Clone)]
pub struct NodeClient {
    http: reqwest::Client,
    secret: String,
    /// What was in the last answer of each node, by the base of its URLs.
    speaks: Arc<Mutex<BTreeMap<String, Speaks>>>,
}

impl NodeClient {
    /// A client whose every call ends within `timeout`.
    pub fn new(secret: impl Into<String>, timeout: Duration) -> Result<NodeClient, reqwest::Error> {
        let http = builder::to_nodes(timeout)?;
        Ok(NodeClient {
            http,
            secret: secret.into(),
            speaks: Arc::default(),
        })
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        base: &str,
        url: &str,
    ) -> Result<bytes::Bytes, NodeError> {
        let unreachable = |e: reqwest::Error| {
            let (url, scarce) = (url.into(), descriptors::caused_by_exhaustion(&e));
            let why = e.into();
            match scarce {
                true => NodeError::Overloaded { url, why },
                false => NodeError::Unreachable { url, why },
            }
        };
        let written = Speaks::to_write(self.speaks.lock().get(base).copied());
        let response = request
            .header(http::header::AUTHORIZATION, bearer(&self.secret))
            .header(WRITTEN_IN, written.0)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let said = response.headers().get(SPEAKS).map(|v| v.as_bytes());
        let said = Speaks::of_header(said);
        if status.is_success() || said.is_some() {
            self.learn(base, said.unwrap_or_default());
        }
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body);
        }
        let (url, text) = (
            url.into(),
            String::from_utf8_lossy(&body).chars().take(400).collect(),
        );
        Err(match said {
            Some(speaks) if status == NOT_UNDERSTOOD => NodeError::NotUnderstood {
                url,
                speaks,
                why: text,
            },
            _ => NodeError::Refused {
                url,
                status: status.as_u16(),
                body: text,
            },
        })
    }

    fn learn(&self, base: &str, speaks: Speaks) {
        let mut known = self.speaks.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(base.into(), speaks);
    }

    /// `GET {base}/peer/report`.
    pub async fn report(&self, base: &str) -> Result<NodeReport, NodeError> {
        let url = format!("{base}/peer/report");
        let body = self.send(self.http.get(&url), base, &url).await?;
        serde_json::from_slice(&body).map_err(|e| NodeError::Unreadable { url, why: e.into() })
    }

    /// `GET {base}/peer/view`: the view that the node holds; `None` where it
    /// holds none (404).
    pub async fn view(&self, base: &str) -> Result<Option<View>, NodeError> {
        let url = format!("{base}/peer/view");
        match self.send(self.http.get(&url), base, &url).await {
            Ok(body) => View::decode(&body)
                .map(Some)
                .map_err(|e| NodeError::Unreadable { url, why: e.into() }),
            Err(NodeError::Refused { status: 404, .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// `PUT {base}/peer/view`: gives the node a view. 204 when it holds it (or
    /// held it already), 409 when it refuses it.
    pub async fn push_view(&self, base: &str, view: &View) -> Result<(), NodeError> {
        let url = format!("{base}/peer/view");
        self.send(self.http.put(&url).body(view.encode()), base, &url)
            .await
            .map(|_| ())
    }
}
