//! `chord up`: a cluster as processes on this machine.
//!
//! It plays the part of Kubernetes: it keeps the manifest, runs the operator as a
//! child, and runs the node processes that the operator wants ([`processes`]); one
//! endpoint leads to whichever nodes are ready ([`endpoint`]); changes by hand come in
//! through [`control`]. It decides nothing about data: what may come and go is the
//! operator's planner's to say.

mod cluster_manifest;
mod control;
mod endpoint;
mod folder;
mod messages;
mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord_api::host::Descriptors;
use chord_api::host::listen::Bounded;
use chord_operator::crd::{ChordCluster, ClusterManifestErrors, parse_cluster_manifest};
use kube::ResourceExt;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio_util::task::AbortOnDropHandle;

use self::cluster_manifest::sizes;
use self::control::Control;
use self::endpoint::proxy::{self, Backends};
use self::endpoint::ready;
use self::folder::Folder;
use self::messages::Messages;
use self::messages::conditions::{Conditions, News, passes};
use self::messages::events::EventReader;
use self::processes::nodes::{NodeInfo, Nodes};
use self::processes::operator::Operator;
use self::processes::ports::loopback;
use self::processes::process;
use crate::args::UpArgs;
use crate::failure::{Code, Failure};
use crate::output::Output;
use crate::signals::EndSignals;

/// How often we look at what is wanted and at what runs.
const ROUND: Duration = Duration::from_millis(100);
/// Connections of nodes to the control, at once.
const CONTROL_CONNECTIONS: usize = 32;
/// How often logs are looked at, in rounds.
const LOGS_EVERY: u32 = 50;

/// Runs a cluster until somebody ends it.
pub async fn run(args: &UpArgs, out: Output) -> Result<(), Failure> {
    let messages = Messages::new(out);
    let mut end = EndSignals::listen();
    // Everything that may be wrong is looked at before anything is changed.
    let given = given_manifest(args)?;
    if !args.dir.join("cluster.yaml").exists() {
        let new = cluster_manifest::decide(given.as_ref(), None).map_err(|e| refused(args, &e))?;
        folder::room_for_new(&args.dir, sizes::start_and_most(&new).0)?;
    }
    let programs = Programs::find()?;
    let listener = listen(args.port).await?;
    let (folder, cluster) = take_folder(args, given.as_ref()).await?;
    announce_cluster(args, &cluster, &messages);
    let mut supervisor = Supervisor::start(folder, cluster, programs, listener, &messages).await?;
    // Nothing that a round meets ends the cluster: what cannot be done is told, and done
    // when it can.
    loop {
        supervisor.round(Instant::now());
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            _ = end.next() => break,
        }
    }
    messages.progress("stopping the nodes; the data stay");
    supervisor.shut_down(&mut end).await;
    Ok(())
}

/// The programs that are run.
struct Programs {
    node: PathBuf,
    operator: PathBuf,
}

impl Programs {
    fn find() -> Result<Programs, Failure> {
        let find = |name, variable| process::find(name, variable).map_err(Failure::failed);
        Ok(Programs {
            node: find("chord-node", "CHORD_NODE_BIN")?,
            operator: find("chord-operator", "CHORD_OPERATOR_BIN")?,
        })
    }
}

async fn listen(port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind(loopback(port)).await.map_err(|e| {
        Failure::new(
            Code::Unavailable,
            format!("cannot listen on 127.0.0.1:{port}: {e}: choose another port with --port, or stop what uses this one"),
        )
    })
}

/// Takes the folder, with the manifest that is in force from now on.
async fn take_folder(
    args: &UpArgs,
    given: Option<&ChordCluster>,
) -> Result<(Arc<Folder>, ChordCluster), Failure> {
    let folder = Folder::take(&args.dir).await?;
    let kept = folder.kept()?;
    // Made now, before anybody wants it.
    folder.secret()?;
    let cluster = cluster_manifest::decide(given, kept.as_ref()).map_err(|e| refused(args, &e))?;
    folder.write_manifest("cluster.yaml", &cluster)?;
    if let Some(given) = given {
        folder.write_manifest("given.yaml", given)?;
    }
    folder.share_lock()?;
    folder.finish_deletions();
    Ok((Arc::new(folder), cluster))
}

fn announce_cluster(args: &UpArgs, cluster: &ChordCluster, messages: &Messages) {
    let size = sizes::size(cluster);
    messages.progress(&format!(
        "{} in {} ({size})",
        cluster.name_any(),
        args.dir.display()
    ));
    for ordinal in sizes::drained_in_vain(cluster) {
        messages.warning(&format!(
            "spec.drained names node {ordinal}, and there is none ({size})"
        ));
    }
}

/// Everything that runs.
struct Supervisor {
    folder: Arc<Folder>,
    operator: Operator,
    nodes: Nodes,
    /// Tells the control's server who runs.
    seen: watch::Sender<BTreeMap<u32, NodeInfo>>,
    /// Tells the endpoint where nodes run.
    running: watch::Sender<BTreeSet<SocketAddr>>,
    events: EventReader,
    conditions: Conditions,
    messages: Messages,
    begun: Instant,
    rounds: u32,
    /// The endpoint, which goes first at the end.
    serving: Option<AbortOnDropHandle<()>>,
    _watching: [AbortOnDropHandle<()>; 2],
}

impl Supervisor {
    /// Serves the endpoint and the control; the processes come with the first rounds.
    async fn start(
        folder: Arc<Folder>,
        cluster: ChordCluster,
        programs: Programs,
        endpoint: TcpListener,
        messages: &Messages,
    ) -> Result<Supervisor, Failure> {
        let address = endpoint
            .local_addr()
            .map_err(|e| Failure::failed(format!("cannot listen: {e}")))?;
        let (seen, nodes_seen) = watch::channel(BTreeMap::new());
        let (running, running_seen) = watch::channel(BTreeSet::new());
        let (ready, ready_seen) = watch::channel(BTreeSet::new());
        let control_at = serve_control(&folder, folder.secret()?, nodes_seen).await?;
        let backends = Backends {
            running: running_seen.clone(),
            ready: ready_seen,
        };
        let task = |task| AbortOnDropHandle::new(task);
        let descriptors = Descriptors::now();
        let serving = task(tokio::spawn(proxy::serve(endpoint, backends, descriptors)));
        let watching = [
            task(tokio::spawn(ready::poll(running_seen, ready))),
            task(tokio::spawn(ready::announce(address, messages.clone()))),
        ];
        let events = EventReader::from_end(folder.at("operator/events.jsonl"));
        rotate_logs(&folder);
        Ok(Supervisor {
            operator: Operator::new(Arc::clone(&folder), programs.operator, messages.clone()),
            nodes: Nodes::new(
                Arc::clone(&folder),
                programs.node,
                control_at,
                cluster,
                messages.clone(),
            ),
            folder,
            seen,
            running,
            events,
            conditions: Conditions::default(),
            messages: messages.clone(),
            begun: Instant::now(),
            rounds: 0,
            serving: Some(serving),
            _watching: watching,
        })
    }

    /// Looks at what is wanted and at what runs, and tells of it.
    fn round(&mut self, now: Instant) {
        self.operator.step(now);
        self.nodes.step(now);
        self.publish();
        for event in self.events.read() {
            if passes(&event, now.duration_since(self.begun)) {
                continue;
            }
            if event.kind == "Warning" {
                self.messages.warning(&event.message);
            } else {
                self.messages.progress(&event.message);
            }
        }
        self.rounds = self.rounds.wrapping_add(1);
        if self.rounds.is_multiple_of(LOGS_EVERY) {
            self.nodes.cut_logs();
            self.operator.cut_log();
            self.tell_news(now);
            if let Err(e) = self.folder.refill() {
                self.messages.warning_once(&format!(
                    "cannot set room aside for a full disk: {e}; it is tried again"
                ));
            }
        }
    }

    /// Tells what the status says that it did not say before.
    fn tell_news(&mut self, now: Instant) {
        // One that cannot be read says nothing.
        let Ok(status) = self.folder.status() else {
            return;
        };
        for news in self.conditions.observe(&status.status, now) {
            match news {
                News::Progress(text) => self.messages.progress(&text),
                News::Warning(text) => self.messages.warning(&text),
            }
        }
    }

    /// Tells the others who runs, when that has changed.
    fn publish(&self) {
        let now = self.nodes.seen();
        let addresses: BTreeSet<SocketAddr> = now
            .values()
            .filter(|n| n.pid.is_some() && !n.stopping)
            .map(|n| loopback(n.ports.client))
            .collect();
        self.running.send_if_modified(|old| {
            let changed = *old != addresses;
            *old = addresses;
            changed
        });
        self.seen.send_if_modified(|old| {
            let changed = *old != now;
            *old = now;
            changed
        });
    }

    /// Ends the endpoint, the operator, then the nodes; a second wish to end is not kept
    /// waiting.
    async fn shut_down(&mut self, end: &mut EndSignals) {
        self.serving = None;
        self.operator.stop(Instant::now());
        let mut operator_ended = false;
        loop {
            let now = Instant::now();
            if !operator_ended && self.operator.ended(now) {
                operator_ended = true;
                self.nodes.stop_all(now);
            }
            if operator_ended && self.nodes.all_ended(now) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(ROUND / 2) => {}
                _ = end.next() => {
                    self.operator.kill();
                    self.nodes.kill_all();
                }
            }
        }
    }
}

/// Puts the logs of the last run aside.
fn rotate_logs(folder: &Folder) {
    let logs = std::fs::read_dir(folder.at("logs")).into_iter().flatten();
    for log in logs.flatten() {
        if log.path().extension().is_some_and(|e| e == "log") {
            process::rotate(&log.path());
        }
    }
}

/// The manifest that was given, checked.
fn given_manifest(args: &UpArgs) -> Result<Option<ChordCluster>, Failure> {
    let Some(path) = &args.file else {
        return Ok(None);
    };
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = text
        .map_err(|e| Failure::usage(format!("cannot read the manifest {}: {e}", path.display())))?;
    parse_cluster_manifest(&text)
        .map(Some)
        .map_err(|e| refused(args, &e))
}

fn refused(args: &UpArgs, errors: &ClusterManifestErrors) -> Failure {
    let manifest = args
        .file
        .as_ref()
        .map_or_else(|| "the manifest".to_string(), |f| f.display().to_string());
    let all: Vec<String> = errors.0.iter().map(|e| format!("  {e}")).collect();
    Failure::usage(format!(
        "{manifest} is refused, and nothing was changed:\n{}",
        all.join("\n")
    ))
}

/// Serves the requests that nodes send on; returns where.
async fn serve_control(
    folder: &Arc<Folder>,
    secret: String,
    nodes: watch::Receiver<BTreeMap<u32, NodeInfo>>,
) -> Result<String, Failure> {
    let cannot = |e: std::io::Error| Failure::failed(format!("cannot listen on loopback: {e}"));
    let listener = TcpListener::bind(loopback(0)).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let control = Control {
        folder: Arc::clone(folder),
        secret,
        nodes,
        changing: Mutex::default(),
    };
    let router = control::router(Arc::new(control));
    let listener = Bounded::new(listener, CONTROL_CONNECTIONS).map_err(cannot)?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}"))
}
