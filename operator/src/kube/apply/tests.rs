//! The objects of a cluster against an API server that is played here: what is asked
//! of it, and what is done where it refuses.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use chord_planner::plan::{self, Memory, Millis, Observed, Stored};
use k8s_openapi::api::apps::v1::StatefulSet;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::objects::{BroughtAbout, Inputs};
use super::outcome::Outcome;
use crate::crd::parse_cluster_manifest;
use crate::kube::api::cache::Caches;
use crate::kube::api::writer::{Applied, Writer};
use crate::kube::failure::Kind;
use crate::kube::names::{Names, lasting_labels};
use crate::kube::observe::Observation;
use crate::kube::observe::objects::find;
use crate::kube::observe::record::Pinned;
use crate::kube::observe::stateful_set::replicas_of;
use crate::kube::validate::{Checked, validate};
use crate::metrics::Metrics;
use crate::nodes::Reports;
use chord_api::causes;

/// What was asked: method, path, body.
type Asked = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// An API server that holds `there`, by path, refuses to write `refuses`, and answers
/// every other write with what was written.
async fn api_server(there: Value, refuses: &'static str) -> (kube::Client, Asked) {
    let asked = Asked::default();
    let noted = asked.clone();
    let answer = async move |request: Request| {
        let (parts, body) = request.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let path = parts.uri.path().to_string();
        noted
            .lock()
            .push((parts.method.clone(), path.clone(), body.clone()));
        let status = |code: StatusCode, reason: &str, message: &str| {
            let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "code": code.as_u16(), "reason": reason, "message": message});
            (code, axum::Json(body))
        };
        match (parts.method, there.get(&path)) {
            (Method::GET, Some(object)) => (StatusCode::OK, axum::Json(object.clone())),
            (Method::GET, None) => status(StatusCode::NOT_FOUND, "NotFound", "not found"),
            _ if path.contains(refuses) => {
                status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "refused")
            }
            _ => (StatusCode::OK, axum::Json(body)),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let config = kube::Config::new(url.parse().unwrap());
    (kube::Client::try_from(config).unwrap(), asked)
}

/// The first round of a cluster of three; `set`: its StatefulSet, where there is one.
async fn first_round(client: &kube::Client, set: Option<&StatefulSet>) -> Outcome {
    let mut cluster = parse_cluster_manifest(
        "{apiVersion: chord.storage/v1alpha1, kind: ChordCluster, metadata: {name: files, namespace: data}, spec: {}}",
    )
    .unwrap();
    cluster.metadata.uid = Some("u1".into());
    let (names, caches) = (Names::of(&cluster), Caches::empty());
    let (pinned, mut checked) = (Pinned::default(), Checked::default());
    let wanted = validate(&cluster, &pinned, "r/n:1", &mut checked).unwrap();
    let observation = Observation {
        seen: find(&caches, &names, set.map(replicas_of), 4),
        observed: Observed::default(),
        targets: Vec::new(),
        reports: Reports::new(),
    };
    let memory = Memory::default();
    let (plan, _) = plan::plan(&wanted.plan, &observation.observed, &memory, Millis(0));
    let (metrics, mut applied) = (Metrics::default(), Applied::default());
    let mut writer = Writer {
        client,
        caches: &caches,
        metrics: &metrics,
        namespace: "data",
        owner: "u1",
        applied: &mut applied,
    };
    let inputs = Inputs {
        cluster: &cluster,
        names: &names,
        wanted: &wanted,
        observation: &observation,
        plan: &plan,
        set,
        operator_namespace: None,
    };
    let (mut outcome, mut brought_about) = (Outcome::default(), BroughtAbout::default());
    inputs
        .bring_about(
            &mut writer,
            &mut brought_about,
            &Stored::Missing,
            &mut outcome,
        )
        .await;
    outcome
}

/// What was written to paths of this kind.
fn written(asked: &Asked, kind: &str) -> Vec<Value> {
    let asked = asked.lock();
    let of_kind = asked
        .iter()
        .filter(|(method, path, _)| *method != Method::GET && path.contains(kind));
    of_kind.map(|(_, _, body)| body.clone()).collect()
}

#[tokio::test]
async fn a_stateful_set_that_is_refused_stops_nothing_else() {
    let (client, asked) = api_server(json!({}), "statefulsets").await;
    let outcome = first_round(&client, None).await;
    let failed = outcome.failed.unwrap();
    assert_eq!(
        causes::words(&failed),
        "applying StatefulSet files: refused",
        "what was being done, and the API server's own words"
    );
    assert_eq!(failed.kind(), Kind::Rejected(422));
    assert_eq!(written(&asked, "statefulsets").len(), 1);
    assert_eq!(written(&asked, "poddisruptionbudgets").len(), 1);
    assert_eq!(written(&asked, "services").len(), 2);
}

#[tokio::test]
async fn what_pods_stand_on_comes_before_them() {
    let (client, asked) = api_server(json!({}), "services/files-nodes").await;
    let outcome = first_round(&client, None).await;
    assert!(outcome.failed.is_some());
    assert_eq!(written(&asked, "statefulsets"), Vec::<Value>::new());
    assert_eq!(written(&asked, "poddisruptionbudgets").len(), 1);
}

#[tokio::test]
async fn no_pod_is_made_that_would_mount_a_claim_of_somebody_else() {
    let path = |n: u32| format!("/api/v1/namespaces/data/persistentvolumeclaims/data-files-{n}");
    let claim = |n: u32, labels: Value| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": format!("data-files-{n}"), "namespace": "data", "labels": labels}})
    };
    let ours = json!(lasting_labels("files"));
    let there = json!({path(0): claim(0, ours), path(1): claim(1, json!({"app": "files"}))});
    let (client, asked) = api_server(there, "nothing").await;
    let outcome = first_round(&client, None).await;
    let conflict = &outcome.conditions[0];
    assert_eq!(conflict.kind, "NameConflict");
    assert!(conflict.message.contains("data-files-1"), "{conflict:?}");
    let sets = written(&asked, "statefulsets");
    assert_eq!(
        sets[0]["spec"]["replicas"], 1,
        "as many as can be without it"
    );
    assert_eq!(written(&asked, "persistentvolumeclaims").len(), 0);
}

#[tokio::test]
async fn a_stateful_set_is_changed_only_as_it_was_read() {
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {
        "name": "files", "namespace": "data", "uid": "s1", "resourceVersion": "41",
        "ownerReferences": [{"apiVersion": "chord.storage/v1alpha1", "kind": "ChordCluster",
            "name": "files", "uid": "u1", "controller": true}]},
        "spec": {"replicas": 1, "selector": {}, "template": {}}});
    let live: StatefulSet = serde_json::from_value(set.clone()).unwrap();
    let there = json!({"/apis/apps/v1/namespaces/data/statefulsets/files": set});
    let (client, asked) = api_server(there, "nothing").await;
    let outcome = first_round(&client, Some(&live)).await;
    assert!(outcome.failed.is_none(), "{outcome:?}");
    let sets = written(&asked, "statefulsets");
    assert_eq!(sets[0]["metadata"]["resourceVersion"], "41");
    assert_eq!(sets[0]["metadata"]["uid"], "s1");
    assert_eq!(sets[0]["spec"]["replicas"], 3);
}
