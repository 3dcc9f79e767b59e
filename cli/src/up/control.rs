//! Where nodes send requests that change the cluster: scaling, draining and
//! replacing by hand, and its status. On loopback, with the cluster's secret.

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

use super::cluster_manifest as manifest;
use super::folder::Folder;
use super::processes::nodes::Seen;
use crate::target::kubernetes::wanted_now;

/// The longest request.
const BODY_BYTES: usize = 64 * 1024;

/// What the requests are answered from.
pub struct Control {
    pub folder: Arc<Folder>,
    pub secret: String,
    pub nodes: watch::Receiver<BTreeMap<u32, Seen>>,
    /// One change at a time.
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
        let status = control.folder.status().status;
        control
            .change(|current| {
                manifest::scaled(current, request.nodes, wanted_now(current, &status))
            })
            .await
    };
    told(changed.await)
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
                manifest::drained(current, request.ordinal, request.drain)
            })
            .await
    };
    told(changed.await)
}

async fn replace(State(control): State<Arc<Control>>, body: bytes::Bytes) -> Response {
    let changed = async {
        let request: ReplaceRequest = parsed(&body)?;
        control
            .change(|current| manifest::replaced(current, &request.disk, request.replace))
            .await
    };
    told(changed.await)
}

/// The operator's status file; of the pids only we know which are true now.
async fn status(State(control): State<Arc<Control>>) -> Response {
    let mut status = control.folder.status();
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
        let failed = |failure: crate::failure::Failure| {
            Problem::new(Kind::Overloaded, failure.to_string())
                .with_status(StatusCode::INTERNAL_SERVER_ERROR)
        };
        let current = self.folder.current().map_err(failed)?;
        let next = change(&current)?;
        if next != current {
            self.folder
                .store_manifest("cluster.yaml", &next)
                .map_err(failed)?;
        }
        Ok(())
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|e| {
        Problem::new(
            Kind::InvalidRequest,
            format!("the request cannot be understood: {e}"),
        )
    })
}

fn told(changed: Result<(), Problem>) -> Response {
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

#[cfg(test)]
mod tests {
    use super::super::processes::ports::Ports;
    use super::*;
    use crate::up::cluster_manifest::{decide, tests::manifest};
    use chord_api::problem::ProblemBody;
    use serde_json::Value;

    struct Served {
        url: String,
        folder: Arc<Folder>,
        http: reqwest::Client,
        _dir: tempfile::TempDir,
    }

    async fn served(spec: &str) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let folder = Arc::new(Folder::take(dir.path()).await.unwrap());
        let cluster = decide(Some(&manifest(spec)), None).unwrap();
        folder.store_manifest("cluster.yaml", &cluster).unwrap();
        let seen = Seen {
            name: "files-1".into(),
            ports: Ports { client: 7, peer: 8 },
            pid: Some(9),
            stopping: false,
        };
        let nodes = watch::channel(BTreeMap::from([(1, seen)])).1;
        let control = Control {
            folder: Arc::clone(&folder),
            secret: "s".into(),
            nodes,
            changing: Mutex::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/cluster", listener.local_addr().unwrap());
        let router = router(Arc::new(control));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Served {
            url,
            folder,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            _dir: dir,
        }
    }

    impl Served {
        async fn post(&self, what: &str, body: Value) -> (u16, String) {
            let request = self
                .http
                .post(format!("{}/{what}", self.url))
                .bearer_auth("s")
                .json(&body);
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let body: Result<ProblemBody, _> =
                serde_json::from_slice(&response.bytes().await.unwrap());
            (status, body.map(|b| b.kind).unwrap_or_default())
        }
    }

    #[tokio::test]
    async fn changes_by_hand_are_kept_in_the_manifest() {
        let served = served("{nodes: 3}").await;
        assert_eq!(served.post("scale", json!({"nodes": 5})).await.0, 202);
        assert_eq!(served.post("drain", json!({"ordinal": 1})).await.0, 202);
        let disk = uuid::Uuid::new_v4().to_string();
        assert_eq!(served.post("replace", json!({"disk": disk})).await.0, 202);
        let current = served.folder.current().unwrap();
        assert_eq!(current.spec.nodes, 5);
        assert!(current.spec.drained.contains(&1));
        assert_eq!(
            current.metadata.annotations.unwrap()[chord_operator::crd::REPLACE_ANNOTATION],
            disk
        );
        let other = json!({"disk": uuid::Uuid::new_v4().to_string(), "replace": false});
        assert_eq!(served.post("replace", other).await.0, 404);
        let undo = json!({"disk": disk, "replace": false});
        assert_eq!(served.post("replace", undo).await.0, 202);
        let given_up = served.folder.current().unwrap().metadata.annotations;
        assert!(
            !given_up
                .unwrap_or_default()
                .contains_key(chord_operator::crd::REPLACE_ANNOTATION)
        );
        assert_eq!(
            served
                .post("drain", json!({"ordinal": 1, "drain": false}))
                .await
                .0,
            202
        );
        assert!(served.folder.current().unwrap().spec.drained.is_empty());
    }

    #[tokio::test]
    async fn what_may_not_be_is_refused_and_changes_nothing() {
        let served = served("{nodes: 3, autoscaling: {minNodes: 3, maxNodes: 5}}").await;
        let before = served.folder.current().unwrap();
        let (status, kind) = served.post("scale", json!({"nodes": 5})).await;
        assert_eq!(
            (status, kind.as_str()),
            (409, "urn:chord:precondition-failed")
        );
        assert_eq!(served.post("drain", json!({"ordinal": 7})).await.0, 404);
        let undo = json!({"ordinal": 7, "drain": false});
        assert_eq!(served.post("drain", undo).await.0, 404);
        assert_eq!(served.post("replace", json!({"disk": "x"})).await.0, 400);
        assert_eq!(served.post("scale", json!({})).await.0, 400);
        assert_eq!(served.folder.current().unwrap(), before);
        let stranger = served
            .http
            .get(format!("{}/status", served.url))
            .send()
            .await
            .unwrap();
        assert_eq!(stranger.status(), 401);
    }

    #[tokio::test]
    async fn the_status_has_the_pids_of_now() {
        let served = served("{nodes: 3}").await;
        let ask = async || {
            let request = served
                .http
                .get(format!("{}/status", served.url))
                .bearer_auth("s");
            serde_json::from_slice::<Value>(&request.send().await.unwrap().bytes().await.unwrap())
                .unwrap()
        };
        assert_eq!(ask().await["status"]["phase"], "Pending");
        let file = json!({"status": {"phase": "Ready"}, "nodes": [{"name": "files-0", "pid": 1}, {"name": "files-1"}]});
        served
            .folder
            .store("operator/status.json", file.to_string().as_bytes())
            .unwrap();
        let status = ask().await;
        assert_eq!(status["status"]["phase"], "Ready");
        assert_eq!(status["nodes"][0].get("pid"), None, "it runs no more");
        assert_eq!(status["nodes"][1]["pid"], 9);
    }
}
