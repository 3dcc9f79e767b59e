//! The local shell: the operator of a cluster of processes on one machine.
//!
//! `chord up` starts it as a child and plays the kubelet; the two speak through
//! the files of [`files`]. A round reads them, asks the nodes, plans, and carries
//! the plan out. It may be killed at any point: every file is replaced whole, and
//! to do a round again does no harm.

pub mod durable;
pub mod files;
mod round;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chord_api::client::{NodeClient, NodeError};
use chord_api::host::Ballast;
use chord_types::Ordinal;
use kube::ResourceExt;
use serde::de::DeserializeOwned;

use self::durable::{StoredView, read_json};
use self::files::{DesiredSlots, Nodes, Paths, StatusFile};
use crate::clock::Clock;
use crate::crd::status::ConditionNow;
use crate::crd::{BadSpec, ChordCluster, ClusterManifestErrors, parse_cluster_manifest};
use crate::nodes;
use chord_api::causes;
use chord_planner::plan::{self, Memory, Spec};

/// How long a node has to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Rounds are this far apart at most: on one machine asking costs little.
const ROUND_MS: u64 = 1_000;

/// And this far at least.
const ROUND_AT_LEAST_MS: u64 = 200;

/// Why the operator could not start, or could not end a round.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its folder cannot be made.
    #[error("making the folder {}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What it says to the nodes needs the secret.
    #[error("reading the cluster's secret, {}", .path.display())]
    Secret {
        /// The secret's file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no client to ask the nodes with.
    #[error("making the client for the nodes")]
    Client(#[source] reqwest::Error),
    /// One of its files was not read or written.
    #[error(transparent)]
    File(#[from] durable::Error),
    /// Nobody has said what is wanted.
    #[error("reading {}: there is none", .path.display())]
    NoClusterManifest {
        /// The manifest's file.
        path: PathBuf,
    },
    /// The manifest is wrong, and none has been right before.
    #[error("reading {}", .path.display())]
    ClusterManifest {
        /// The manifest's file.
        path: PathBuf,
        /// What is wrong with it.
        source: BadClusterManifest,
    },
    /// This process could not ask a node.
    #[error("asking the nodes")]
    Ask(#[source] NodeError),
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum BadClusterManifest {
    /// It is no UTF-8.
    #[error(transparent)]
    NotText(#[from] std::str::Utf8Error),
    /// It is no ChordCluster.
    #[error(transparent)]
    Refused(#[from] ClusterManifestErrors),
    /// It is a ChordCluster that cannot be obeyed.
    #[error(transparent)]
    Spec(#[from] BadSpec),
}

/// Runs the operator of the cluster in `dir` until `shutdown`.
pub async fn run(dir: PathBuf, clock: Clock, shutdown: impl Future) -> Result<(), Error> {
    let paths = Paths::new(dir);
    let path = paths.operator();
    std::fs::create_dir_all(&path).map_err(|source| Error::Folder { path, source })?;
    let _lock = durable::lock(&paths)?;
    let path = paths.secret();
    let secret = std::fs::read_to_string(&path).map_err(|source| Error::Secret { path, source })?;
    let client = NodeClient::new(secret.trim(), ANSWER_WITHIN).map_err(Error::Client)?;
    let mut operator = Operator {
        ballast: durable::ballast(&paths),
        paths,
        clock,
        client,
        wanted: None,
        heard: BTreeSet::new(),
    };
    tokio::pin!(shutdown);
    let mut told = String::new();
    loop {
        let pause = tokio::select! {
            _ = &mut shutdown => return Ok(()),
            done = operator.round() => match done {
                Ok(again_ms) => {
                    told.clear();
                    again_ms.clamp(ROUND_AT_LEAST_MS, ROUND_MS)
                }
                Err(e) => {
                    let words = causes::words(&e);
                    tracing::error!("{words}; trying again");
                    let why = format!("the operator cannot go on: {words}");
                    if told != why {
                        // Else it would stand in the log alone, which nobody reads.
                        let line = round::trouble(&why, operator.clock.now());
                        if durable::append_events(&operator.paths.events(), &[line], &operator.ballast).is_ok() {
                            told = why;
                        }
                    }
                    ROUND_MS
                }
            },
        };
        tokio::select! {
            _ = &mut shutdown => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(pause)) => {}
        }
    }
}

struct Operator {
    paths: Paths,
    ballast: Ballast,
    clock: Clock,
    client: NodeClient,
    /// The last manifest that was right, with its text.
    wanted: Option<Wanted>,
    /// The nodes that answered in the last round.
    heard: BTreeSet<Ordinal>,
}

struct Wanted {
    text: Vec<u8>,
    cluster: ChordCluster,
    spec: Spec,
}

impl Wanted {
    fn parse(text: &[u8]) -> Result<Wanted, BadClusterManifest> {
        let cluster = parse_cluster_manifest(std::str::from_utf8(text)?)?;
        let spec = Spec::try_from(&cluster)?;
        Ok(Wanted {
            text: text.to_vec(),
            cluster,
            spec,
        })
    }
}

impl Operator {
    /// One round; returns after how many milliseconds to look again.
    async fn round(&mut self) -> Result<u64, Error> {
        let (paths, ballast) = (&self.paths, &self.ballast);
        durable::refill(ballast);
        let (wanted, invalid) = read_cluster_manifest(paths, &mut self.wanted)?;
        let stored = StoredView::read(paths)?;
        let running: Nodes = read_json(&paths.nodes())?.unwrap_or_default();
        let slots: DesiredSlots = read_json(&paths.slots())?.unwrap_or_default();
        let memory: Memory = remembered(&paths.memory())?.unwrap_or_default();
        let previous: Option<StatusFile> = remembered(&paths.status())?;
        let now = self.clock.now();

        let targets = round::targets(&running);
        let asked = nodes::observe_nodes(&self.client, &targets, &mut self.heard).await;
        let reports = asked.map_err(Error::Ask)?;
        let known = stored.parse();
        let held = nodes::held_views(&self.client, &targets, &reports, &known).await;
        let observed = round::observed(known, &running, &slots, &reports, held);

        let (plan, next) = plan::plan(&wanted.spec, &observed, &memory, now);

        if let Some(view) = &plan.view {
            stored.advance(paths, view, ballast)?;
            tracing::info!("view {} ({}) is stored", view.epoch, view.state());
        }
        let in_force = match (&plan.view, &observed.stored) {
            (Some(view), _) => Some(view),
            (None, plan::Stored::View(view)) if view.cluster == wanted.spec.cluster => {
                Some(&**view)
            }
            (None, _) => None,
        };
        if let Some(view) = in_force {
            for (ordinal, e) in nodes::push_view(&self.client, &targets, &reports, view).await {
                let why = causes::briefly(&e);
                tracing::warn!("node {ordinal} did not take view {}: {why}", view.epoch);
            }
        }
        let slots = round::merged(slots, &plan, &running);
        durable::replace_json(&paths.slots(), &slots, ballast)?;
        if next != memory {
            durable::replace_json(&paths.memory(), &next, ballast)?;
        }
        let extra = invalid.map(|message| ConditionNow {
            kind: "InvalidSpec".into(),
            status: true,
            reason: "Refused".into(),
            message: format!("{message}; the last right one is obeyed"),
        });
        let name = wanted.cluster.name_any();
        let status = round::status_file(
            &wanted.cluster,
            &plan,
            &observed,
            &running,
            previous.as_ref(),
            extra,
            now,
        );
        if previous.as_ref() != Some(&status) {
            durable::replace_json(&paths.status(), &status, ballast)?;
        }
        for event in &plan.events {
            match event.warning {
                true => tracing::warn!("{name}: {}: {}", event.reason, event.message),
                false => tracing::info!("{name}: {}: {}", event.reason, event.message),
            }
        }
        let lines = round::event_lines(&plan.events, now);
        // Nothing depends on them, and they are in the log.
        if let Err(e) = durable::append_events(&paths.events(), &lines, ballast) {
            tracing::warn!("an event is told here alone: {}", causes::words(&e));
        }
        Ok(if plan.view.is_some() {
            ROUND_AT_LEAST_MS
        } else {
            plan.again_ms
        })
    }
}

/// Reads the manifest, and returns what is to be obeyed. A manifest that is wrong is
/// not: the last right one is, and what is wrong is returned beside it.
fn read_cluster_manifest<'a>(
    paths: &Paths,
    last: &'a mut Option<Wanted>,
) -> Result<(&'a Wanted, Option<String>), Error> {
    let path = paths.cluster_manifest();
    let Some(text) = durable::read(&path)? else {
        return Err(Error::NoClusterManifest { path });
    };
    let (wanted, invalid) = match last.take() {
        Some(last) if last.text == text => (last, None),
        last => match (Wanted::parse(&text), last) {
            (Ok(wanted), _) => (wanted, None),
            (Err(e), Some(last)) => {
                let invalid = format!("{}: {}", path.display(), causes::words(&e));
                (last, Some(invalid))
            }
            (Err(source), None) => return Err(Error::ClusterManifest { path, source }),
        },
    };
    Ok((last.insert(wanted), invalid))
}

/// What was written down in an earlier round. What makes no sense is lost (the planner
/// holds without its memory, and nothing else depends on it); what cannot be read now
/// may be read in the next round, and must not be written over.
fn remembered<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, durable::Error> {
    let Some(bytes) = durable::read(path)? else {
        return Ok(None);
    };
    match serde_json::from_slice(&bytes) {
        Ok(remembered) => Ok(Some(remembered)),
        Err(e) => {
            tracing::warn!("{} makes no sense and is lost: {e}", path.display());
            Ok(None)
        }
    }
}
