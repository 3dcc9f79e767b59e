//! One round of one cluster: observe, validate, plan, build, apply, status.
//!
//! The order inside *apply* is the order of safety: the view is stored before any
//! node gets it, a proof is written down before its node goes, and what a round
//! could not do it leaves for the next one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chord_api::client::NodeClient;
use chord_types::{ClusterUid, Ordinal};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt};

use crate::crd::{BadSpec, ChordCluster};
use crate::kube::api::cache::Caches;
use crate::kube::api::writer::{Applied, Applier};
use crate::kube::apply::claim_owners;
use crate::kube::apply::objects::{BroughtAbout, Outcome, Round, replicas_of};
use crate::kube::apply::record::{self, Kept};
use crate::kube::apply::turns::Rolling;
use crate::kube::build::replicas;
use crate::kube::error::Error;
use crate::kube::names::Names;
use crate::kube::observe::machines::Machines;
use crate::kube::observe::nodes as observe;
use crate::kube::status::publish::{Published, Publisher, planned, troubled};
use crate::kube::validate::{self, Pinned, Wanted};
use crate::metrics::Metrics;
use crate::nodes::push_view;
use chord_planner::plan::{self, Memory, Millis, Plan};

/// How long a node has to answer.
const NODE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the Secret is looked at.
const SECRET_EVERY: Duration = Duration::from_secs(300);
/// When a conflict or an invalid spec is looked at again.
const LATER: Duration = Duration::from_secs(30);
/// When something that is under way is looked at again.
const SOON: Duration = Duration::from_secs(1);
/// The longest that a round may plan to sleep.
const AGAIN_AT_MOST: u64 = 60_000;

/// What all clusters share.
pub struct Shared {
    pub client: Client,
    pub metrics: Arc<Metrics>,
    pub publisher: Publisher,
    pub rolling: Rolling,
    pub machines: Machines,
    /// The image of nodes whose spec names none.
    pub node_image: String,
    /// The namespace that the operator runs in, where it is known.
    pub operator_namespace: Option<String>,
}

/// What is remembered of one cluster between rounds. Losing it costs a few reads:
/// what must not be lost is in the ConfigMap.
#[derive(Default)]
pub struct State {
    memory: Option<Memory>,
    applied: Applied,
    brought_about: BroughtAbout,
    published: Published,
    nodes: Option<Nodes>,
    /// The nodes that answered in the last round.
    heard: BTreeSet<Ordinal>,
    /// The generation that was checked last, and what was wrong with it.
    checked: Option<(Option<i64>, Vec<BadSpec>)>,
    /// How many rounds in a row have ended early.
    failures: u32,
}

/// A round that came to its status.
struct Done {
    again: Duration,
    /// What could not be done, and is told in the status.
    failed: Option<Error>,
}

struct Nodes {
    secret: String,
    client: NodeClient,
    read: Instant,
}

/// Runs one round; what stops it is told in the status where that helps.
pub async fn reconcile(
    shared: &Shared,
    caches: &Caches,
    cluster: &ChordCluster,
    state: &mut State,
) -> Result<Action, Error> {
    if cluster.metadata.deletion_timestamp.is_some() {
        // Its children are owned by it and go with it, and so do the claims that
        // shall.
        return Ok(Action::await_change());
    }
    let ended = round(shared, caches, cluster, state).await;
    let failed = match ended {
        Ok(Done {
            again,
            failed: None,
        }) => {
            state.failures = 0;
            return Ok(Action::requeue(again));
        }
        // It is told in the status already.
        Ok(Done {
            failed: Some(failed),
            ..
        }) => failed,
        Err(failed) => {
            tell(shared, cluster, state, &failed).await?;
            failed
        }
    };
    state.failures = state.failures.saturating_add(1);
    match failed {
        Error::NameConflict { .. } | Error::InvalidSpec(_) => Ok(Action::requeue(LATER)),
        failed => Err(failed),
    }
}

/// Tells of what ended a round before there was a plan.
async fn tell(
    shared: &Shared,
    cluster: &ChordCluster,
    state: &mut State,
    failed: &Error,
) -> Result<(), Error> {
    let Some(trouble) = failed.condition(state.failures) else {
        return Ok(());
    };
    let previous = state.published.last(cluster).cloned();
    shared
        .publisher
        .announce(cluster, previous.as_ref(), &trouble)
        .await;
    let status = troubled(cluster, trouble, previous.as_ref(), now());
    shared
        .publisher
        .status(&shared.metrics, cluster, &mut state.published, status)
        .await
}

async fn round(
    shared: &Shared,
    caches: &Caches,
    cluster: &ChordCluster,
    state: &mut State,
) -> Result<Done, Error> {
    let names = Names::of(cluster);
    let owner = cluster
        .uid()
        .ok_or_else(|| BadSpec::new("metadata.uid", "is missing"))?;
    let mut applied = std::mem::take(&mut state.applied);
    let mut applier = Applier {
        client: &shared.client,
        metrics: &shared.metrics,
        namespace: &names.namespace,
        owner: &owner,
        applied: &mut applied,
    };
    let result = steps(shared, caches, cluster, state, &names, &mut applier).await;
    state.applied = applied;
    result
}

async fn steps(
    shared: &Shared,
    caches: &Caches,
    cluster: &ChordCluster,
    state: &mut State,
    names: &Names,
    applier: &mut Applier<'_>,
) -> Result<Done, Error> {
    // Observe: what is stored, and the StatefulSet.
    let kept = record::read(applier.find(&caches.config_maps, &names.view()).await?);
    let set = applier.find(&caches.stateful_sets, &names.own()).await?;
    let settled = settled(&kept, set.as_deref());
    let wanted = validated(cluster, &settled, shared, state)?;

    // Observe: the nodes.
    // Pods may run with the secret that there was.
    let in_use = kept.stored != plan::Stored::Missing || set.is_some();
    let nodes = secret(applier, cluster, &wanted, state, in_use).await?;
    let set_replicas = set.as_ref().map(|s| replicas_of(s));
    let shown = state
        .published
        .last(cluster)
        .map_or(0, |s| s.nodes.max(s.desired_nodes));
    let horizon = replicas::horizon(
        &kept.stored,
        set_replicas.unwrap_or(0),
        wanted.plan.nodes,
        shown,
    );
    let seen = observe::look(caches, names, set_replicas, horizon);
    let targets = observe::targets(&seen);
    let sites = shared.machines.sites(&shared.client, &seen.pods).await;
    let heard = &mut state.heard;
    let stored = kept.stored.clone();
    let observed = observe::observe(&nodes, &seen, &targets, heard, sites, stored);
    let (observed, reports) = observed.await?;

    // Plan.
    let time = now();
    let before = state
        .memory
        .clone()
        .or_else(|| kept.memory.clone())
        .unwrap_or_default();
    let (plan, memory) = plan::plan(&wanted.plan, &observed, &before, time);

    // Apply: the view and the memory first, then the view to the nodes.
    // From when it is formed on, image and cluster are settled; until then they follow
    // the resource, so that what keeps it from being formed can be put right.
    let pinned = match plan.view.is_some() || kept.stored != plan::Stored::Missing {
        true => Pinned {
            image: Some(wanted.image.clone()),
            cluster: Some(wanted.plan.cluster.clone()),
        },
        false => settled,
    };
    let kept = keep(applier, caches, cluster, kept, &plan, &memory, &pinned).await?;
    state.memory = Some(memory);
    if let plan::Stored::View(view) = &kept.stored
        && view.cluster == wanted.plan.cluster
    {
        for (ordinal, e) in push_view(&nodes, &targets, &reports, view).await {
            tracing::warn!(
                "{} did not take view {}: {e}",
                names.pod(ordinal),
                view.epoch
            );
        }
    }
    // Told as soon as they are remembered: what fails below must not lose them.
    for event in &plan.events {
        shared
            .publisher
            .event(cluster, event.warning, event.reason, &event.message)
            .await;
    }
    let mut outcome = Outcome::default();
    // Also while paused: who wants to keep the files must not lose them.
    let owned = claim_owners::changes(cluster, &seen, &observed, set.as_deref());
    outcome.note(applier.own(&caches.claims, &seen, &owned).await);
    if !wanted.plan.paused {
        let round = Round {
            shared,
            caches,
            cluster,
            names,
            wanted: &wanted,
            seen: &seen,
            observed: &observed,
        };
        round
            .objects(
                applier,
                &mut state.brought_about,
                set.as_deref(),
                &kept,
                &plan,
                &mut outcome,
            )
            .await;
        let restarted = round.restart(applier, &plan).await;
        outcome.note(restarted);
    }

    // Status.
    let failure = outcome.failed.as_ref();
    if let Some(condition) = failure.and_then(|e| e.condition(state.failures)) {
        outcome.tell(condition);
    }
    let ignored = wanted.ignored.clone().map(Error::InvalidSpec);
    if let Some(condition) = ignored.and_then(|e| e.condition(0)) {
        outcome.tell(condition);
    }
    let previous = state.published.last(cluster).cloned();
    for condition in &outcome.conditions {
        shared
            .publisher
            .announce(cluster, previous.as_ref(), condition)
            .await;
    }
    let status = planned(
        cluster,
        &plan.status,
        &outcome.conditions,
        previous.as_ref(),
        time,
    );
    shared
        .publisher
        .status(&shared.metrics, cluster, &mut state.published, status)
        .await?;
    Ok(Done {
        again: Duration::from_millis(plan.again_ms.clamp(200, AGAIN_AT_MOST)),
        failed: outcome.failed,
    })
}

fn validated(
    cluster: &ChordCluster,
    pinned: &Pinned,
    shared: &Shared,
    state: &mut State,
) -> Result<Wanted, Error> {
    let generation = cluster.metadata.generation;
    let checked = match state.checked.take() {
        Some(checked) if checked.0 == generation && generation.is_some() => checked,
        _ => (generation, validate::check(cluster)),
    };
    let first = checked.1.first().cloned();
    state.checked = Some(checked);
    match first {
        Some(bad) => Err(bad.into()),
        None => Ok(validate::wanted(cluster, pinned, &shared.node_image)?),
    }
}

/// The client for the nodes, with the cluster's secret; the Secret is looked at
/// now and then, and made again from what the nodes run with should it be gone.
async fn secret(
    applier: &Applier<'_>,
    cluster: &ChordCluster,
    wanted: &Wanted,
    state: &mut State,
    in_use: bool,
) -> Result<NodeClient, Error> {
    if let Some(nodes) = &state.nodes
        && nodes.read.elapsed() < SECRET_EVERY
    {
        return Ok(nodes.client.clone());
    }
    let known = state.nodes.as_ref().map(|n| n.secret.clone());
    let secret = applier
        .secret(cluster, &wanted.image, known.as_deref(), in_use)
        .await?;
    let client = NodeClient::new(secret.clone(), NODE_TIMEOUT)
        .map_err(|e| Error::Refused(format!("no client for the nodes can be made: {e}")))?;
    state.nodes = Some(Nodes {
        secret,
        client: client.clone(),
        read: Instant::now(),
    });
    Ok(client)
}

/// Writes view and memory when there is something to write.
async fn keep(
    applier: &Applier<'_>,
    caches: &Caches,
    cluster: &ChordCluster,
    kept: Kept,
    plan: &Plan,
    memory: &Memory,
    pinned: &Pinned,
) -> Result<Kept, Error> {
    let view = plan.view.as_ref().filter(|view| match &kept.stored {
        plan::Stored::View(stored) => stored.as_ref() != *view,
        _ => true,
    });
    let known = kept.object.is_some()
        && kept.pinned == *pinned
        && kept
            .memory
            .as_ref()
            .is_some_and(|old| gist(old) == gist(memory));
    if view.is_none() && known {
        return Ok(kept);
    }
    applier
        .keep(&caches.config_maps, cluster, &kept, view, memory, pinned)
        .await
}

/// The memory without the words of the last decision, whose figures change all the
/// time: they are not worth a write.
fn gist(memory: &Memory) -> Memory {
    let mut memory = memory.clone();
    if let Some((_, words, _)) = &mut memory.last_decision {
        words.clear();
    }
    memory
}

/// What was settled when the cluster was formed. Where the ConfigMap was lost, that is
/// what the pods run with; where it is there without a view, nothing is settled yet.
fn settled(kept: &Kept, set: Option<&StatefulSet>) -> Pinned {
    let formed_or_lost = kept.object.is_none() || kept.stored != plan::Stored::Missing;
    let running = set.filter(|_| formed_or_lost).map(pinned_in);
    kept.pinned.clone().or(running.unwrap_or_default())
}

/// What a StatefulSet's pods run with.
fn pinned_in(set: &StatefulSet) -> Pinned {
    let pod = set.spec.as_ref().and_then(|s| s.template.spec.as_ref());
    let Some(container) = pod.and_then(|p| p.containers.first()) else {
        return Pinned::default();
    };
    let args = container.args.as_deref().unwrap_or_default();
    let uid = args
        .windows(2)
        .find(|pair| pair[0] == "--cluster-uid")
        .map(|pair| pair[1].clone());
    Pinned {
        image: container.image.clone(),
        cluster: uid.map(ClusterUid),
    }
}

/// When a failed round is tried again: twice as long each time, up to a minute.
pub fn back_off(error: &Error, failures: u32) -> Duration {
    match error {
        Error::Waiting(_) => SOON,
        // Something was changed meanwhile; what was read is not what is there.
        e if e.status() == Some(409) && failures <= 3 => Duration::from_millis(200),
        _ => SOON
            .saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)))
            .min(Duration::from_secs(60)),
    }
}

fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_retried_ever_more_slowly() {
        let refused = Error::Refused("no".into());
        let waits: Vec<u64> = (1..=8).map(|n| back_off(&refused, n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(back_off(&Error::Waiting("x".into()), 50), SOON);
    }

    #[test]
    fn what_was_pinned_can_be_read_from_the_pods() {
        let set: StatefulSet = serde_json::from_value(serde_json::json!({"spec": {
            "selector": {}, "template": {"spec": {"containers": [
                {"name": "node", "image": "r/n:1", "args": ["--data", "/data", "--cluster-uid", "u7", "--x"]}
            ]}}
        }}))
        .unwrap();
        let pinned = Pinned {
            image: Some("r/n:1".into()),
            cluster: Some(ClusterUid("u7".into())),
        };
        assert_eq!(pinned_in(&set), pinned);
        let mut kept = Kept {
            pinned: Pinned {
                image: Some("r/n:2".into()),
                cluster: None,
            },
            ..Default::default()
        };
        let both = settled(&kept, Some(&set));
        assert_eq!(
            (both.image.as_deref(), both.cluster.map(|c| c.0).as_deref()),
            (Some("r/n:2"), Some("u7")),
            "the ConfigMap was lost"
        );
        kept.object = Some(Arc::default());
        kept.pinned = Pinned::default();
        assert_eq!(
            settled(&kept, Some(&set)),
            Pinned::default(),
            "not formed yet: another image, another cluster may still be asked for"
        );
        kept.stored = plan::Stored::Unreadable("damaged".into());
        assert_eq!(settled(&kept, Some(&set)), pinned_in(&set));
    }

    #[test]
    fn figures_in_words_are_not_worth_a_write() {
        let memory = |words: &str, target| Memory {
            target,
            last_decision: Some((plan::Decision::Hold, words.into(), Millis(1))),
            ..Default::default()
        };
        assert_eq!(
            gist(&memory("11 %", Some(3))),
            gist(&memory("12 %", Some(3)))
        );
        assert_ne!(
            gist(&memory("11 %", Some(3))),
            gist(&memory("11 %", Some(4)))
        );
    }
}
