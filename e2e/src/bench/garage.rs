//! Garage beside chord: three of its processes on loopback that keep every object
//! three times, with one bucket and one key. It is set up through its own command
//! line, in JSON, and used through S3.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::program::{Ran, run};
use crate::wait::{eventually, secs};

use super::client::{FileSet, Puts, Source, Until, run_clients};
use super::loads::{Protocol, Store};
use super::s3::Signer;

/// Names the program; `make bench-peers` installs it and sets this.
const PROGRAM: &str = "CHORD_PEER_GARAGE";
const NODES: usize = 3;
const REGION: &str = "garage";
const BUCKET: &str = "bench";
/// What each node may hold. It only weighs nodes against each other.
const CAPACITY: u64 = 8 << 30;
const START: Duration = secs(60);
const STOP: Duration = secs(30);
/// One call of the command line.
const CALL: Duration = secs(30);

/// Whether what was answered is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Data and metadata are synced before the answer, as chord does it.
    Synced,
    /// As Garage is when nothing is said.
    Defaults,
}

/// A cluster of Garage. Its processes end with this, however this ends.
pub struct Garage {
    nodes: Vec<Node>,
    signer: Arc<Signer>,
}

struct Node {
    child: Child,
    admin: Admin,
    log: PathBuf,
    s3: SocketAddr,
}

/// The command line of one node.
struct Admin {
    program: PathBuf,
    config: PathBuf,
}

/// The program, which must be there.
pub fn program() -> Result<PathBuf> {
    let path = std::env::var_os(PROGRAM)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .with_context(|| {
            format!("no Garage to compare with: {PROGRAM} is not set; `make bench-peers` sets it")
        })?;
    ensure!(
        path.is_file(),
        "no Garage to compare with: {PROGRAM} is {}, where nothing is; `make bench-peers` \
         installs it",
        path.display()
    );
    Ok(path)
}

/// What it says it is.
pub async fn version() -> Result<String> {
    let said = run(&program()?, &["--version"], CALL).await?.expect(0)?;
    Ok(said.text().trim().to_string())
}

impl Garage {
    /// Starts one in a new folder and waits until it serves.
    pub async fn start(dir: &Path, durability: Durability) -> Result<Garage> {
        let program = program()?;
        let ports = free_ports(NODES * 2)?;
        // Fresh each time: a secret.
        let secret: [u8; 32] = rand::random();
        let mut nodes = Vec::new();
        for (n, pair) in ports.chunks_exact(2).enumerate() {
            let node = Node::start(&program, dir, n, [pair[0], pair[1]], &secret, durability)
                .with_context(|| format!("starting node {n} of Garage"))?;
            nodes.push(node);
        }
        let signer = match set_up(&mut nodes).await {
            Ok(signer) => Arc::new(signer),
            Err(e) => {
                let said = nodes.iter().map(Node::said).collect::<Vec<_>>().join("\n");
                return Err(e.context(format!("setting Garage up; it said: {said}")));
            }
        };
        Ok(Garage { nodes, signer })
    }

    /// The store as its clients see it.
    pub fn store(&self) -> Store {
        Store {
            servers: self.nodes.iter().map(|node| node.s3).collect(),
            protocol: Protocol::S3(Arc::clone(&self.signer)),
        }
    }

    /// Its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|n| n.child.id()).collect()
    }

    /// Asks every process to end, and ends it where it does not.
    pub async fn stop(mut self) -> Result<()> {
        for node in &self.nodes {
            let pid = node.child.id().and_then(|pid| i32::try_from(pid).ok());
            let Some(pid) = pid.and_then(Pid::from_raw) else {
                bail!("Garage has ended before its time; it said: {}", node.said());
            };
            kill_process(pid, Signal::TERM).context("asking Garage to end")?;
        }
        for node in &mut self.nodes {
            if tokio::time::timeout(STOP, node.child.wait()).await.is_err() {
                // Its data go with the folder, so nothing is lost by it.
                let killed = node.child.kill().await;
                killed.context("ending Garage by force")?;
            }
        }
        Ok(())
    }
}

impl Node {
    fn start(
        program: &Path,
        dir: &Path,
        n: usize,
        [rpc, s3]: [SocketAddr; 2],
        secret: &[u8; 32],
        durability: Durability,
    ) -> Result<Node> {
        let home = dir.join(format!("node-{n}"));
        std::fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
        let config = dir.join(format!("node-{n}.toml"));
        let log = dir.join(format!("node-{n}.err"));
        std::fs::write(
            &config,
            configuration(&home, [rpc, s3], secret, durability)?,
        )
        .with_context(|| format!("writing {}", config.display()))?;
        let file =
            std::fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&config)
            .arg("server")
            // A line a request would only cost it time.
            .env("RUST_LOG", "netapp=warn,garage=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("running {}", program.display()))?;
        let program = program.to_path_buf();
        Ok(Node {
            child,
            admin: Admin { program, config },
            log,
            s3,
        })
    }

    /// The end of what it wrote.
    fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Admin {
    async fn call(&self, words: &[&str]) -> Result<Ran> {
        let config = self.config.to_string_lossy();
        let words = [&["-c", config.as_ref()], words].concat();
        run(&self.program, &words, CALL).await?.expect(0)
    }

    /// One request of Garage's administration.
    async fn ask(&self, what: &str, with: Value) -> Result<Value> {
        let payload = with.to_string();
        let words: &[&str] = match with {
            Value::Null => &["json-api", what],
            _ => &["json-api", what, &payload],
        };
        self.call(words).await?.json()
    }

    async fn id(&self) -> Result<NodeId> {
        NodeId::read(&self.call(&["node", "id", "-q"]).await?.text())
    }
}

/// Makes one cluster of the nodes, with a bucket that one key may write.
async fn set_up(nodes: &mut [Node]) -> Result<Signer> {
    let mut ids = Vec::new();
    for (n, Node { child, admin, .. }) in nodes.iter_mut().enumerate() {
        let waiting = eventually(format!("node {n} has a key"), START, || admin.id());
        let id = tokio::select! {
            id = waiting => id?,
            ended = child.wait() => bail!("node {n} has ended: {}", ended?),
        };
        ids.push(id);
    }
    let first = &nodes.first().context("there is no node")?.admin;
    let others: Vec<String> = ids.iter().skip(1).map(NodeId::to_string).collect();
    eventually("the nodes are connected", START, || async {
        let answer = first.ask("ConnectClusterNodes", json!(others)).await?;
        connected(&answer, others.len())
    })
    .await?;
    let roles: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id.key, "zone": "here", "capacity": CAPACITY, "tags": []}))
        .collect();
    let (layout, version) = (json!({"roles": roles}), json!({"version": 1}));
    first.ask("UpdateClusterLayout", layout).await?;
    first.ask("ApplyClusterLayout", version).await?;
    for (n, node) in nodes.iter().enumerate() {
        eventually(format!("node {n} sees all of them"), START, || async {
            healthy(&node.admin.ask("GetClusterHealth", Value::Null).await?)
        })
        .await?;
    }
    let key = first.ask("CreateKey", json!({"name": BUCKET})).await?;
    let new_bucket = json!({"globalAlias": BUCKET});
    let bucket = first.ask("CreateBucket", new_bucket).await?;
    let (id, secret) = (text(&key, "accessKeyId")?, text(&key, "secretAccessKey")?);
    let allowed = json!({
        "bucketId": text(&bucket, "id")?,
        "accessKeyId": id,
        "permissions": {"read": true, "write": true, "owner": false},
    });
    first.ask("AllowBucketKey", allowed).await?;
    let signer = Signer::new(BUCKET, REGION, id, secret)?;
    let source = Source::default();
    // Permissions come to each node in its own time.
    for (n, node) in nodes.iter().enumerate() {
        let set = FileSet::new(format!("ready-{n}/"), 1);
        eventually(format!("node {n} stores an object"), START, || async {
            let puts = Puts {
                source: source.clone(),
                paths: signer.puts(&set, 1),
                set: set.clone(),
            };
            run_clients(&[node.s3], 1, Until::requests(1), puts).await
        })
        .await?;
    }
    Ok(signer)
}

/// Who a node is, and where the others find it.
#[derive(Debug, PartialEq, Eq)]
struct NodeId {
    key: String,
    address: SocketAddr,
}

impl NodeId {
    fn read(said: &str) -> Result<NodeId> {
        let said = said.trim();
        let (key, address) = said
            .split_once('@')
            .with_context(|| format!("`garage node id` said no KEY@ADDRESS but {said}"))?;
        ensure!(
            key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()),
            "`garage node id` said a key that is none: {key}"
        );
        Ok(NodeId {
            key: key.to_string(),
            address: address
                .parse()
                .with_context(|| format!("`garage node id` said the address {address}"))?,
        })
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.key, self.address)
    }
}

fn connected(answer: &Value, wanted: usize) -> Result<()> {
    let each = answer.as_array().map_or(&[][..], Vec::as_slice);
    ensure!(each.len() == wanted, "no answer for each node: {answer}");
    for one in each {
        ensure!(one["success"] == true, "not connected: {}", one["error"]);
    }
    Ok(())
}

/// Whether all nodes are in the layout and up, for every part of the data.
fn healthy(answer: &Value) -> Result<()> {
    let count = |name: &str| answer[name].as_u64();
    ensure!(
        answer["status"] == "healthy"
            && count("storageNodesUp") == Some(NODES as u64)
            && count("partitions").is_some_and(|all| all > 0)
            && count("partitionsAllOk") == count("partitions"),
        "its health is {answer}"
    );
    Ok(())
}

fn text<'a>(answer: &'a Value, field: &str) -> Result<&'a str> {
    answer[field]
        .as_str()
        .with_context(|| format!("Garage's answer has no {field}"))
}

/// What a node is told. Everything else is as Garage has it.
fn configuration(
    home: &Path,
    [rpc, s3]: [SocketAddr; 2],
    secret: &[u8; 32],
    durability: Durability,
) -> Result<String> {
    let quoted = |path: PathBuf| -> Result<String> {
        let path = path.to_str().context("a folder whose name is no text")?;
        // A string of JSON is one of TOML.
        Ok(serde_json::to_string(path)?)
    };
    let (metadata, data) = (quoted(home.join("meta"))?, quoted(home.join("data"))?);
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let syncs = match durability {
        Durability::Synced => "metadata_fsync = true\ndata_fsync = true\n",
        Durability::Defaults => "",
    };
    Ok(format!(
        "metadata_dir = {metadata}\n\
         data_dir = {data}\n\
         {syncs}\
         replication_factor = {NODES}\n\
         rpc_bind_addr = \"{rpc}\"\n\
         rpc_public_addr = \"{rpc}\"\n\
         rpc_secret = \"{secret}\"\n\
         \n\
         [s3_api]\n\
         api_bind_addr = \"{s3}\"\n\
         s3_region = \"{REGION}\"\n"
    ))
}

/// Ports of loopback that nobody has. All are held until all are found, so that they
/// differ; who takes one before Garage does makes its start fail.
fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<_>>()
        .context("looking for free ports")?;
    let addresses = held.iter().map(TcpListener::local_addr);
    addresses
        .collect::<std::io::Result<_>>()
        .context("looking for free ports")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(durability: Durability) -> String {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        configuration(
            Path::new("/a \"b\"/node-0"),
            [at(1), at(2)],
            &[0xab; 32],
            durability,
        )
        .unwrap()
    }

    #[test]
    fn a_node_is_told_where_it_is_and_how_often_it_syncs() {
        let synced = config(Durability::Synced);
        for line in [
            r#"metadata_dir = "/a \"b\"/node-0/meta""#,
            "metadata_fsync = true",
            "data_fsync = true",
            "replication_factor = 3",
            r#"rpc_bind_addr = "127.0.0.1:1""#,
            r#"api_bind_addr = "127.0.0.1:2""#,
        ] {
            assert!(synced.lines().any(|l| l == line), "{line}:\n{synced}");
        }
        assert!(synced.contains(&format!("rpc_secret = \"{}\"", "ab".repeat(32))));
        assert!(!config(Durability::Defaults).contains("fsync"));
    }

    #[test]
    fn an_id_is_a_key_and_an_address() {
        let key = "0f".repeat(32);
        let id = NodeId::read(&format!("{key}@127.0.0.1:3901\n")).unwrap();
        assert_eq!(id.key, key);
        assert_eq!(id.to_string(), format!("{key}@127.0.0.1:3901"));
        for wrong in ["", &key, "0f@127.0.0.1:3901", &format!("{key}@somewhere")] {
            assert!(NodeId::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_must_be_connected_and_up() {
        let yes = json!([{"success": true, "error": null}]);
        assert!(connected(&yes, 1).is_ok());
        assert!(connected(&yes, 2).is_err());
        assert!(connected(&json!([{"success": false, "error": "no"}]), 1).is_err());
        let mut health = json!({
            "status": "healthy", "storageNodesUp": 3, "partitions": 256, "partitionsAllOk": 256,
        });
        assert!(healthy(&health).is_ok());
        health["partitionsAllOk"] = json!(255);
        assert!(healthy(&health).is_err());
        assert!(healthy(&json!({"status": "healthy"})).is_err());
    }

    #[test]
    fn ports_differ() {
        let mut ports = free_ports(6).unwrap();
        ports.sort();
        ports.dedup();
        assert_eq!(ports.len(), 6);
    }
}
