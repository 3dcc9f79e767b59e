//! Nodes in one process, for tests: real disks and real peer ports on loopback.
//! No worker runs but what a test calls, and a node's port can fall silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use chord_types::blocks::Root;
use chord_types::manifest::chunk_key;
use chord_types::protocol::SPEAKS;
use chord_types::{ChunkId, ClusterUid, FileName, Member, Table, Token, UploadId, View};
use clap::Parser;
use parking_lot::Mutex;

use crate::files::{Error, Files, Put, PutDone};
use crate::http::peer_port;
use crate::http::this_node::supervisor::Supervisor;
use crate::node::config::Args;
use crate::node::{Node, Outside};
use crate::peer::address::AddressBook;
use crate::peer::client::PeerClient;
use crate::store::platform::faulty::Faults;
use crate::store::{ChunkMeta, ChunkWriter, Durability, Options, Store, Tier};
use crate::world::World;
use chord_register::Condition;

const SECRET: &str = "a secret of the tests";
const UID: &str = "0b0c6a1e-1111-4222-8333-444444444444";

/// Nodes, and where they live.
pub struct Nodes {
    dir: tempfile::TempDir,
    pub nodes: Vec<Arc<Node>>,
    /// What is wrong with the disk of each.
    pub faults: Vec<Faults>,
    silent: Vec<Arc<AtomicBool>>,
    hanging: Vec<Arc<AtomicBool>>,
    fixed: Vec<Fixed>,
}

/// An answer that a node gives instead of its own.
type Fixed = Arc<Mutex<Option<(StatusCode, Vec<u8>)>>>;

impl Nodes {
    /// Starts nodes that no view knows yet.
    pub async fn start(count: u32) -> Nodes {
        let dir = tempfile::tempdir().unwrap();
        let mut ports = Vec::new();
        for _ in 0..count {
            ports.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let listed: serde_json::Map<String, serde_json::Value> = ports
            .iter()
            .enumerate()
            .map(|(n, port)| {
                let url = format!("http://{}", port.local_addr().unwrap());
                let urls = serde_json::json!({"clientUrl": url, "peerUrl": url});
                (n.to_string(), urls)
            })
            .collect();
        let text = serde_json::json!({ "nodes": listed }).to_string();
        std::fs::write(dir.path().join("nodes.json"), text).unwrap();
        let mut all = Nodes {
            dir,
            nodes: Vec::new(),
            faults: vec![],
            silent: Vec::new(),
            hanging: Vec::new(),
            fixed: Vec::new(),
        };
        for (n, port) in ports.into_iter().enumerate() {
            all.faults.push(Faults::default());
            let node = all.open(n);
            let silent = Arc::new(AtomicBool::new(false));
            let router = peer_port::router(node.peer_port.clone());
            let hanging = Arc::new(AtomicBool::new(false));
            let fixed = Fixed::default();
            let (deaf, slow, said) = (silent.clone(), hanging.clone(), fixed.clone());
            let router = router.layer(axum::middleware::from_fn(
                move |request: axum::extract::Request, next: axum::middleware::Next| {
                    let (deaf, slow) = (deaf.clone(), slow.clone());
                    let said = said.lock().clone();
                    async move {
                        if let Some((status, body)) = said {
                            let speaks = [(SPEAKS, "8-9")];
                            return axum::response::IntoResponse::into_response((
                                status, speaks, body,
                            ));
                        }
                        while slow.load(Ordering::SeqCst) {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                        if deaf.load(Ordering::SeqCst) {
                            return axum::response::IntoResponse::into_response(
                                axum::http::StatusCode::BAD_GATEWAY,
                            );
                        }
                        next.run(request).await
                    }
                },
            ));
            tokio::spawn(async move { axum::serve(port, router).await });
            all.nodes.push(node);
            all.silent.push(silent);
            all.hanging.push(hanging);
            all.fixed.push(fixed);
        }
        all
    }

    fn open(&self, n: usize) -> Arc<Node> {
        let data = self.disk(n);
        let book = self.dir.path().join("nodes.json");
        let name = format!("files-{n}");
        let args = Args::try_parse_from([
            "chord-node",
            "--data",
            data.to_str().unwrap(),
            "--name",
            &name,
            "--ordinal-from-name",
            "--cluster-uid",
            UID,
            "--secret-file",
            "unused",
            "--addresses",
            book.to_str().unwrap(),
            "--chunk-size",
            "65536",
        ])
        .unwrap();
        let store = Store::open_on(
            self.faults[n].platform(),
            Options {
                dir: data,
                capacity: Some(256 << 20),
                cluster: None,
                durability: Durability::Durable,
            },
            Arc::new(|e| panic!("the process would end: {e}")),
        )
        .unwrap();
        let book = Arc::new(AddressBook::file(book));
        let outside = Outside {
            ordinal: args.ordinal().unwrap(),
            secret: SECRET.into(),
            store,
            peers: Arc::new(PeerClient::new(SECRET.into(), book.clone()).unwrap()),
            book,
            supervisor: Supervisor::new(None, SECRET.into()).unwrap(),
            world: World::default(),
        };
        Arc::new(Node::new(&args, outside))
    }

    /// The folder of a node's disk.
    pub fn disk(&self, n: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("disk-{n}"))
    }

    /// A table of some of them.
    pub fn table(&self, replication: u8, nodes: &[usize]) -> Table {
        let member = |n: &usize| Member {
            ordinal: self.nodes[*n].me.ordinal,
            disk: self.nodes[*n].me.disk,
            tokens: (0..8u64)
                .map(|t| Token((t << 61) | ((*n as u64 + 1) << 40)))
                .collect(),
            zone: None,
            machine: None,
            out: false,
        };
        Table {
            replication,
            members: nodes.iter().map(member).collect(),
        }
    }

    /// Gives the first view, with all of them, to all of them.
    pub async fn form(&self, replication: u8) -> View {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        let table = self.table(replication, &all);
        let view = View::first(ClusterUid(UID.into()), table).unwrap();
        self.give(&all, &view).await;
        view
    }

    /// Gives a view to some.
    pub async fn give(&self, nodes: &[usize], view: &View) {
        for n in nodes {
            self.nodes[*n].view.adopt(view.clone()).await.unwrap();
        }
    }

    /// Whether a node's port says nothing that anybody could use.
    pub fn silence(&self, n: usize, silent: bool) {
        self.silent[n].store(silent, Ordering::SeqCst);
    }

    /// What a node of a release far ahead answers, whatever it is asked; `None`: it is
    /// of this release again.
    pub fn far_ahead(&self, n: usize, answer: Option<(StatusCode, &[u8])>) {
        *self.fixed[n].lock() = answer.map(|(status, body)| (status, body.to_vec()));
    }

    /// Whether what a node is asked waits until this is over.
    pub fn hang(&self, n: usize, hanging: bool) {
        self.hanging[n].store(hanging, Ordering::SeqCst);
    }

    /// Takes all the room that clients may take on a node's disk, until the answer
    /// is dropped.
    pub fn fill(&self, n: usize) -> Vec<ChunkWriter> {
        let name = file("fills the disk");
        let mut held = Vec::new();
        let mut size = 64 << 20;
        while size > 0 {
            let id = ChunkId {
                upload: UploadId::random(),
                part: 1,
            };
            let meta = ChunkMeta {
                id,
                key: chunk_key(&name, id, true),
                name: name.clone(),
                size,
                root: Root::of(&[]).0,
                committed: false,
            };
            match self.nodes[n].store.chunk_writer(meta, Tier::Clients) {
                Ok(writer) => held.push(writer),
                Err(_) => size /= 2,
            }
        }
        held
    }

    /// Stores a file through a node.
    pub async fn put(
        &self,
        n: usize,
        name: &str,
        body: impl Into<Bytes>,
    ) -> Result<PutDone, Error> {
        let body = body.into();
        let put = request(name, Some(body.len() as u64));
        let pieces = futures::stream::iter([Ok(body)]);
        self.nodes[n]
            .files
            .uploader
            .put(put, Box::pin(pieces))
            .await
    }

    /// Drops a file on a node.
    pub async fn drop_on(&self, n: usize, name: &str, body: &'static [u8]) -> Result<(), Error> {
        let put = request(name, Some(body.len() as u64));
        let pieces = futures::stream::iter([Ok(Bytes::from_static(body))]);
        self.nodes[n].files.drop_here(put, Box::pin(pieces)).await
    }
}

/// An unconditional PUT.
pub fn request(name: &str, length: Option<u64>) -> Put {
    Put {
        name: file(name),
        content_type: None,
        meta: Default::default(),
        length,
        condition: Condition::default(),
    }
}

/// A file's name.
pub fn file(name: &str) -> FileName {
    name.parse().unwrap()
}
