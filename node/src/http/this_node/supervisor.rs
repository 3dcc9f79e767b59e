//! The supervisor of `chord up`: requests to change the cluster are passed on to it.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use chord_api::problem::{Kind, Problem};

/// How long the supervisor may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The way to the supervisor, if there is one.
pub struct Supervisor {
    base: Option<String>,
    secret: String,
    http: reqwest::Client,
}

impl Supervisor {
    /// The supervisor at a base URL; it wants the cluster's secret.
    pub fn new(base: Option<String>, secret: String) -> Result<Supervisor, reqwest::Error> {
        let http = chord_api::client::builder::to_supervisor(LIMIT)?;
        Ok(Supervisor { base, secret, http })
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.base.is_some()
    }

    /// Passes a request on: status, media type and body of its answer.
    pub async fn pass_on(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Option<(StatusCode, String, Bytes)> {
        let base = self.base.as_ref()?;
        let request = self
            .http
            .request(method, format!("{base}{path}"))
            .timeout(LIMIT)
            .header(
                http::header::AUTHORIZATION,
                chord_api::client::bearer(&self.secret),
            )
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body);
        let unavailable = |why: String| {
            let problem = Problem::new(
                Kind::Overloaded,
                format!("the supervisor does not answer: {why}"),
            );
            let body = serde_json::to_vec(&problem.body()).unwrap_or_default();
            (
                problem.status(),
                "application/problem+json".to_string(),
                Bytes::from(body),
            )
        };
        let answered = match request.send().await {
            Ok(response) => {
                let status = response.status();
                let kind = response.headers().get(http::header::CONTENT_TYPE);
                let kind = kind
                    .and_then(|v| v.to_str().ok())
                    .unwrap_or("application/json")
                    .to_string();
                match response.bytes().await {
                    Ok(body) => (status, kind, body),
                    Err(error) => unavailable(error.to_string()),
                }
            }
            Err(error) => unavailable(error.to_string()),
        };
        Some(answered)
    }
}
