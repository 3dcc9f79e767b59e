//! Where nodes send requests that change the cluster: scaling, draining and
//! replacing by hand, and its status. On loopback, with the cluster's secret.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chord_api::client::bearer;
use chord_api::http::{DrainRequest, ReplaceRequest, ScaleRequest};
use chord_api::problem::{Kind, Problem};
use chord_operator::crd::ChordCluster;
use serde::de::DeserializeOwned;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, watch};

use super::cluster_manifest::changes;
use super::folder::Folder;
use super::processes::nodes::NodeInfo;
use crate::failure::Failure;
use crate::scaling::desired_now;

/// The longest request.
const BODY_BYTES: usize = 64 * 1024;

/// What the requests are answered from.
pub struct Control {
    pub folder: Arc<Folder>,
    pub secret: String,
    pub nodes: watch::Receiver<BTreeMap<u32, NodeInfo>>,
    /// One change at a time. tokio's mutex: the change is awaited while it is held.
    pub changing: Mutex<()>,
}

/// The routes.
pub fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/cluster/scale", post(scale))
        .route("/cluster/drain", post(drain))
        .route("/cluster/replace", post(replace))
        .route("/cluster/status", get(status))
        .fallback(|| async { answer(&Problem::new(Kind::NotFound, "there is no such request")) })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&control),
            authenticated,
        ))
        .with_state(control)
}

async fn authenticated(
    State(control): State<Arc<Control>>,
    request: Request,
    next: Next,
) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    if bool::from(given.ct_eq(bearer(&control.secret).as_bytes())) {
        next.run(request).await
    } else {
        answer(&Problem::new(
            Kind::Unauthenticated,
            "this needs the secret of the cluster",
        ))
    }
}

async fn scale(State(control): State<Arc<Control>>, body: bytes::Bytes) -> Response {
    let changed = async {
        let request: ScaleRequest = parsed(&body)?;
        let status = control.folder.status().map_err(failed)?.status;
        control
            .change(|current| {
                changes::scaled(current, request.nodes, desired_now(current, &status))
            })
            .await
    };
    outcome(changed.await)
}

async fn drain(State(control): State<Arc<Control>>, body: bytes::Bytes) -> Response {
    let changed = async {
        let request: DrainRequest = parsed(&body)?;
        let there = control.nodes.borrow().contains_key(&request.ordinal);
        control
            .change(|current| {
                let known = !request.drain && current.spec.drained.contains(&request.ordinal);
                if !there && !known {
                    return Err(Problem::new(
                        Kind::NotFound,
                        format!("there is no node {}", request.ordinal),
                    ));
                }
                changes::drained(current, request.ordinal, request.drain)
            })
            .await
    };
    outcome(changed.await)
}

async fn replace(State(control): State<Arc<Control>>, body: bytes::Bytes) -> Response {
    let changed = async {
        let request: ReplaceRequest = parsed(&body)?;
        control
            .change(|current| changes::replaced(current, &request.disk, request.replace))
            .await
    };
    outcome(changed.await)
}

/// The operator's status file; of the pids only we know which are true now.
async fn status(State(control): State<Arc<Control>>) -> Response {
    let mut status = match control.folder.status() {
        Ok(status) => status,
        Err(failure) => return answer(&failed(failure)),
    };
    if status.status.phase.is_empty() {
        status.status.phase = "Pending".to_string();
    }
    let seen = control.nodes.borrow();
    let pids: BTreeMap<&str, Option<u32>> =
        seen.values().map(|s| (s.name.as_str(), s.pid)).collect();
    for node in &mut status.nodes {
        node.pid = pids.get(node.name.as_str()).copied().flatten();
    }
    axum::Json(&status).into_response()
}

impl Control {
    /// Changes the manifest in force, if the change may be.
    async fn change(
        &self,
        change: impl FnOnce(&ChordCluster) -> Result<ChordCluster, Problem>,
    ) -> Result<(), Problem> {
        let _one = self.changing.lock().await;
        let current = self.folder.current().map_err(failed)?;
        let next = change(&current)?;
        if next != current {
            self.folder
                .write_manifest("cluster.yaml", &next)
                .map_err(failed)?;
        }
        Ok(())
    }
}

/// What could not be read or written may be so in a moment.
fn failed(failure: Failure) -> Problem {
    Problem::new(Kind::Overloaded, failure.to_string())
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|e| {
        Problem::new(
            Kind::InvalidRequest,
            format!("the request cannot be understood: {e}"),
        )
    })
}

fn outcome(changed: Result<(), Problem>) -> Response {
    match changed {
        Ok(()) => (StatusCode::ACCEPTED, axum::Json(json!({"accepted": true}))).into_response(),
        Err(problem) => answer(&problem),
    }
}

fn answer(problem: &Problem) -> Response {
    let body = serde_json::to_string(&problem.body()).unwrap_or_default();
    (
        problem.status(),
        [(header::CONTENT_TYPE, "application/problem+json")],
        body,
    )
        .into_response()
}
