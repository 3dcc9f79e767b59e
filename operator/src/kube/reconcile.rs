//! One round of one cluster: observe, validate, plan, build, apply, status.
//!
//! The order inside *apply* is the order of safety: the view is stored before any
//! node gets it, a proof is written down before its node goes, and what a round
//! could not do it leaves for the next one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chord_api::ClusterUid;
use chord_api::client::NodeClient;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt};

use super::apply::{Applied, Applier};
use super::cache::Caches;
use super::error::Error;
use super::metrics::Metrics;
use super::names::Names;
use super::objects::{BroughtAbout, Round};
use super::observe;
use super::publish::{Published, Publisher, planned, troubled};
use super::rolling::Rolling;
use super::slots;
use super::store::{self, Kept};
use super::validate::{self, Pinned, Wanted};
use crate::crd::status::ConditionNow;
use crate::crd::to_plan::cluster_uid;
use crate::crd::{BadSpec, ChordCluster};
use crate::nodes::push_view;
use crate::plan::{self, Memory, Millis, Plan};

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
    /// The generation that was checked last, and what was wrong with it.
    checked: Option<(Option<i64>, Vec<BadSpec>)>,
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
        // Its children are owned by it and go with it; the claims do as the
        // retention says.
        return Ok(Action::await_change());
    }
    let result = round(shared, caches, cluster, state).await;
    let trouble = match &result {
        Err(Error::NameConflict { kind, name }) => {
            let message = Error::NameConflict {
                kind: kind.clone(),
                name: name.clone(),
            }
            .to_string();
            ConditionNow {
                kind: "NameConflict".into(),
                status: true,
                reason: "NameConflict".into(),
                message,
            }
        }
        Err(Error::InvalidSpec(bad)) => ConditionNow {
            kind: "InvalidSpec".into(),
            status: true,
            reason: "InvalidSpec".into(),
            message: bad.to_string(),
        },
        _ => return result,
    };
    let previous = state.published.last(cluster).cloned();
    let known = previous
        .iter()
        .flat_map(|s| &s.conditions)
        .any(|c| c.type_ == trouble.kind && c.status == "True" && c.message == trouble.message);
    if !known {
        tracing::warn!("{}: {}", cluster.name_any(), trouble.message);
        shared
            .publisher
            .event(cluster, true, &trouble.reason, &trouble.message)
            .await;
    }
    let status = troubled(cluster, trouble, previous.as_ref(), now());
    shared
        .publisher
        .status(&shared.metrics, cluster, &mut state.published, status)
        .await?;
    Ok(Action::requeue(LATER))
}

async fn round(
    shared: &Shared,
    caches: &Caches,
    cluster: &ChordCluster,
    state: &mut State,
) -> Result<Action, Error> {
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
) -> Result<Action, Error> {
    // Observe: what is stored, and the StatefulSet.
    let kept = store::read(applier.find(&caches.config_maps, &names.view()).await?);
    let set = applier.find(&caches.stateful_sets, &names.own()).await?;
    // The ConfigMap may have been lost; what the pods run with is the same.
    let known = kept
        .pinned
        .clone()
        .or(set.as_deref().map(pinned_in).unwrap_or_default());

    let wanted = validated(cluster, &known, shared, state)?;
    let pinned = Pinned {
        image: Some(wanted.image.clone()),
        cluster: Some(match known.cluster {
            Some(uid) => uid,
            None => cluster_uid(cluster)?,
        }),
    };

    // Observe: the nodes.
    let nodes = secret(applier, cluster, &wanted, state).await?;
    let set_replicas = set.as_ref().map(|s| replicas_of(s));
    let shown = state
        .published
        .last(cluster)
        .map_or(0, |s| s.nodes.max(s.desired_nodes));
    let horizon = slots::horizon(
        &kept.stored,
        set_replicas.unwrap_or(0),
        wanted.plan.nodes,
        shown,
    );
    let seen = observe::look(caches, names, set_replicas, horizon);
    let targets = observe::targets(&seen);
    let (observed, reports) = observe::observe(&nodes, &seen, &targets, kept.stored.clone()).await;

    // Plan.
    let time = now();
    let before = state
        .memory
        .clone()
        .or_else(|| kept.memory.clone())
        .unwrap_or_default();
    let (plan, memory) = plan::plan(&wanted.plan, &observed, &before, time);

    // Apply: the view and the memory first, then the view to the nodes.
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
    let mut extra = Vec::new();
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
        extra = round
            .objects(
                applier,
                &mut state.brought_about,
                set.as_deref(),
                &kept,
                &plan,
            )
            .await?;
        round.restart(applier, &plan).await?;
    }

    // Status.
    for event in &plan.events {
        shared
            .publisher
            .event(cluster, event.warning, event.reason, &event.message)
            .await;
    }
    let status = planned(
        cluster,
        &plan.status,
        &extra,
        state.published.last(cluster),
        time,
    );
    shared
        .publisher
        .status(&shared.metrics, cluster, &mut state.published, status)
        .await?;
    Ok(Action::requeue(Duration::from_millis(
        plan.again_ms.clamp(200, AGAIN_AT_MOST),
    )))
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
) -> Result<NodeClient, Error> {
    if let Some(nodes) = &state.nodes
        && nodes.read.elapsed() < SECRET_EVERY
    {
        return Ok(nodes.client.clone());
    }
    let known = state.nodes.as_ref().map(|n| n.secret.clone());
    let secret = applier
        .secret(cluster, &wanted.image, known.as_deref())
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

fn replicas_of(set: &StatefulSet) -> u32 {
    let replicas = set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    u32::try_from(replicas).unwrap_or(0)
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
        let kept = Pinned {
            image: Some("r/n:2".into()),
            cluster: None,
        };
        let both = kept.or(pinned_in(&set));
        assert_eq!(
            (both.image.as_deref(), both.cluster.map(|c| c.0).as_deref()),
            (Some("r/n:2"), Some("u7"))
        );
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
