//! The cluster that is measured: processes under `chord up`, as a user starts them,
//! and what the system says of each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::cluster_spec::{self, NAME};
use crate::program::binary;
use crate::wait::{eventually, secs};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::task::AbortOnDropHandle;

use super::client::Connection;

/// How long it may take to serve, and to stop.
const START: Duration = secs(90);
const STOP: Duration = secs(60);

/// A cluster under `chord up`. It ends with this, however this ends: the nodes end
/// when `chord up` does.
pub struct Cluster {
    child: Child,
    dir: PathBuf,
    _reading: AbortOnDropHandle<()>,
}

/// A node's process.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub ordinal: u32,
    /// Its process.
    pub pid: u32,
    /// Its client port.
    pub address: SocketAddr,
}

impl Cluster {
    /// Starts one in a new folder below `beside`, and waits until `nodes` serve.
    pub async fn start(beside: &Path, spec: &Value, nodes: usize) -> Result<Cluster> {
        std::fs::create_dir_all(beside).with_context(|| format!("making {}", beside.display()))?;
        let file = beside.join("manifest.yaml");
        std::fs::write(
            &file,
            serde_yaml::to_string(&cluster_spec::cluster(NAME, spec))?,
        )?;
        let dir = beside.join("data");
        let log = std::fs::File::create(beside.join("up.err"))?;
        let mut child = Command::new(binary("chord")?)
            .arg("up")
            .arg("-f")
            .arg(&file)
            .arg("--dir")
            .arg(&dir)
            .args(["--port", "0", "-o", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting chord up")?;
        let stdout = child.stdout.take().context("chord up has no output")?;
        // Read, so that it never waits for us; what it does is seen in its folder.
        let reading = tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(_)) = lines.next_line().await {}
        });
        let mut cluster = Cluster {
            child,
            dir,
            _reading: AbortOnDropHandle::new(reading),
        };
        if let Err(e) = cluster.serving(nodes).await {
            let said = std::fs::read_to_string(beside.join("up.err")).unwrap_or_default();
            return Err(e.context(format!("starting a cluster; it said: {}", said.trim())));
        }
        Ok(cluster)
    }

    async fn serving(&mut self, nodes: usize) -> Result<()> {
        let dir = self.dir.clone();
        let waiting = eventually(format!("{nodes} nodes serve"), START, || async {
            let status = status_in(&dir)?;
            ensure!(
                status["phase"] == "Ready",
                "the phase is {}",
                status["phase"]
            );
            let running = nodes_in(&dir)?;
            ensure!(running.len() == nodes, "{} nodes run", running.len());
            for node in running {
                readyz(node.address).await?;
            }
            Ok(())
        });
        tokio::select! {
            waited = waiting => waited,
            ended = self.child.wait() => bail!("chord up has ended: {}", ended?),
        }
    }

    /// The nodes that run, by ordinal.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        nodes_in(&self.dir)
    }

    /// The client ports of all nodes.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>> {
        Ok(self.nodes()?.into_iter().map(|n| n.address).collect())
    }

    /// The status as the CRD has it.
    pub fn status(&self) -> Result<Value> {
        status_in(&self.dir)
    }

    /// What the operator says of one node: Ready, Joining, …
    pub fn state_of(&self, ordinal: u32) -> Result<String> {
        let file = read(&self.dir, "operator/status.json")?;
        let name = format!("{NAME}-{ordinal}");
        let mut nodes = file["nodes"].as_array().into_iter().flatten();
        let node = nodes
            .find(|n| n["name"] == name.as_str())
            .with_context(|| format!("{name} is not listed"))?;
        Ok(node["state"].as_str().unwrap_or_default().to_string())
    }

    /// Ends it as Ctrl-C does.
    pub async fn stop(mut self) -> Result<()> {
        let pid = self
            .child
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let Some(pid) = pid else {
            bail!(
                "chord up has ended before its time: {}",
                self.child.wait().await?
            )
        };
        kill_process(pid, Signal::INT).context("asking chord up to end")?;
        match tokio::time::timeout(STOP, self.child.wait()).await {
            Ok(ended) => {
                let status = ended?;
                ensure!(status.success(), "chord up ended with {status}");
                Ok(())
            }
            Err(_) => {
                self.child
                    .kill()
                    .await
                    .context("ending chord up by force")?;
                bail!("chord up has not ended after {} s", STOP.as_secs())
            }
        }
    }
}

/// Copies the logs of a cluster whose folder is about to go.
pub fn keep_logs(beside: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for folder in [
        beside.to_path_buf(),
        beside.join("data/logs"),
        beside.join("data/operator"),
    ] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
    }
    Ok(())
}

fn read(dir: &Path, part: &str) -> Result<Value> {
    let path = dir.join(part);
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
}

fn status_in(dir: &Path) -> Result<Value> {
    Ok(read(dir, "operator/status.json")?["status"].take())
}

fn nodes_in(dir: &Path) -> Result<Vec<Node>> {
    let file = read(dir, "run/nodes.json")?;
    let nodes = file["nodes"]
        .as_object()
        .context("run/nodes.json without nodes")?;
    let mut found = Vec::new();
    for (ordinal, node) in nodes {
        let Some(pid) = node["pid"].as_u64() else {
            continue;
        };
        let url = node["clientUrl"]
            .as_str()
            .context("a node without an address")?;
        let address = url
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .parse();
        found.push(Node {
            ordinal: ordinal.parse().context("an ordinal")?,
            pid: u32::try_from(pid)?,
            address: address.with_context(|| format!("the address {url}"))?,
        });
    }
    found.sort_by_key(|node| node.ordinal);
    Ok(found)
}

/// Whether a node says that it is ready.
pub async fn readyz(address: SocketAddr) -> Result<()> {
    Connection::open(address)
        .await?
        .ask("/readyz")
        .await
        .map(|_| ())
}

/// One value of a node's metrics.
pub fn metric(text: &[u8], name: &str) -> Result<f64> {
    let text = std::str::from_utf8(text).context("metrics that are no text")?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .with_context(|| format!("no metric {name}"))?
        .trim()
        .parse()
        .with_context(|| format!("the metric {name}"))
}

/// A line of `/proc/PID/status`, in MiB. Only Linux has it.
pub fn memory_mib(pid: u32, line: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let value = text
        .lines()
        .find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))
        .context("no such line")?;
    let kib: f64 = value.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// Watches the memory of processes until it is asked.
pub struct Memory {
    stop: tokio::sync::oneshot::Sender<()>,
    watching: tokio::task::JoinHandle<Result<f64>>,
}

impl Memory {
    /// Begins to watch these processes.
    pub fn watch(pids: Vec<u32>) -> Memory {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let watching = tokio::spawn(async move {
            let mut most = 0.0;
            loop {
                for pid in &pids {
                    most = f64::max(most, memory_mib(*pid, "VmRSS")?);
                }
                let pause = tokio::time::timeout(Duration::from_millis(100), &mut stopped);
                if pause.await.is_ok() {
                    return Ok(most);
                }
            }
        });
        Memory { stop, watching }
    }

    /// The most that any of them had.
    pub async fn most(self) -> Result<f64> {
        // Where it has ended by itself, its result says why.
        let _ = self.stop.send(());
        self.watching.await?
    }
}

/// Seconds of processor time that a process has used. Only Linux has it.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    /// In this unit Linux tells it, whatever its clock is.
    const TICKS_A_SECOND: f64 = 100.0;
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let (_, rest) = text.rsplit_once(')').context("no name in it")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |n: usize| -> Result<f64> { Ok(fields.get(n).context("it is short")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = b"# TYPE chord_chunks gauge\nchord_chunks_more 9\nchord_chunks 12\n";
        assert_eq!(metric(text, "chord_chunks").unwrap(), 12.0);
        assert!(metric(text, "chord").is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_time() {
        assert!(memory_mib(std::process::id(), "VmRSS").unwrap() > 0.0);
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
    }
}
