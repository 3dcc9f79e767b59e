//! The operator's side of a node's peer port (8081).

use std::time::Duration;

use chord_types::report::NodeReport;
use chord_types::view::View;

use super::{builder, reason};

/// The header that carries the cluster's secret: `Authorization: Bearer …`.
pub fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

/// Why a node could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No answer came, or not all of it.
    #[error("{url} does not answer: {why}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// For people.
        why: String,
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
    /// What it answered is not what this request is answered with.
    #[error("{url} answered something that cannot be read: {why}")]
    Unreadable {
        /// What was asked for.
        url: String,
        /// For people.
        why: String,
    },
}

/// Talks to the peer port of nodes, with the cluster's secret.
#[derive(Clone)]
pub struct NodeClient {
    http: reqwest::Client,
    secret: String,
}

impl NodeClient {
    /// A client whose every call ends within `timeout`.
    pub fn new(secret: impl Into<String>, timeout: Duration) -> Result<NodeClient, reqwest::Error> {
        let http = builder::to_nodes(timeout)?;
        Ok(NodeClient {
            http,
            secret: secret.into(),
        })
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        url: &str,
    ) -> Result<bytes::Bytes, NodeError> {
        let unreachable = |e: reqwest::Error| NodeError::Unreachable {
            url: url.into(),
            why: reason(&e),
        };
        let response = request
            .header(http::header::AUTHORIZATION, bearer(&self.secret))
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body).chars().take(400).collect();
            return Err(NodeError::Refused {
                url: url.into(),
                status: status.as_u16(),
                body: text,
            });
        }
        Ok(body)
    }

    /// `GET {base}/peer/report`.
    pub async fn report(&self, base: &str) -> Result<NodeReport, NodeError> {
        let url = format!("{base}/peer/report");
        let body = self.send(self.http.get(&url), &url).await?;
        serde_json::from_slice(&body).map_err(|e| NodeError::Unreadable {
            url,
            why: e.to_string(),
        })
    }

    /// `GET {base}/peer/view`: the view that the node holds; `None` where it
    /// holds none (404).
    pub async fn view(&self, base: &str) -> Result<Option<View>, NodeError> {
        let url = format!("{base}/peer/view");
        match self.send(self.http.get(&url), &url).await {
            Ok(body) => View::decode(&body)
                .map(Some)
                .map_err(|e| NodeError::Unreadable {
                    url,
                    why: e.to_string(),
                }),
            Err(NodeError::Refused { status: 404, .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// `PUT {base}/peer/view`: gives the node a view. 204 when it holds it (or
    /// held it already), 409 when it refuses it.
    pub async fn push_view(&self, base: &str, view: &View) -> Result<(), NodeError> {
        let url = format!("{base}/peer/view");
        self.send(self.http.put(&url).body(view.encode()), &url)
            .await
            .map(|_| ())
    }
}
