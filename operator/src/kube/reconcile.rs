//! One round of one cluster: observe, validate, plan, build, apply, status.
//!
//! The steps read as their own table of contents in [`round`]. Where a step writes, it
//! is built first and applied then, in the order of safety ([`apply`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chord_planner::plan::{self, Memory, Stored};
use chord_types::Ordinal;
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt};

use super::api::cache::Caches;
use super::api::writer::{Applied, Writer};
use super::apply::objects::{BroughtAbout, Inputs};
use super::apply::outcome::Outcome;
use super::apply::turns::Turns;
use super::apply::{self, claims, record, restarts};
use super::build::{self, owner_references};
use super::failure::Kind;
use super::names::Names;
use super::observe::machines::Machines;
use super::observe::record::Pinned;
use super::observe::{self, Foundation, Observation};
use super::status::{self, Published, Publisher};
use super::validate::{self, Checked, Wanted};
use super::{secret, secret::Nodes};
use crate::clock::Clock;
use crate::crd::{BadSpec, ChordCluster};
use crate::metrics::Metrics;
use chord_api::causes;

/// When a conflict or an invalid spec is looked at again.
const LATER: Duration = Duration::from_secs(30);
/// When something that is under way is looked at again.
const SOON: Duration = Duration::from_secs(1);
/// The longest that a round may plan to sleep, and the shortest, in milliseconds.
const AGAIN_AT_MOST: u64 = 60_000;
const AGAIN_AT_LEAST: u64 = 200;

/// What all clusters share.
pub struct Shared {
    /// The way to the API server.
    pub client: Client,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    /// Writes statuses and events.
    pub publisher: Publisher,
    /// Whose turn it is to be restarted.
    pub turns: Turns,
    /// What is known of machines.
    pub machines: Machines,
    /// The time.
    pub clock: Clock,
    /// The image of nodes whose spec names none.
    pub node_image: String,
    /// The namespace that the operator runs in, where it is known.
    pub operator_namespace: Option<String>,
}

/// What is remembered of one cluster between rounds. Losing it costs a few reads:
/// what must not be lost is in the record.
#[derive(Default)]
pub struct State {
    memory: Option<Memory>,
    applied: Applied,
    brought_about: BroughtAbout,
    published: Published,
    nodes: Nodes,
    /// The nodes that answered in the last round.
    heard: BTreeSet<Ordinal>,
    checked: Checked,
    /// How many rounds in a row have ended early.
    failures: u32,
}

/// Why a round ended early. What it had done stays; the next one goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What there is could not be observed.
    #[error(transparent)]
    Observe(#[from] observe::Error),
    /// The resource cannot be obeyed.
    #[error(transparent)]
    Validate(#[from] validate::Error),
    /// There is no secret for the nodes.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// What shall be could not be built.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// What shall be could not be brought about.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] status::Error),
    /// The resource is not of the form that this operator knows.
    #[error(
        "the ChordCluster cannot be read ({why}): is the CRD of another version than the operator?"
    )]
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
    /// The round was given up.
    #[error("the round took longer than {} s", .limit.as_secs())]
    TookTooLong {
        /// How long it may take.
        limit: Duration,
    },
    /// The round's task ended before it.
    #[error("the round broke down")]
    BrokeDown(#[source] tokio::task::JoinError),
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Observe(e) => e.kind(),
            Error::Validate(e) => e.kind(),
            Error::Secret(e) => e.kind(),
            Error::Build(e) => e.kind(),
            Error::Apply(e) => e.kind(),
            Error::Status(e) => e.kind(),
            Error::Unreadable { .. } => Kind::Refused,
            Error::TookTooLong { .. } | Error::BrokeDown(_) => Kind::Internal,
        }
    }
}

/// A round that came to its status.
struct Done {
    again: Duration,
    /// What could not be done, and is told in the status.
    failed: Option<apply::Error>,
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
    let mut applied = std::mem::take(&mut state.applied);
    let ended = round(shared, caches, cluster, state, &mut applied).await;
    state.applied = applied;
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
        }) => failed.into(),
        Err(failed) => {
            publish_failure(shared, cluster, state, &failed).await?;
            failed
        }
    };
    state.failures = state.failures.saturating_add(1);
    match failed.kind() {
        Kind::NameConflict | Kind::InvalidSpec => Ok(Action::requeue(LATER)),
        _ => Err(failed),
    }
}

/// The steps of a round.
async fn round(
    shared: &Shared,
    caches: &Caches,
    cluster: &ChordCluster,
    state: &mut State,
    applied: &mut Applied,
) -> Result<Done, Error> {
    let (names, owner) = (Names::of(cluster), uid(cluster)?);
    let writer = &mut Writer {
        client: &shared.client,
        caches,
        metrics: &shared.metrics,
        namespace: &names.namespace,
        owner: &owner,
        applied,
    };

    // Observe what the rest stands on, and validate by what was settled.
    let foundation = observe::foundation(writer, &names).await?;
    let (image, pinned) = (&shared.node_image, foundation.pinned());
    let wanted = validate::validate(cluster, &pinned, image, &mut state.checked)?;

    // Observe the rest.
    let nodes = (state.nodes)
        .client(
            writer,
            cluster,
            &wanted.image,
            foundation.in_use(),
            &shared.clock,
        )
        .await?;
    let expected = (wanted.plan.nodes, state.published.nodes(cluster));
    let (machines, heard) = (&shared.machines, &mut state.heard);
    let observation = observe::cluster(
        writer,
        &names,
        &foundation,
        expected,
        machines,
        &nodes,
        heard,
    )
    .await?;

    // Plan.
    let now = shared.clock.now();
    let Foundation { record, set } = foundation;
    let before = state.memory.as_ref().or(record.memory.as_ref());
    let before = before.cloned().unwrap_or_default();
    let (plan, memory) = plan::plan(&wanted.plan, &observation.observed, &before, now);

    // Build and apply the record, and give the view in it to the nodes.
    let unformed = plan.view.is_none() && record.view == Stored::Missing;
    let pinned = if unformed { pinned } else { settled(&wanted) };
    let change = build::record::change(cluster, &record, plan.view.as_ref(), &memory, &pinned)?;
    let record = record::store(writer, &names, record, change).await?;
    state.memory = Some(memory);
    let (stored, uid) = (&record.view, &wanted.plan.cluster);
    record::give_view(&nodes, &names, &observation, stored, uid).await;
    // Recorded as soon as they are remembered: what fails below must not lose them.
    shared.publisher.events(cluster, &plan.events).await;

    // Build and apply the objects.
    let inputs = Inputs {
        cluster,
        names: &names,
        wanted: &wanted,
        observation: &observation,
        plan: &plan,
        set: set.as_deref(),
        operator_namespace: shared.operator_namespace.as_deref(),
    };
    let brought_about = &mut state.brought_about;
    let outcome = bring_about(shared, writer, &inputs, brought_about, stored).await;

    // Status.
    publish(shared, &inputs, state, outcome, now).await
}

/// Builds and applies the objects: owner references, claims, the rest, restarts.
async fn bring_about(
    shared: &Shared,
    writer: &mut Writer<'_>,
    inputs: &Inputs<'_>,
    brought_about: &mut BroughtAbout,
    stored: &Stored,
) -> Outcome {
    let mut outcome = Outcome::default();
    let Observation { seen, observed, .. } = inputs.observation;
    // Also while paused: who wants to keep the files must not lose them.
    let references = owner_references::changes(inputs.cluster, seen, observed, inputs.set);
    outcome.note(claims::set_owner_references(writer, seen, &references).await);
    if !inputs.wanted.plan.paused {
        inputs
            .bring_about(writer, brought_about, stored, &mut outcome)
            .await;
        let (turns, publisher) = (&shared.turns, &shared.publisher);
        outcome.note(restarts::restart(writer, inputs, turns, publisher).await);
    }
    outcome
}

/// The UID by which objects belong to a cluster.
fn uid(cluster: &ChordCluster) -> Result<String, validate::Error> {
    let missing = || BadSpec::new("metadata.uid", "is missing");
    Ok(cluster.uid().ok_or_else(missing)?)
}

/// What is settled from when the cluster is formed on: image and cluster. Until then
/// they follow the resource, so that what keeps it from being formed can be put right.
fn settled(wanted: &Wanted) -> Pinned {
    Pinned {
        image: Some(wanted.image.clone()),
        cluster: Some(wanted.plan.cluster.clone()),
    }
}

/// Publishes what became of a round that had a plan.
async fn publish(
    shared: &Shared,
    inputs: &Inputs<'_>,
    state: &mut State,
    mut outcome: Outcome,
    now: plan::Millis,
) -> Result<Done, Error> {
    let (cluster, plan) = (inputs.cluster, inputs.plan);
    let told = |e: &apply::Error| e.kind().condition(causes::words(e), state.failures);
    if let Some(condition) = outcome.failed.as_ref().and_then(told) {
        outcome.add(condition);
    }
    let told = |bad: &BadSpec| Kind::InvalidSpec.condition(bad.to_string(), 0);
    if let Some(condition) = inputs.wanted.ignored.as_ref().and_then(told) {
        outcome.add(condition);
    }
    let previous = state.published.last(cluster).cloned();
    for condition in &outcome.conditions {
        shared
            .publisher
            .announce(cluster, previous.as_ref(), condition)
            .await;
    }
    let status = status::planned(
        cluster,
        &plan.status,
        &outcome.conditions,
        previous.as_ref(),
        now,
    );
    shared
        .publisher
        .status(cluster, &mut state.published, status)
        .await?;
    Ok(Done {
        again: Duration::from_millis(plan.again_ms.clamp(AGAIN_AT_LEAST, AGAIN_AT_MOST)),
        failed: outcome.failed,
    })
}

/// Publishes what ended a round before there was a plan.
async fn publish_failure(
    shared: &Shared,
    cluster: &ChordCluster,
    state: &mut State,
    failed: &Error,
) -> Result<(), status::Error> {
    let told = failed
        .kind()
        .condition(causes::words(failed), state.failures);
    let Some(trouble) = told else {
        return Ok(());
    };
    let previous = state.published.last(cluster).cloned();
    shared
        .publisher
        .announce(cluster, previous.as_ref(), &trouble)
        .await;
    let status = status::troubled(cluster, trouble, previous.as_ref(), shared.clock.now());
    shared
        .publisher
        .status(cluster, &mut state.published, status)
        .await
}

/// When a failed round is tried again: twice as long each time, up to a minute.
pub fn back_off(error: &Error, failures: u32) -> Duration {
    match error.kind() {
        Kind::Waiting => SOON,
        // Something was changed meanwhile; what was read is not what is there.
        Kind::Rejected(409) if failures <= 3 => Duration::from_millis(200),
        _ => SOON
            .saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)))
            .min(Duration::from_secs(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_retried_ever_more_slowly() {
        let refused = Error::Unreadable { why: "no".into() };
        let waits: Vec<u64> = (1..=8).map(|n| back_off(&refused, n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        let waiting = Error::Apply(apply::Error::SetMadeAnew);
        assert_eq!(back_off(&waiting, 50), SOON);
    }
}
