//! The local shell against nodes that speak the peer port's HTTP and hold no
//! files, with a supervisor that does what the slots say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chord_api::client::bearer;
use chord_api::host::Ballast;
use chord_types::report::{Copies, Inventory, NodeReport, Space, Sync};
use chord_types::view::{ViewHash, ViewRef};
use chord_types::{DiskId, Epoch, Ordinal, View};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::durable::{self, StoredView, read_json};
use super::files::{DesiredSlot, DesiredSlots, NodeProcess, Nodes, Paths, StatusFile};
use crate::clock::Clock;
use chord_planner::plan::Stored;

const SECRET: &str = "a secret of the cluster";

/// `chord up` has a ballast of its own, which is not needed here.
fn no_ballast() -> Ballast {
    Ballast::new("none", 0)
}

/// What a node of the test holds: nothing but its disk's id and a view.
#[derive(Clone)]
struct Fake {
    ordinal: Ordinal,
    disk: DiskId,
    /// parking_lot's mutex: nothing is awaited while it is held.
    view: Arc<Mutex<Option<View>>>,
}

impl Fake {
    fn report(&self) -> NodeReport {
        let view = self.view.lock().clone();
        let reference = view.as_ref().map(View::reference);
        let at = reference.unwrap_or(ViewRef {
            epoch: Epoch(0),
            hash: ViewHash::NONE,
        });
        NodeReport {
            name: format!("files-{}", self.ordinal),
            ordinal: self.ordinal,
            disk: self.disk,
            cluster: view.as_ref().map(|v| v.cluster.clone()),
            version: "1".into(),
            speaks: chord_types::Speaks::OURS,
            boot: 1,
            view: reference,
            ready: view
                .as_ref()
                .is_some_and(|v| v.has(self.ordinal, self.disk)),
            space: Space {
                capacity: 1 << 30,
                used: 1 << 20,
                available: 1 << 29,
                device: "d".into(),
            },
            files: 1,
            inventory: Inventory::default(),
            sync: Sync {
                epoch: at.epoch,
                hash: at.hash,
                settled: true,
                pending: 0,
                waiting: None,
            },
            copies: Copies {
                epoch: at.epoch,
                complete: true,
                missing: 0,
                unrepaired: 0,
                waiting: None,
            },
            refused_view: None,
            failure: None,
        }
    }
}

async fn put_view(State(node): State<Fake>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get("authorization").and_then(|h| h.to_str().ok()) != Some(&bearer(SECRET)) {
        return StatusCode::UNAUTHORIZED;
    }
    let next = View::decode(&body).unwrap();
    let mut held = node.view.lock();
    if held
        .as_ref()
        .is_some_and(|v| v.epoch > next.epoch || (v.epoch == next.epoch && *v != next))
    {
        return StatusCode::CONFLICT;
    }
    *held = Some(next);
    StatusCode::NO_CONTENT
}

async fn get_view(State(node): State<Fake>) -> Response {
    match &*node.view.lock() {
        Some(view) => view.encode().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Does what `chord up` does with the slots.
struct Supervisor {
    paths: Paths,
    nodes: Nodes,
    running: BTreeMap<Ordinal, (Fake, JoinHandle<()>)>,
    disks: BTreeMap<Ordinal, Fake>,
    starts: usize,
}

impl Supervisor {
    fn new(paths: Paths) -> Supervisor {
        Supervisor {
            paths,
            nodes: Nodes::default(),
            running: BTreeMap::new(),
            disks: BTreeMap::new(),
            starts: 0,
        }
    }

    async fn start(&mut self, ordinal: Ordinal, revision: &str) {
        let fresh = || Fake {
            ordinal,
            disk: DiskId::random(),
            view: Arc::default(),
        };
        let node = self.disks.entry(ordinal).or_insert_with(fresh).clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route(
                "/peer/report",
                get(|State(node): State<Fake>| async move { Json(node.report()) }),
            )
            .route("/peer/view", get(get_view).put(put_view))
            .with_state(node.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        self.running.insert(ordinal, (node, serving));
        self.starts += 1;
        let process = NodeProcess {
            pid: Some(1),
            client_url: Some(url.clone()),
            peer_url: Some(url),
            revision: Some(revision.to_string()),
            disk_exists: true,
            trouble: None,
        };
        self.nodes.nodes.insert(ordinal, process);
    }

    fn stop(&mut self, ordinal: Ordinal) {
        if let Some((_, serving)) = self.running.remove(&ordinal) {
            serving.abort();
        }
        self.nodes.nodes.get_mut(&ordinal).unwrap().pid = None;
    }

    async fn obey(&mut self) {
        let slots: DesiredSlots = read_json(&self.paths.slots()).unwrap().unwrap_or_default();
        for (ordinal, slot) in slots.slots {
            match slot {
                DesiredSlot::Running { revision } => {
                    let process = self.nodes.nodes.get(&ordinal).filter(|p| p.pid.is_some());
                    if process.is_none_or(|p| p.revision.as_ref() != Some(&revision)) {
                        if process.is_some() {
                            self.stop(ordinal);
                        }
                        self.start(ordinal, &revision).await;
                    }
                }
                DesiredSlot::Absent { delete_disk } => {
                    if self.nodes.nodes.contains_key(&ordinal) {
                        self.stop(ordinal);
                    }
                    if delete_disk {
                        self.disks.remove(&ordinal);
                        self.nodes.nodes.remove(&ordinal);
                    }
                }
            }
        }
        durable::replace_json(&self.paths.nodes(), &self.nodes, &no_ballast()).unwrap();
    }

    /// Obeys until something holds.
    async fn until(&mut self, what: &str, mut holds: impl FnMut(&Supervisor) -> bool) {
        for _ in 0..1500 {
            self.obey().await;
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{what} never came: {:?}", self.status());
    }

    /// Puts another manifest in its place, as `chord up` does.
    fn want(&self, cluster_manifest: &str) {
        let (path, text) = (self.paths.cluster_manifest(), cluster_manifest.as_bytes());
        durable::replace(&path, text, &no_ballast()).unwrap();
    }

    fn status(&self) -> StatusFile {
        read_json(&self.paths.status()).unwrap().unwrap_or_default()
    }

    fn stored(&self) -> Stored {
        StoredView::read(&self.paths).unwrap().parse()
    }

    /// Whether there are so many members, all at the stored stable view.
    fn is_ready(&self, members: usize) -> bool {
        let Stored::View(view) = self.stored() else {
            return false;
        };
        self.status().status.phase == "Ready"
            && view.stable().is_some_and(|t| t.members.len() == members)
            && self.nodes.nodes.len() == members
            && self
                .running
                .values()
                .all(|(node, _)| node.view.lock().as_ref() == Some(&*view))
    }
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), super::Error>>,
}

fn operate(dir: &std::path::Path) -> Running {
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(super::run(dir.to_path_buf(), Clock::system(), stopped));
    Running { stop, task }
}

fn cluster_manifest(nodes: u32, extra: &str) -> String {
    format!(
        "apiVersion: chord.storage/v1alpha1\nkind: ChordCluster\nmetadata: {{name: files, uid: u-1}}\n\
         spec:\n  nodes: {nodes}\n  ring: {{tokensPerNode: 8}}\n{extra}"
    )
}

fn folder() -> (tempfile::TempDir, Paths) {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::new(dir.path());
    std::fs::create_dir(dir.path().join("run")).unwrap();
    std::fs::write(paths.secret(), format!("{SECRET}\n")).unwrap();
    std::fs::write(paths.cluster_manifest(), cluster_manifest(3, "")).unwrap();
    (dir, paths)
}

impl Running {
    async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_cluster_is_formed_and_grows_and_a_member_is_drained_and_comes_back() {
    let (dir, paths) = folder();
    let operator = operate(dir.path());
    let mut supervisor = Supervisor::new(paths.clone());
    supervisor.until("the first view", |s| s.is_ready(3)).await;
    let first = supervisor.stored();

    supervisor.want(&cluster_manifest(4, ""));
    supervisor.until("a fourth member", |s| s.is_ready(4)).await;
    assert_ne!(supervisor.stored(), first);
    let lines = supervisor.status().nodes;
    assert_eq!(lines.len(), 4);
    assert!(
        lines
            .iter()
            .all(|n| n.state == "Ready" && n.address.is_some() && n.capacity == Some(1 << 30)),
        "{lines:?}"
    );

    supervisor.want(&cluster_manifest(4, "  drained: [3]\n"));
    let state = |s: &Supervisor, n: usize| s.status().nodes.get(n).map(|n| n.state.clone());
    supervisor
        .until("the end of a drain", |s| {
            state(s, 3).as_deref() == Some("Out") && state(s, 0).as_deref() == Some("Ready")
        })
        .await;
    supervisor.want(&cluster_manifest(4, ""));
    supervisor.until("its return", |s| s.is_ready(4)).await;
    let events = std::fs::read_to_string(paths.events()).unwrap();
    for reason in ["Formed", "ChangeStarted", "ChangeCompleted"] {
        assert!(events.contains(reason), "{events}");
    }
    operator.stop().await;
}

#[tokio::test]
async fn the_next_operator_goes_on_where_one_was_killed() {
    let (dir, paths) = folder();
    std::fs::write(paths.cluster_manifest(), cluster_manifest(4, "")).unwrap();
    let operator = operate(dir.path());
    let mut supervisor = Supervisor::new(paths.clone());
    supervisor.until("the first view", |s| s.is_ready(4)).await;

    operator.task.abort();
    assert!(operator.task.await.unwrap_err().is_cancelled());
    supervisor.want(&cluster_manifest(3, "  chunkSize: 1Mi\n"));
    let operator = operate(dir.path());
    let starts = supervisor.starts;
    supervisor.until("three members", |s| s.is_ready(3)).await;
    assert!(
        !supervisor.disks.contains_key(&Ordinal(3)),
        "its disk was empty, and is deleted"
    );
    supervisor
        .until("new settings everywhere", |s| {
            let revisions: Vec<_> = s.nodes.nodes.values().map(|n| n.revision.clone()).collect();
            s.is_ready(3) && revisions.windows(2).all(|w| w[0] == w[1]) && s.starts == starts + 3
        })
        .await;
    operator.stop().await;
}

#[tokio::test]
async fn neither_a_second_operator_nor_a_wrong_manifest_does_anything() {
    let (dir, paths) = folder();
    let operator = operate(dir.path());
    let mut supervisor = Supervisor::new(paths.clone());
    supervisor.until("the first view", |s| s.is_ready(3)).await;

    let never = std::future::pending::<()>();
    let second = super::run(dir.path().to_path_buf(), Clock::system(), never).await;
    let second = second.unwrap_err().to_string();
    assert!(second.contains("another operator"), "{second}");

    supervisor.want("spec: {nodes: many}");
    supervisor
        .until("word of the wrong manifest", |s| {
            s.status()
                .status
                .conditions
                .iter()
                .any(|c| c.type_ == "InvalidSpec" && c.status == "True")
        })
        .await;
    assert!(supervisor.is_ready(3), "the last right one is obeyed");
    operator.stop().await;
}

#[tokio::test]
async fn a_lost_store_is_filled_from_the_nodes() {
    let (dir, paths) = folder();
    let operator = operate(dir.path());
    let mut supervisor = Supervisor::new(paths.clone());
    supervisor.until("the first view", |s| s.is_ready(3)).await;
    let view = supervisor.stored();
    operator.stop().await;
    for damage in [None, Some(b"nothing that can be read".as_slice())] {
        std::fs::remove_file(paths.view()).unwrap();
        std::fs::remove_file(paths.memory()).unwrap();
        if let Some(bytes) = damage {
            std::fs::write(paths.view(), bytes).unwrap();
        }
        let operator = operate(dir.path());
        supervisor
            .until("the view of the nodes", |s| s.stored() == view)
            .await;
        operator.stop().await;
    }
}

#[tokio::test]
async fn an_operator_that_cannot_go_on_says_so_where_it_is_heard() {
    let (dir, paths) = folder();
    let without_uid = cluster_manifest(3, "").replace(", uid: u-1", "");
    std::fs::write(paths.cluster_manifest(), without_uid).unwrap();
    let operator = operate(dir.path());
    let limit = std::time::Instant::now() + Duration::from_secs(60);
    let told = loop {
        let events = std::fs::read_to_string(paths.events()).unwrap_or_default();
        if !events.is_empty() {
            break events;
        }
        assert!(std::time::Instant::now() < limit, "it says nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(
        told.contains("metadata.uid") && told.contains("Warning"),
        "{told}"
    );
    operator.stop().await;
}
