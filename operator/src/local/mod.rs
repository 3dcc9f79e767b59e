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
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use chord_api::client::NodeClient;
use chord_api::host::Ballast;
use chord_types::Ordinal;
use kube::ResourceExt;
use serde::de::DeserializeOwned;

use self::durable::StoredView;
use self::files::{Nodes, Paths, Slots, StatusFile, read_json};
use crate::crd::{ChordCluster, parse_cluster_manifest, status::ConditionNow};
use crate::nodes;
use chord_planner::plan::{self, Memory, Millis, Spec};

/// How long a node has to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Rounds are this far apart at most: on one machine asking costs little.
const ROUND_MS: u64 = 1_000;

/// And this far at least.
const ROUND_AT_LEAST_MS: u64 = 200;

/// Runs the operator of the cluster in `dir` until `shutdown`.
pub async fn run(dir: PathBuf, shutdown: impl Future) -> anyhow::Result<()> {
    let paths = Paths::new(dir);
    std::fs::create_dir_all(paths.operator())
        .with_context(|| format!("making the folder {}", paths.operator().display()))?;
    let _lock = durable::lock(&paths)?;
    let secret = std::fs::read_to_string(paths.secret())
        .with_context(|| format!("reading the cluster's secret, {}", paths.secret().display()))?;
    let client =
        NodeClient::new(secret.trim(), ANSWER_WITHIN).context("making the client for the nodes")?;
    let mut operator = Operator {
        ballast: durable::ballast(&paths),
        paths,
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
                    tracing::error!("{e:#}; trying again");
                    let why = format!("the operator cannot go on: {e:#}");
                    if told != why {
                        // Else it would stand in the log alone, which nobody reads.
                        let line = round::trouble(&why, now());
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

impl Operator {
    /// Reads the manifest. One that is wrong is not obeyed: the last right one is,
    /// and what is wrong is returned.
    fn read_cluster_manifest(&mut self) -> anyhow::Result<Option<String>> {
        let path = self.paths.cluster_manifest();
        let text = durable::read(&path)?
            .with_context(|| format!("reading {}: there is none", path.display()))?;
        if self
            .wanted
            .as_ref()
            .is_some_and(|wanted| wanted.text == text)
        {
            return Ok(None);
        }
        let parsed = std::str::from_utf8(&text)
            .map_err(anyhow::Error::from)
            .and_then(|yaml| {
                let cluster = parse_cluster_manifest(yaml)?;
                let spec = Spec::try_from(&cluster)?;
                Ok((cluster, spec))
            });
        match parsed {
            Ok((cluster, spec)) => {
                self.wanted = Some(Wanted {
                    text,
                    cluster,
                    spec,
                });
                Ok(None)
            }
            Err(e) if self.wanted.is_some() => Ok(Some(format!("{}: {e:#}", path.display()))),
            Err(e) => Err(e).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// One round; returns after how many milliseconds to look again.
    async fn round(&mut self) -> anyhow::Result<u64> {
        let invalid = self.read_cluster_manifest()?;
        let wanted = self.wanted.as_ref().context("no manifest has been read")?;
        let (paths, ballast) = (&self.paths, &self.ballast);
        durable::refill(ballast);
        let stored = StoredView::read(paths)?;
        let running: Nodes = read_json(&paths.nodes())?.unwrap_or_default();
        let slots: Slots = read_json(&paths.slots())?.unwrap_or_default();
        let memory: Memory = remembered(&paths.memory())?.unwrap_or_default();
        let previous: Option<StatusFile> = remembered(&paths.status())?;
        let now = now();

        let targets = round::targets(&running);
        let asked = nodes::observe_nodes(&self.client, &targets, &mut self.heard).await;
        let reports = asked.context("asking the nodes")?;
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
                tracing::warn!("node {ordinal} did not take view {}: {e}", view.epoch);
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
            tracing::warn!("an event is told here alone: {e:#}");
        }
        Ok(if plan.view.is_some() {
            ROUND_AT_LEAST_MS
        } else {
            plan.again_ms
        })
    }
}

/// What was written down in an earlier round. What makes no sense is lost (the planner
/// holds without its memory, and nothing else depends on it); what cannot be read now
/// may be read in the next round, and must not be written over.
fn remembered<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
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

fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
