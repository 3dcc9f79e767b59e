//! A node of today on the recorded disk, its peer port on loopback.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use chord_api::client::bearer;
use chord_node::http::this_node::supervisor::Supervisor;
use chord_node::node::config::Args;
use chord_node::node::{Node, Outside};
use chord_node::peer::address::AddressBook;
use chord_node::peer::client::PeerClient;
use chord_node::store::{Durability, Options, Store};
use chord_node::world::World;
use chord_types::ClusterUid;
use clap::Parser;
use tokio::net::TcpListener;

use crate::recorded::{self, Turn};

/// The cluster's secret.
pub const SECRET: &str = "a secret of the tests";
/// The cluster's id, as it was recorded.
pub const UID: &str = "0b0c6a1e-1111-4222-8333-444444444444";

/// Puts the recorded disk into a folder.
pub fn lay_out(dir: &Path) {
    let recorded = recorded::disk();
    for (path, contents) in recorded.files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
    let db = redb::Database::create(dir.join("meta.redb")).unwrap();
    let txn = db.begin_write().unwrap();
    for (table, key, record) in recorded.rows {
        let definition: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new(table);
        let mut table = txn.open_table(definition).unwrap();
        table.insert(&key[..], &record[..]).unwrap();
    }
    txn.commit().unwrap();
}

/// Opens a disk that has been laid out.
pub fn open(dir: &Path) -> Store {
    let options = Options {
        dir: dir.to_path_buf(),
        capacity: Some(256 << 20),
        cluster: Some(ClusterUid(UID.into())),
        durability: Durability::Durable,
    };
    Store::open_with(options, Arc::new(|e| panic!("the process would end: {e}"))).unwrap()
}

/// Node 0 of the recorded cluster. No worker runs.
pub struct Today {
    _dir: tempfile::TempDir,
    pub node: Node,
    pub url: String,
    http: reqwest::Client,
}

/// Serves on a port of loopback; its URL.
pub async fn serve(router: Router) -> String {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", port.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(port, router).await });
    url
}

/// A list of nodes in a file.
pub fn addresses(dir: &Path, urls: &[(u32, &str)]) -> PathBuf {
    let listed: serde_json::Map<String, serde_json::Value> = urls
        .iter()
        .map(|(n, url)| {
            let urls = serde_json::json!({"clientUrl": url, "peerUrl": url});
            (n.to_string(), urls)
        })
        .collect();
    let path = dir.join("nodes.json");
    std::fs::write(&path, serde_json::json!({ "nodes": listed }).to_string()).unwrap();
    path
}

impl Today {
    /// Starts it, with `other` for node 1.
    pub async fn start(other: Router) -> Today {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("disk-0");
        std::fs::create_dir(&data).unwrap();
        lay_out(&data);
        let other = serve(other).await;
        let book = addresses(dir.path(), &[(1, &other)]);
        let args = Args::try_parse_from([
            "chord-node",
            "--data",
            data.to_str().unwrap(),
            "--name",
            "files-0",
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
        let ordinal = args.ordinal().unwrap();
        let book = Arc::new(AddressBook::file(book));
        let outside = Outside {
            ordinal,
            secret: SECRET.into(),
            store: open(&data),
            peers: Arc::new(PeerClient::new(SECRET.into(), book.clone()).unwrap()),
            book,
            supervisor: Supervisor::new(None, SECRET.into()).unwrap(),
            world: World::default(),
        };
        let node = Node::new(&args, outside);
        // As it was recorded: the ring that has just been formed.
        let current = node.view.current().unwrap();
        node.ring.take_members(&current, true);
        let url = serve(chord_node::http::peer_port::router(node.peer_port.clone())).await;
        let http = chord_api::client::builder::between_nodes().unwrap();
        Today {
            _dir: dir,
            node,
            url,
            http,
        }
    }

    /// Sends what was recorded, with these headers besides; status and bytes of the
    /// answer, and what it says of the versions spoken.
    pub async fn send(&self, turn: &Turn, headers: &[(&str, &str)]) -> (u16, Vec<u8>, String) {
        let method = turn.method.parse().unwrap();
        let mut request = self
            .http
            .request(method, format!("{}{}", self.url, turn.path))
            .header("Authorization", bearer(SECRET))
            .body(turn.body.clone());
        if let Some(head) = turn.head {
            request = request.header("x-chord-chunk", head);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let speaks = answer.headers().get("x-chord-speaks");
        let speaks = speaks.map(|v| v.to_str().unwrap().to_string());
        (
            answer.status().as_u16(),
            answer.bytes().await.unwrap().to_vec(),
            speaks.unwrap_or_default(),
        )
    }
}
