//! Clusters of processes on this machine, under `chord up`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use chord_api::human;
use parking_lot::Mutex;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::node::{Hurt, Node};
use super::process::{children, files_below, parent, signal};
use crate::cluster_spec::{self, NAME};
use crate::program::{binary, repo};
use crate::wait::{eventually, secs};

/// How long `chord up` may take until it listens.
const START: std::time::Duration = secs(60);
/// How long it may take to stop.
const STOP: std::time::Duration = secs(40);

/// Makes clusters, and knows the ones of the present suite.
pub struct Local {
    work: PathBuf,
    count: AtomicU32,
    /// parking_lot's mutex, and not tokio's: nothing is awaited while it is held.
    clusters: Mutex<Vec<Arc<LocalCluster>>>,
}

/// What is around a `chord up`: a limit, a namespace, an environment.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The words of a program that becomes `chord up`.
    pub words: Vec<String>,
    pub env: Vec<(String, String)>,
}

/// A cluster under `chord up`.
pub struct LocalCluster {
    /// Beside the data: what `chord up` said, disks that were lost.
    beside: PathBuf,
    dir: PathBuf,
    endpoint: String,
    /// tokio's mutex: the process is waited for while it is held.
    up: AsyncMutex<Option<Child>>,
    pid: u32,
}

impl Local {
    pub fn new() -> Result<Local> {
        for name in ["chord", "chord-node", "chord-operator"] {
            binary(name)?;
        }
        let work = repo()
            .join("target/e2e/work")
            .join(std::process::id().to_string());
        std::fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
        Ok(Local {
            work,
            count: AtomicU32::new(0),
            clusters: Mutex::default(),
        })
    }

    /// A new, empty place for a cluster.
    pub fn place(&self) -> Result<PathBuf> {
        let beside = self
            .work
            .join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir_all(&beside).with_context(|| format!("making {}", beside.display()))?;
        Ok(beside)
    }

    pub async fn start(&self, spec: &Value) -> Result<Arc<LocalCluster>> {
        let beside = self.place()?;
        let file = beside.join("manifest.yaml");
        std::fs::write(
            &file,
            serde_yaml::to_string(&cluster_spec::cluster(NAME, spec))?,
        )?;
        self.up(&beside, Some(&file)).await
    }

    /// `chord up` with what lies in `beside`, until it listens.
    pub async fn up(&self, beside: &Path, file: Option<&Path>) -> Result<Arc<LocalCluster>> {
        self.up_within(&Around::default(), beside, &beside.join("data"), file)
            .await
    }

    /// The same in other surroundings, with the data in `dir`.
    pub async fn up_within(
        &self,
        around: &Around,
        beside: &Path,
        dir: &Path,
        file: Option<&Path>,
    ) -> Result<Arc<LocalCluster>> {
        let mut child = command(around, dir, file)?
            .stderr(appended(&beside.join("up.err"))?)
            .spawn()
            .context("starting chord up")?;
        let pid = child.id().context("chord up has ended at once")?;
        let stdout = child.stdout.take().context("chord up has no output")?;
        let said = tokio::fs::File::from_std(appended(&beside.join("up.log"))?);
        let mut told = read_endpoint(stdout, said);
        let listening = tokio::time::timeout(START, told.wait_for(Option::is_some)).await;
        let endpoint = listening
            .ok()
            .and_then(Result::ok)
            .and_then(|endpoint| endpoint.clone());
        let ended = child.try_wait().ok().flatten();
        let cluster = Arc::new(LocalCluster {
            beside: beside.to_path_buf(),
            dir: dir.to_path_buf(),
            endpoint: endpoint.clone().unwrap_or_default(),
            up: AsyncMutex::new(Some(child)),
            pid,
        });
        // One that does not listen is kept for its logs, too; it ends with the suite.
        self.remember(Arc::clone(&cluster));
        let errors = || std::fs::read_to_string(beside.join("up.err")).unwrap_or_default();
        match (endpoint, ended) {
            (Some(_), _) => Ok(cluster),
            (None, Some(status)) => bail!("chord up ended ({status}): {}", errors().trim()),
            (None, None) => bail!(
                "chord up does not listen after {}: {}",
                human::span(START),
                errors().trim()
            ),
        }
    }

    fn remember(&self, cluster: Arc<LocalCluster>) {
        self.clusters.lock().push(cluster);
    }

    pub async fn clear(&self, keep: Option<&Path>) -> Result<()> {
        let clusters = std::mem::take(&mut *self.clusters.lock());
        let mut bad = None;
        for (n, cluster) in clusters.iter().enumerate() {
            if let Some(keep) = keep {
                cluster.keep(&keep.join(n.to_string()))?;
            }
            if let Err(e) = cluster.stop().await {
                bad = Some(e);
            }
            let _ = std::fs::remove_dir_all(&cluster.beside);
        }
        match bad {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }
}

/// `chord up` in its surroundings.
fn command(around: &Around, dir: &Path, file: Option<&Path>) -> Result<Command> {
    let mut words: Vec<OsString> = around.words.iter().map(OsString::from).collect();
    words.push(binary("chord")?.into());
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .envs(around.env.iter().cloned())
        .arg("up")
        .arg("--dir")
        .arg(dir)
        .args(["--port", "0", "-o", "json", "-v"]);
    if let Some(file) = file {
        command.arg("-f").arg(file);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

fn appended(path: &Path) -> Result<std::fs::File> {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    file.with_context(|| format!("opening {}", path.display()))
}

/// Keeps what `chord up` says, and tells where it listens as soon as it says so.
fn read_endpoint(
    stdout: ChildStdout,
    mut said: tokio::fs::File,
) -> watch::Receiver<Option<String>> {
    let (tell, told) = watch::channel(None);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let _ = said.write_all(format!("{line}\n").as_bytes()).await;
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(endpoint) = event["endpoint"].as_str() {
                tell.send_replace(Some(endpoint.to_string()));
            }
        }
        let _ = said.flush().await;
    });
    told
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.work);
    }
}

impl LocalCluster {
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The folder with everything of the cluster.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process of `chord up`.
    #[allow(dead_code, reason = "for suites about what a machine lacks")]
    pub fn up_pid(&self) -> u32 {
        self.pid
    }

    /// What lies beside that folder.
    #[allow(dead_code, reason = "for suites about what a machine lacks")]
    pub fn beside(&self) -> &Path {
        &self.beside
    }

    /// Ends `chord up` as Ctrl-C does, and with it all its processes.
    pub async fn stop(&self) -> Result<()> {
        let mut up = self.up.lock().await;
        let Some(mut child) = up.take() else {
            return Ok(());
        };
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        let pids: Vec<u32> = children(self.pid).into_iter().map(|(pid, _)| pid).collect();
        signal(self.pid, Signal::INT)?;
        let Ok(ended) = tokio::time::timeout(STOP, child.wait()).await else {
            let _ = child.kill().await;
            bail!("chord up has not ended {} after Ctrl-C", human::span(STOP));
        };
        let status = ended?;
        ensure!(
            status.success(),
            "chord up ended with {status} after Ctrl-C"
        );
        let left: Vec<u32> = pids
            .into_iter()
            .filter(|pid| parent(*pid).is_some_and(|(_, zombie)| !zombie))
            .collect();
        ensure!(
            left.is_empty(),
            "chord up has ended, and its processes {left:?} have not"
        );
        Ok(())
    }

    fn read(&self, part: &str) -> Result<Value> {
        let path = self.dir.join(part);
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
    }

    fn processes(&self) -> Result<BTreeMap<u32, Value>> {
        let file = self.read("run/nodes.json")?;
        let nodes = file["nodes"]
            .as_object()
            .context("run/nodes.json without nodes")?;
        let running = nodes.iter().filter(|(_, node)| node["pid"].is_u64());
        running
            .map(|(ordinal, node)| Ok((ordinal.parse()?, node.clone())))
            .collect()
    }

    fn pid(&self, ordinal: u32) -> Result<u32> {
        let processes = self.processes()?;
        let pid = processes
            .get(&ordinal)
            .and_then(|p| p["pid"].as_u64())
            .context("it does not run")?;
        Ok(u32::try_from(pid)?)
    }

    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let node = |(ordinal, process): (u32, Value)| {
            let url = process["clientUrl"]
                .as_str()
                .context("a node without an address")?
                .to_string();
            Ok(Node {
                ordinal,
                name: format!("{NAME}-{ordinal}"),
                url,
            })
        };
        self.processes()?.into_iter().map(node).collect()
    }

    pub async fn peer_url(&self, ordinal: u32) -> Result<String> {
        let processes = self.processes()?;
        let url = processes
            .get(&ordinal)
            .and_then(|p| p["peerUrl"].as_str())
            .context("it does not run")?;
        Ok(url.to_string())
    }

    pub async fn identities(&self) -> Result<BTreeMap<u32, String>> {
        Ok(self
            .processes()?
            .into_iter()
            .map(|(ordinal, p)| (ordinal, p["pid"].to_string()))
            .collect())
    }

    /// The child of `chord up` that is called chord-operator.
    fn operator_pid(&self) -> Result<u32> {
        let mut found = children(self.pid)
            .into_iter()
            .filter(|(_, name)| name.starts_with("chord-operator"));
        found.next().map(|(pid, _)| pid).context("no operator runs")
    }

    pub async fn hurt(&self, ordinal: u32, how: Hurt) -> Result<()> {
        let pid = self.pid(ordinal)?;
        match how {
            Hurt::Kill => signal(pid, Signal::KILL)?,
            Hurt::Stop => signal(pid, Signal::TERM)?,
            Hurt::Lose => {
                // Out of the way first, so that the next process cannot find it.
                let lost = self.beside.join(format!("lost-{ordinal}-{pid}"));
                std::fs::rename(self.dir.join("nodes").join(ordinal.to_string()), &lost)?;
                signal(pid, Signal::KILL)?;
                std::fs::remove_dir_all(&lost)?;
            }
        }
        eventually(
            format!("node {ordinal} is another process"),
            secs(30),
            || async {
                ensure!(self.pid(ordinal)? != pid, "it is still process {pid}");
                Ok(())
            },
        )
        .await
    }

    pub async fn kill_operator(&self) -> Result<()> {
        let pid = self.operator_pid()?;
        signal(pid, Signal::KILL)?;
        eventually("the operator is another process", secs(20), || async {
            ensure!(self.operator_pid()? != pid, "it is still process {pid}");
            Ok(())
        })
        .await
    }

    pub async fn scale(&self, nodes: u32) -> Result<()> {
        let told = crate::program::chord(&self.endpoint, &["scale", &nodes.to_string()]).await?;
        told.expect(0).map(|_| ())
    }

    pub async fn status(&self) -> Result<Value> {
        Ok(self.read("operator/status.json")?["status"].take())
    }

    fn view_path(&self) -> PathBuf {
        self.dir.join("operator/view.bin")
    }

    pub async fn view_bytes(&self) -> Result<Option<Vec<u8>>> {
        match std::fs::read(self.view_path()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    pub async fn copy_view(&self) -> Result<Vec<u8>> {
        self.view_bytes().await?.context("no view is stored")
    }

    pub async fn put_view(&self, copy: Option<&[u8]>) -> Result<()> {
        match copy {
            None => std::fs::remove_file(self.view_path())?,
            Some(bytes) => {
                let draft = self.beside.join("view.bin");
                std::fs::write(&draft, bytes)?;
                std::fs::rename(draft, self.view_path())?;
            }
        }
        Ok(())
    }

    pub async fn disk_exists(&self, ordinal: u32) -> Result<bool> {
        Ok(self.dir.join("nodes").join(ordinal.to_string()).exists())
    }

    pub async fn chunk_files(&self, ordinal: u32) -> Result<Option<Vec<PathBuf>>> {
        files_below(
            &self
                .dir
                .join("nodes")
                .join(ordinal.to_string())
                .join("chunks"),
        )
        .map(Some)
    }

    /// Copies what tells what happened: logs and the operator's files, no contents.
    fn keep(&self, to: &Path) -> Result<()> {
        let copy = |from: &Path, to: &Path| -> std::io::Result<()> {
            let Ok(entries) = std::fs::read_dir(from) else {
                return Ok(());
            };
            std::fs::create_dir_all(to)?;
            for entry in entries.flatten() {
                if entry.file_type()?.is_file() {
                    std::fs::copy(entry.path(), to.join(entry.file_name()))?;
                }
            }
            Ok(())
        };
        copy(&self.beside, to)?;
        copy(&self.dir, to)?;
        for part in ["logs", "operator", "run"] {
            copy(&self.dir.join(part), &to.join(part))?;
        }
        // A suite may have taken its folder away itself.
        std::fs::create_dir_all(to)?;
        let disks = files_below(&self.dir.join("nodes")).unwrap_or_default();
        let list: Vec<String> = disks.iter().map(|p| p.display().to_string()).collect();
        std::fs::write(to.join("disks.txt"), list.join("\n"))?;
        Ok(())
    }
}
