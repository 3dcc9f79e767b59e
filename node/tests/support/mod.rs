//! Real node processes on loopback, driven as an operator would drive them.

#![allow(dead_code, reason = "each of the tests uses a part of this")]

pub mod ring;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chord_api::client::{NodeClient, builder};
use chord_types::report::NodeReport;
use chord_types::{ClusterUid, Member, Ordinal, Table, Token, View};

pub const SECRET: &str = "a secret of the tests";
pub const UID: &str = "0b0c6a1e-1111-4222-8333-444444444444";

/// Nodes in a folder of their own; all are ended when this goes.
pub struct Cluster {
    /// What every node is started with, besides where things are.
    pub args: Vec<String>,
    pub dir: tempfile::TempDir,
    pub nodes: Vec<Node>,
    pub operator: NodeClient,
    pub http: reqwest::Client,
}

/// One node's process and ports.
pub struct Node {
    pub child: Option<Child>,
    pub client: String,
    pub peer: String,
    ports: (u16, u16),
}

/// Everything by itself soon, so that tests need not wait.
const QUICK: [&str; 10] = [
    "--capacity",
    "268435456",
    "--migrate-every-ms",
    "300",
    "--replicate-every-ms",
    "500",
    "--drop-redundant-after-ms",
    "500",
    "--stabilize-every-ms",
    "200",
];

/// A port that nobody listens on, below those that the system gives to outgoing
/// connections: else a node that is started again might find its own port taken.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (start.wrapping_add(step) % 20_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Cluster {
    /// Starts `count` nodes that no view knows yet.
    pub fn start(count: u32) -> Cluster {
        Cluster::start_with(count, &QUICK)
    }

    /// Starts `count` nodes with these arguments.
    pub fn start_with(count: u32, args: &[&str]) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), SECRET).unwrap();
        let operator = NodeClient::new(SECRET, Duration::from_secs(5)).unwrap();
        let http = builder::probe(Duration::from_secs(60)).unwrap();
        let mut cluster = Cluster {
            args: args.iter().map(ToString::to_string).collect(),
            dir,
            nodes: Vec::new(),
            operator,
            http,
        };
        for _ in 0..count {
            cluster.add();
        }
        cluster
    }

    /// Starts one more.
    pub fn add(&mut self) {
        self.nodes.push(Node::somewhere());
        self.publish();
        self.run(self.nodes.len() - 1);
    }

    /// Gives a node that does not run another address.
    pub fn move_away(&mut self, n: usize) {
        assert!(self.nodes[n].child.is_none());
        self.nodes[n] = Node::somewhere();
        self.publish();
    }

    /// Writes down where the nodes are.
    fn publish(&self) {
        let listed: serde_json::Map<String, serde_json::Value> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(n, node)| {
                (
                    n.to_string(),
                    serde_json::json!({"clientUrl": node.client, "peerUrl": node.peer}),
                )
            })
            .collect();
        let text = serde_json::json!({ "nodes": listed }).to_string();
        let temporary = self.dir.path().join("nodes.tmp");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(temporary, self.dir.path().join("nodes.json")).unwrap();
    }

    /// The disk of a node.
    pub fn disk(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("disk-{n}"))
    }

    /// Starts node `n` on its disk.
    pub fn run(&mut self, n: usize) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join(format!("node-{n}.log")))
            .unwrap();
        let ports = self.nodes[n].ports;
        // Another build of the node can be put to the same tests.
        let program = std::env::var_os("CHORD_NODE_BIN")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_chord-node").into());
        let child = Command::new(program)
            .arg("--data")
            .arg(self.disk(n))
            .args([
                "--name",
                &format!("files-{n}"),
                "--ordinal-from-name",
                "--cluster-uid",
                UID,
                "--secret-file",
            ])
            .arg(self.dir.path().join("secret"))
            .arg("--addresses")
            .arg(self.dir.path().join("nodes.json"))
            .args(["--client-listen", &format!("127.0.0.1:{}", ports.0)])
            .args(["--peer-listen", &format!("127.0.0.1:{}", ports.1)])
            .args(&self.args)
            // They end when this process does, however that comes about.
            .arg("--exit-with-stdin")
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        self.nodes[n].child = Some(child);
    }

    /// Kills node `n` at once.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut child) = self.nodes[n].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Kills these at one moment.
    pub fn kill_all(&mut self, nodes: &[usize]) {
        for n in nodes {
            if let Some(child) = &mut self.nodes[*n].child {
                child.kill().unwrap();
            }
        }
        nodes.iter().for_each(|n| self.kill(*n));
    }

    /// A node's report, once it answers.
    pub async fn report(&self, n: usize) -> NodeReport {
        self.eventually(&format!("node {n} answers"), async || {
            self.operator.report(&self.nodes[n].peer).await.ok()
        })
        .await
    }

    /// Waits until `look` finds something; shows the nodes' logs if it never does.
    pub async fn eventually<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        self.within(Duration::from_secs(180), what, look).await
    }

    /// As `eventually`, for what takes longer.
    pub async fn within<T>(
        &self,
        most: Duration,
        what: &str,
        look: impl AsyncFn() -> Option<T>,
    ) -> T {
        let end = Instant::now() + most;
        while Instant::now() < end {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for n in 0..self.nodes.len() {
            let log = std::fs::read_to_string(self.dir.path().join(format!("node-{n}.log")))
                .unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!(
                "--- node {n}: {:?}",
                self.operator.report(&self.nodes[n].peer).await.ok()
            );
            tail.into_iter().rev().for_each(|line| eprintln!("{line}"));
        }
        panic!("never: {what}");
    }

    /// A table of these nodes, with tokens spread evenly.
    pub async fn table(&self, replication: u8, nodes: &[usize]) -> Table {
        let mut members = Vec::new();
        for n in nodes {
            let report = self.report(*n).await;
            let tokens = (0..16u64)
                .map(|t| {
                    Token(
                        t.wrapping_mul(u64::MAX / 16)
                            ^ ((*n as u64 + 1).wrapping_mul(0x0123_4567_89ab_cdef) >> 5),
                    )
                })
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect();
            members.push(Member {
                ordinal: Ordinal(*n as u32),
                disk: report.disk,
                tokens,
                zone: None,
                machine: None,
                out: false,
            });
        }
        Table {
            replication,
            members,
        }
    }

    /// Gives every node a view.
    pub async fn push(&self, view: &View) {
        for (n, node) in self.nodes.iter().enumerate() {
            if node.child.is_some() {
                self.eventually(&format!("node {n} takes view {}", view.epoch), async || {
                    self.operator.push_view(&node.peer, view).await.ok()
                })
                .await;
            }
        }
    }

    /// Forms a cluster of all nodes.
    pub async fn form(&self, replication: u8) -> View {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        let view =
            View::first(ClusterUid(UID.into()), self.table(replication, &all).await).unwrap();
        self.push(&view).await;
        view
    }

    /// Carries a change through: joint, settled, stable.
    pub async fn change(&self, from: &View, to: Table) -> View {
        let joint = from.change_to(to).unwrap();
        self.push(&joint).await;
        let old: Vec<usize> = joint
            .old()
            .members
            .iter()
            .map(|m| m.ordinal.0 as usize)
            .collect();
        self.eventually("the change settles", async || {
            for n in &old {
                if self.nodes[*n].child.is_none() {
                    continue;
                }
                let report = self.operator.report(&self.nodes[*n].peer).await.ok()?;
                if !(report.sync.settled && report.sync.hash == joint.hash()) {
                    return None;
                }
            }
            Some(())
        })
        .await;
        let done = joint.complete().unwrap();
        self.push(&done).await;
        done
    }

    pub fn url(&self, n: usize, path: &str) -> String {
        format!("{}{path}", self.nodes[n].client)
    }

    pub async fn put(&self, n: usize, name: &str, body: Vec<u8>) -> reqwest::Response {
        self.http
            .put(self.url(n, &format!("/files/{name}")))
            .body(body)
            .send()
            .await
            .unwrap()
    }

    pub async fn get(&self, n: usize, name: &str) -> Option<Vec<u8>> {
        let response = self
            .http
            .get(self.url(n, &format!("/files/{name}")))
            .send()
            .await
            .ok()?;
        if response.status() != 200 {
            return None;
        }
        response.bytes().await.ok().map(|b| b.to_vec())
    }

    pub async fn json(&self, n: usize, path: &str) -> serde_json::Value {
        let response = self.http.get(self.url(n, path)).send().await.unwrap();
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    /// Whether every copy of a file is whole.
    pub async fn verified(&self, n: usize, name: &str) -> bool {
        self.json(n, &format!("/verify?name={name}")).await["ok"] == true
    }
}

impl Node {
    fn somewhere() -> Node {
        let ports = (free_port(), free_port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        Node {
            child: None,
            client: url(ports.0),
            peer: url(ports.1),
            ports,
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut children: Vec<Child> = self
            .nodes
            .iter_mut()
            .filter_map(|n| n.child.take())
            .collect();
        children.iter_mut().for_each(|c| drop(c.kill()));
        children.iter_mut().for_each(|c| drop(c.wait()));
    }
}

/// Contents that differ from place to place.
pub fn contents(size: usize, seed: u8) -> Vec<u8> {
    (0..size)
        .map(|i| {
            (i as u32)
                .wrapping_mul(2_654_435_761)
                .wrapping_add(u32::from(seed))
                .to_be_bytes()[0]
        })
        .collect()
}
