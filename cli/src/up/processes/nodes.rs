//! The node processes: brings about what the operator wants at each ordinal.
//!
//! [`next_step`] decides; [`Nodes`] carries it out, from one task that is called again
//! and again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord_api::human;
use chord_operator::crd::to_plan::cluster_uid;
use chord_operator::crd::{ChordCluster, NodeSettings};
use chord_operator::local::files::{DesiredSlot, DesiredSlots, NodeProcess, Nodes as NodesFile};
use chord_types::Ordinal;
use kube::ResourceExt;

use super::ports::{PortBook, Ports};
use super::process::{self, Backoff, Process, Recipe};
use super::step::{State, Step, next_step};
use crate::failure::Failure;
use crate::up::folder::Folder;
use crate::up::messages::Messages;

/// How long a node may take to end by itself.
pub const GRACE: Duration = Duration::from_secs(20);
/// What a file of the operator may hold; more is no such file.
const FILE_BYTES: u64 = 8 * 1024 * 1024;

/// What is supervised at one ordinal.
#[derive(Debug, Default)]
struct Supervised {
    process: Option<Process>,
    revision: String,
    /// When it was told to end it is ended by force from here on.
    kill_at: Option<Instant>,
    killed: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
    /// Why it does not run.
    trouble: Option<String>,
}

/// A node as the rest of the supervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    pub name: String,
    pub ports: Ports,
    pub pid: Option<u32>,
    pub stopping: bool,
}

/// All node processes.
pub struct Nodes {
    folder: Arc<Folder>,
    program: PathBuf,
    supervisor: String,
    ports: PortBook,
    supervised: BTreeMap<u32, Supervised>,
    /// The manifest as it was last read.
    cluster: ChordCluster,
    written: Option<NodesFile>,
    messages: Messages,
}

impl Nodes {
    /// `supervisor` is where nodes send requests that change the cluster.
    pub fn new(
        folder: Arc<Folder>,
        program: PathBuf,
        supervisor: String,
        cluster: ChordCluster,
        messages: Messages,
    ) -> Nodes {
        let ports = std::fs::read(folder.at("run/ports.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Nodes {
            folder,
            program,
            supervisor,
            ports,
            supervised: BTreeMap::new(),
            cluster,
            written: None,
            messages,
        }
    }

    /// One round: looks at what is wanted and at what runs, does what is due.
    pub fn step(&mut self, now: Instant) {
        let wanted = self.wanted();
        let known: BTreeSet<u32> = wanted
            .keys()
            .chain(self.supervised.keys())
            .copied()
            .collect();
        for ordinal in known {
            self.reap(ordinal, wanted.get(&ordinal), now);
            let node = self.supervised.entry(ordinal).or_default();
            let state = match (&node.process, node.kill_at) {
                (None, _) => State::Idle {
                    due: node.not_before.is_none_or(|at| now >= at),
                    disk: self.folder.disk(ordinal).symlink_metadata().is_ok(),
                },
                (Some(_), None) => State::Running {
                    revision: &node.revision,
                },
                (Some(_), Some(at)) => State::Stopping { overdue: now >= at },
            };
            match next_step(state, wanted.get(&ordinal)) {
                Step::Nothing => {}
                Step::Stop => self.stop(ordinal, now),
                Step::Kill => self.kill(ordinal),
                Step::Start => {
                    if let Some(DesiredSlot::Running { revision }) = wanted.get(&ordinal) {
                        self.start(ordinal, revision, now);
                    }
                }
                Step::DeleteDisk => match self.folder.delete_disk(ordinal) {
                    Ok(()) => self
                        .messages
                        .progress(&format!("deleted the disk of {}", self.name(ordinal))),
                    Err(e) => {
                        self.messages.warning(&format!(
                            "cannot delete the disk of {}: {e}",
                            self.name(ordinal)
                        ));
                        self.pause(ordinal, now);
                    }
                },
            }
        }
        self.supervised.retain(|ordinal, node| {
            node.process.is_some() || node.not_before.is_some() || wanted.contains_key(ordinal)
        });
        self.publish();
    }

    /// Tells every node to end.
    pub fn stop_all(&mut self, now: Instant) {
        let running: Vec<u32> = self.supervised.keys().copied().collect();
        for ordinal in running {
            if self
                .supervised
                .get(&ordinal)
                .is_some_and(|s| s.kill_at.is_none())
            {
                self.stop(ordinal, now);
            }
        }
    }

    /// Ends every node by force.
    pub fn kill_all(&mut self) {
        let running: Vec<u32> = self.supervised.keys().copied().collect();
        for ordinal in running {
            self.kill(ordinal);
        }
    }

    /// A round of shutting down: true once nothing runs any more.
    pub fn all_ended(&mut self, now: Instant) -> bool {
        for node in self.supervised.values_mut() {
            if node.process.as_mut().is_some_and(|p| p.ended().is_some()) {
                node.process = None;
            } else if node.kill_at.is_some_and(|at| now >= at)
                && let Some(process) = &mut node.process
            {
                process.kill();
            }
        }
        self.supervised.values().all(|node| node.process.is_none())
    }

    /// Keeps the logs bounded.
    pub fn cut_logs(&self) {
        for ordinal in self.supervised.keys() {
            process::cut(&self.log(*ordinal));
        }
    }

    /// The nodes there are, by ordinal.
    pub fn seen(&self) -> BTreeMap<u32, NodeInfo> {
        let seen = self.supervised.iter().filter_map(|(ordinal, node)| {
            let seen = NodeInfo {
                name: self.name(*ordinal),
                ports: self.ports.get(*ordinal)?,
                pid: node.process.as_ref().map(Process::pid),
                stopping: node.kill_at.is_some(),
            };
            (seen.pid.is_some() || node.not_before.is_some()).then_some((*ordinal, seen))
        });
        seen.collect()
    }

    fn name(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.cluster.name_any())
    }

    fn log(&self, ordinal: u32) -> PathBuf {
        self.folder.at("logs").join(format!("node-{ordinal}.log"))
    }

    /// What the operator wants. A file that is not there (yet) or cannot be read
    /// wants nothing, and so changes nothing.
    fn wanted(&mut self) -> BTreeMap<u32, DesiredSlot> {
        let path = self.folder.at("operator/slots.json");
        match read(&path) {
            Ok(None) => BTreeMap::new(),
            Ok(Some(bytes)) => match serde_json::from_slice::<DesiredSlots>(&bytes) {
                Ok(file) => file
                    .slots
                    .into_iter()
                    .map(|(ordinal, node)| (ordinal.0, node))
                    .collect(),
                Err(e) => {
                    self.messages.warning_once(&format!(
                        "{} cannot be read: {e}: nodes stay as they are",
                        path.display()
                    ));
                    BTreeMap::new()
                }
            },
            Err(e) => {
                self.messages.warning_once(&format!(
                    "{} cannot be read: {e}: nodes stay as they are",
                    path.display()
                ));
                BTreeMap::new()
            }
        }
    }

    /// Notes a process that has ended.
    fn reap(&mut self, ordinal: u32, wanted: Option<&DesiredSlot>, now: Instant) {
        let name = self.name(ordinal);
        let log = self.log(ordinal);
        let Some(node) = self.supervised.get_mut(&ordinal) else {
            return;
        };
        let Some(process) = &mut node.process else {
            return;
        };
        let Some(status) = process.ended() else {
            return;
        };
        let steady = process.is_steady(now);
        node.process = None;
        node.killed = false;
        if node.kill_at.take().is_some() {
            node.not_before = None;
            node.backoff = Backoff::default();
            if matches!(wanted, Some(DesiredSlot::Absent { .. })) {
                self.messages.progress(&format!("{name} has left"));
            }
            return;
        }
        let delay = node.backoff.next(steady);
        node.not_before = Some(now + delay);
        node.trouble = Some(format!("its process ended: {status}"));
        self.messages.warning(&format!(
            "{name} ended ({status}) and is started again in {}; see {}",
            human::span(delay),
            log.display()
        ));
    }

    fn start(&mut self, ordinal: u32, revision: &str, now: Instant) {
        // By hand or with -f it may have changed since the last start.
        match self.folder.current() {
            Ok(cluster) => self.cluster = cluster,
            Err(failure) => self.messages.warning_once(&failure.to_string()),
        }
        let started = self.try_start(ordinal, now);
        let name = self.name(ordinal);
        match started {
            Ok(process) => {
                self.messages
                    .detail(&format!("started {name} (process {})", process.pid()));
                let node = self.supervised.entry(ordinal).or_default();
                node.process = Some(process);
                node.revision = revision.to_string();
                node.kill_at = None;
                node.not_before = None;
                node.trouble = None;
            }
            Err(why) => {
                self.messages
                    .warning(&format!("cannot start {name}: {why}"));
                self.pause(ordinal, now);
                if let Some(node) = self.supervised.get_mut(&ordinal) {
                    node.trouble = Some(format!("it cannot be started: {why}"));
                }
            }
        }
        self.publish();
    }

    fn try_start(&mut self, ordinal: u32, now: Instant) -> Result<Process, String> {
        let (ports, new) = self.ports.claim(ordinal).map_err(|e| e.to_string())?;
        if new {
            let text = serde_json::to_vec_pretty(&self.ports).map_err(|e| e.to_string())?;
            self.folder
                .write("run/ports.json", &text)
                .map_err(|e| e.to_string())?;
        }
        let recipe = Recipe {
            program: self.program.clone(),
            args: self.args(ordinal, ports).map_err(|e| e.to_string())?,
            log: self.log(ordinal),
        };
        let started = self.folder.with_room(|| Process::start(&recipe, now));
        started.map_err(|e| format!("{}: {e}", recipe.program.display()))
    }

    fn args(
        &self,
        ordinal: u32,
        ports: Ports,
    ) -> Result<Vec<OsString>, chord_operator::crd::BadSpec> {
        let uid = cluster_uid(&self.cluster)?;
        let settings = NodeSettings::new(&self.cluster.spec)?;
        let mut args: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: OsString| args.extend([OsString::from(name), value]);
        flag("--data", self.folder.disk(ordinal).into());
        flag("--name", self.name(ordinal).into());
        flag("--ordinal", ordinal.to_string().into());
        flag("--cluster-uid", uid.0.into());
        flag("--secret-file", self.folder.at("secret").into());
        flag(
            "--client-listen",
            format!("127.0.0.1:{}", ports.client).into(),
        );
        flag("--peer-listen", format!("127.0.0.1:{}", ports.peer).into());
        flag("--addresses", self.folder.at("run/nodes.json").into());
        flag("--supervisor", self.supervisor.clone().into());
        args.extend(settings.args().into_iter().map(OsString::from));
        args.push("--exit-with-stdin".into());
        Ok(args)
    }

    fn stop(&mut self, ordinal: u32, now: Instant) {
        if let Some(node) = self.supervised.get_mut(&ordinal)
            && let Some(process) = &node.process
        {
            process.terminate();
            node.kill_at = Some(now + GRACE);
        }
    }

    fn kill(&mut self, ordinal: u32) {
        if let Some(node) = self.supervised.get_mut(&ordinal)
            && let Some(process) = &mut node.process
            && !std::mem::replace(&mut node.killed, true)
        {
            process.kill();
        }
    }

    fn pause(&mut self, ordinal: u32, now: Instant) {
        let node = self.supervised.entry(ordinal).or_default();
        node.not_before = Some(now + node.backoff.next(false));
    }

    /// Tells the operator and the nodes who runs where, when that has changed. What
    /// cannot be told now is told in the next round.
    fn publish(&mut self) {
        if let Err(failure) = self.try_publish() {
            self.messages
                .warning_once(&format!("{failure}; it is tried again"));
        }
    }

    fn try_publish(&mut self) -> Result<(), Failure> {
        let mut file = NodesFile::default();
        let disks = self.folder.disks()?;
        let lives = |node: &Supervised| node.process.is_some() || node.not_before.is_some();
        let slots = self
            .supervised
            .iter()
            .filter(|(_, node)| lives(node))
            .map(|(ordinal, _)| ordinal);
        let all: BTreeSet<u32> = disks.iter().chain(slots).copied().collect();
        for ordinal in all {
            let node = self.supervised.get(&ordinal);
            let running = node.filter(|s| s.process.is_some());
            let url = |port: u16| Some(format!("http://127.0.0.1:{port}"));
            // Every entry has addresses: readers may rely on it.
            let ports = match self.ports.get(ordinal) {
                Some(ports) => ports,
                None => {
                    self.ports
                        .claim(ordinal)
                        .map_err(|e| Failure::failed(e.to_string()))?
                        .0
                }
            };
            file.nodes.insert(
                Ordinal(ordinal),
                NodeProcess {
                    pid: running.and_then(|s| s.process.as_ref()).map(Process::pid),
                    client_url: url(ports.client),
                    peer_url: url(ports.peer),
                    revision: running.map(|s| s.revision.clone()),
                    disk_exists: disks.contains(&ordinal),
                    trouble: node.and_then(|s| s.trouble.clone()),
                },
            );
        }
        if self.written.as_ref() == Some(&file) {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&file).map_err(|e| Failure::failed(e.to_string()))?;
        self.folder.write("run/nodes.json", &text)?;
        self.written = Some(file);
        Ok(())
    }
}

/// A file, unless there is none.
fn read(path: &std::path::Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES => Err(std::io::Error::other("it is far too long")),
        Ok(_) => std::fs::read(path).map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
