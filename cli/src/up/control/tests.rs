//! Requests that change the cluster, over HTTP.

use chord_api::problem::ProblemBody;
use serde_json::Value;

use super::*;
use crate::up::cluster_manifest::{decide, fixtures::manifest};
use crate::up::processes::ports::Ports;

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
    folder.write_manifest("cluster.yaml", &cluster).unwrap();
    let seen = NodeInfo {
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
        http: chord_api::client::builder::from_outside(true).unwrap(),
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
        let body: Result<ProblemBody, _> = serde_json::from_slice(&response.bytes().await.unwrap());
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
        .write("operator/status.json", file.to_string().as_bytes())
        .unwrap();
    let status = ask().await;
    assert_eq!(status["status"]["phase"], "Ready");
    assert_eq!(status["nodes"][0].get("pid"), None, "it runs no more");
    assert_eq!(status["nodes"][1]["pid"], 9);
}
