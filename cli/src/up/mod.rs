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
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord_operator::crd::{ChordCluster, ManifestErrors, parse_manifest};
use kube::ResourceExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};

use self::cluster_manifest as manifest;
use self::control::Control;
use self::endpoint::proxy::{self, Backends};
use self::endpoint::ready;
use self::folder::Folder;
use self::messages::Say;
use self::messages::conditions::{self as standing, Standing, Told};
use self::messages::events::Follow;
use self::processes::nodes::{Nodes, Seen};
use self::processes::operator::Operator;
use self::processes::ports::loopback;
use self::processes::process;
use crate::args::Up;
use crate::failure::{Code, Failure};
use crate::output::Output;

/// How often we look at what is wanted and at what runs.
const ROUND: Duration = Duration::from_millis(100);
/// How often logs are looked at, in rounds.
const LOGS_EVERY: u32 = 50;

/// Runs a cluster until somebody ends it.
pub async fn run(args: &Up, out: Output) -> Result<(), Failure> {
    let say = Say::new(out);
    let mut ends = Ends::listen()?;
    // Everything that may be wrong is looked at before anything is changed.
    let given = given(args)?;
    if !args.dir.join("cluster.yaml").exists() {
        manifest::decide(given.as_ref(), None).map_err(|e| refused(args, &e))?;
    }
    let node_program = process::find("chord-node", "CHORD_NODE_BIN").map_err(Failure::failed)?;
    let operator_program =
        process::find("chord-operator", "CHORD_OPERATOR_BIN").map_err(Failure::failed)?;
    let endpoint = TcpListener::bind(loopback(args.port)).await.map_err(|e| {
        Failure::new(
            Code::Unavailable,
            format!("cannot listen on 127.0.0.1:{}: {e}: choose another port with --port, or stop what uses this one", args.port),
        )
    })?;
    let address = endpoint
        .local_addr()
        .map_err(|e| Failure::failed(format!("cannot listen: {e}")))?;
    let folder = Arc::new(Folder::take(&args.dir).await?);
    let kept = folder.kept()?;
    let cluster = manifest::decide(given.as_ref(), kept.as_ref()).map_err(|e| refused(args, &e))?;
    let secret = folder.secret()?;
    folder.store_manifest("cluster.yaml", &cluster)?;
    if let Some(given) = &given {
        folder.store_manifest("given.yaml", given)?;
    }
    folder.share_lock()?;
    folder.finish_deletions();

    let (seen, nodes_seen) = watch::channel(BTreeMap::<u32, Seen>::new());
    let (running, running_seen) = watch::channel(BTreeSet::<SocketAddr>::new());
    let control_at = serve_control(&folder, secret, nodes_seen.clone()).await?;
    let (ready, ready_seen) = watch::channel(BTreeSet::<SocketAddr>::new());
    let backends = Backends {
        running: running_seen.clone(),
        ready: ready_seen,
    };
    let serving = Guard(tokio::spawn(proxy::serve(endpoint, backends)));
    let _polling = Guard(tokio::spawn(ready::poll(running_seen, ready)));
    let _announcing = Guard(tokio::spawn(ready::announce(address, say.clone())));

    say.line(&format!(
        "{} in {} ({})",
        cluster.name_any(),
        args.dir.display(),
        manifest::size(&cluster)
    ));
    for ordinal in manifest::drained_in_vain(&cluster) {
        say.warn(&format!(
            "spec.drained names node {ordinal}, and there is none ({})",
            manifest::size(&cluster)
        ));
    }
    let mut follow = Follow::from_end(folder.at("operator/events.jsonl"));
    for log in std::fs::read_dir(folder.at("logs"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if log.path().extension().is_some_and(|e| e == "log") {
            process::rotate(&log.path());
        }
    }
    let mut operator = Operator::new(Arc::clone(&folder), operator_program, say.clone());
    let mut nodes = Nodes::new(
        Arc::clone(&folder),
        node_program,
        control_at,
        cluster,
        say.clone(),
    );

    let begun = Instant::now();
    let mut standing = Standing::default();
    let mut rounds = 0u32;
    let failed = loop {
        let now = Instant::now();
        operator.step(now);
        if let Err(failure) = nodes.step(now) {
            break Some(failure);
        }
        tell(&nodes, &seen, &running);
        for event in follow.read() {
            if standing::passes(&event, now.duration_since(begun)) {
                continue;
            }
            if event.kind == "Warning" {
                say.warn(&event.message)
            } else {
                say.line(&event.message)
            }
        }
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(LOGS_EVERY) {
            nodes.cut_logs();
            operator.cut_log();
            for told in standing.look(&folder.status().status, now) {
                match told {
                    Told::Progress(text) => say.line(&text),
                    Told::Warning(text) => say.warn(&text),
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = ends.next() => break None,
        }
    };

    say.line("stopping the nodes; the data stay");
    drop(serving);
    shut_down(&mut operator, &mut nodes, &mut ends).await;
    match failed {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// The manifest that was given, checked.
fn given(args: &Up) -> Result<Option<ChordCluster>, Failure> {
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
    parse_manifest(&text)
        .map(Some)
        .map_err(|e| refused(args, &e))
}

fn refused(args: &Up, errors: &ManifestErrors) -> Failure {
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
    nodes: watch::Receiver<BTreeMap<u32, Seen>>,
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
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}"))
}

/// Tells the others who runs, when that has changed.
fn tell(
    nodes: &Nodes,
    seen: &watch::Sender<BTreeMap<u32, Seen>>,
    running: &watch::Sender<BTreeSet<SocketAddr>>,
) {
    let now = nodes.seen();
    let addresses: BTreeSet<SocketAddr> = now
        .values()
        .filter(|n| n.pid.is_some() && !n.stopping)
        .map(|n| loopback(n.ports.client))
        .collect();
    running.send_if_modified(|old| {
        let changed = *old != addresses;
        *old = addresses;
        changed
    });
    seen.send_if_modified(|old| {
        let changed = *old != now;
        *old = now;
        changed
    });
}

/// Ends the operator, then the nodes; a second wish to end is not kept waiting.
async fn shut_down(operator: &mut Operator, nodes: &mut Nodes, ends: &mut Ends) {
    operator.stop(Instant::now());
    let mut operator_ended = false;
    loop {
        let now = Instant::now();
        if !operator_ended && operator.ended(now) {
            operator_ended = true;
            nodes.stop_all(now);
        }
        if operator_ended && nodes.all_ended(now) {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND / 2) => {}
            () = ends.next() => {
                operator.kill();
                nodes.kill_all();
            }
        }
    }
}

/// A task that ends with this.
struct Guard(tokio::task::JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The ways to end us.
struct Ends([Signal; 3]);

impl Ends {
    fn listen() -> Result<Ends, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|e| Failure::failed(format!("cannot listen for signals: {e}")))
        };
        Ok(Ends([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
