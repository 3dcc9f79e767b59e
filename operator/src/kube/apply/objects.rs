//! The part of *apply* that is about the cluster's own objects: claims, then what
//! pods stand on, the StatefulSet, and the rest; and the restart of pods.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::ResourceExt;
use kube::api::{DeleteParams, PropagationPolicy};

use crate::crd::status::ConditionNow;
use crate::crd::{ChordCluster, Quantity};
use crate::kube::api::cache::Caches;
use crate::kube::api::writer::{Applier, marker_of};
use crate::kube::apply::claim_owners;
use crate::kube::apply::claims;
use crate::kube::apply::record::Kept;
use crate::kube::build::replicas;
use crate::kube::build::{Objects, Shape, build};
use crate::kube::error::Error;
use crate::kube::names::{Names, REVISION};
use crate::kube::observe::nodes::{Seen, has_volume};
use crate::kube::reconcile::Shared;
use crate::kube::validate::Wanted;
use chord_planner::plan::{Observed, Plan};

/// What was brought about last. A round that finds the same again builds and
/// compares nothing: of a thousand clusters nearly all are idle.
#[derive(Default)]
pub struct BroughtAbout(Option<String>);

impl BroughtAbout {
    fn is(&self, mark: &str) -> bool {
        self.0.as_deref() == Some(mark)
    }
    fn remember(&mut self, mark: String) {
        self.0 = Some(mark);
    }
    fn forget(&mut self) {
        self.0 = None;
    }
}

/// What became of the objects.
#[derive(Debug, Default)]
pub struct Outcome {
    /// One of a kind.
    pub conditions: Vec<ConditionNow>,
    /// The first thing that could not be done.
    pub failed: Option<Error>,
}

impl Outcome {
    /// Takes down what went wrong: somebody else's object as a condition, anything
    /// else as the failure.
    pub fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(done) => return Some(done),
            Err(error @ Error::NameConflict { .. }) => {
                if let Some(conflict) = error.condition(0) {
                    self.tell(conflict);
                }
            }
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
        None
    }

    /// Adds a condition, unless there is one of that kind.
    pub fn tell(&mut self, condition: ConditionNow) {
        if self.conditions.iter().all(|c| c.kind != condition.kind) {
            self.conditions.push(condition);
        }
    }

    fn is_well(&self) -> bool {
        self.conditions.is_empty() && self.failed.is_none()
    }
}

/// How many of a StatefulSet's pods its budget lets be unavailable, so that `allowed`
/// may be evicted. Kubernetes subtracts those that are not ready, and does not know
/// that some of them matter to nobody: nodes that were drained, wait to join, or were
/// given up.
fn may_be_unavailable(allowed: u32, replicas: u32, seen: &Seen) -> u32 {
    if allowed == 0 {
        return 0;
    }
    let ready = |pod: &&Arc<Pod>| {
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
        let says = |c: &PodCondition| c.type_ == "Ready" && c.status == "True";
        pod.metadata.deletion_timestamp.is_none() && conditions.is_some_and(|c| c.iter().any(says))
    };
    let ready = seen.pods.values().filter(ready).count();
    allowed + replicas.saturating_sub(u32::try_from(ready).unwrap_or(u32::MAX))
}

/// How many pods a StatefulSet shall have.
pub fn replicas_of(set: &StatefulSet) -> u32 {
    let replicas = set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    u32::try_from(replicas).unwrap_or(0)
}

/// The revision that a StatefulSet gives to pods that it makes.
fn revision_of(set: &StatefulSet) -> Option<&String> {
    let template = &set.spec.as_ref()?.template;
    template
        .metadata
        .as_ref()?
        .annotations
        .as_ref()?
        .get(REVISION)
}

/// Bytes in the StatefulSet's claim template, and how they are written there.
fn template_size(set: &StatefulSet) -> Option<(u64, String)> {
    let claim = set
        .spec
        .as_ref()?
        .volume_claim_templates
        .as_ref()?
        .first()?;
    let text = claim
        .spec
        .as_ref()?
        .resources
        .as_ref()?
        .requests
        .as_ref()?
        .get("storage")?
        .0
        .clone();
    Some((Quantity(text.clone()).bytes().ok()?, text))
}

/// What the steps of *apply* share.
pub struct Round<'a> {
    pub shared: &'a Shared,
    pub caches: &'a Caches,
    pub cluster: &'a ChordCluster,
    pub names: &'a Names,
    pub wanted: &'a Wanted,
    pub seen: &'a Seen,
    pub observed: &'a Observed,
}

impl Round<'_> {
    /// Brings the objects about. What fails is told, and keeps only that from being
    /// done which stands on it.
    pub async fn objects(
        &self,
        applier: &mut Applier<'_>,
        brought_about: &mut BroughtAbout,
        set: Option<&StatefulSet>,
        kept: &Kept,
        plan: &Plan,
        outcome: &mut Outcome,
    ) {
        let now = self.seen.replicas;
        let mut replicas = self.replicas(plan);
        let have = set.map_or(0, replicas_of);
        let foreign = applier.foreign_claim(self.names, self.seen, have..replicas);
        match outcome.note(foreign.await) {
            Some(None) => {}
            Some(Some(ordinal)) => {
                // As many pods as there can be without it.
                replicas = ordinal.0.max(now);
                outcome.note::<()>(Err(Error::NameConflict {
                    kind: "PersistentVolumeClaim".into(),
                    name: self.names.claim(ordinal),
                }));
            }
            None => replicas = replicas.min(now),
        }
        let proof = replicas::removed(now, replicas)
            .and_then(|o| replicas::report_of(self.observed, o))
            .and_then(|r| replicas::proof(r, &self.observed.stored));
        let steps = claims::steps(
            self.seen,
            &plan.slots,
            &kept.stored,
            now,
            replicas,
            proof.as_deref(),
            self.wanted.plan.delete_scaled_disks,
        );
        let marked = applier.claims(&self.caches.claims, self.names, self.seen, &steps);
        if outcome.note(marked.await).is_none() {
            // Without the proof on its claim no pod goes.
            replicas = replicas.max(now);
        }

        // One that is being deleted says nothing of the one that comes after it.
        let standing = set.filter(|s| s.metadata.deletion_timestamp.is_none());
        let template = standing.and_then(template_size);
        let size = &self.cluster.spec.storage.size;
        let small = claims::too_small(self.seen, self.wanted.settings.capacity);
        let grown = applier.grow(&self.caches.claims, self.seen, &small, size);
        if let Some(condition) = outcome.note(grown.await).flatten() {
            outcome.tell(condition);
        }
        let outgrown = template
            .as_ref()
            .is_some_and(|(bytes, _)| *bytes < self.wanted.settings.capacity);
        let shape = Shape {
            replicas,
            claim_size: template.map_or_else(|| size.0.clone(), |(_, text)| text),
            may_be_unavailable: may_be_unavailable(plan.disruptions_allowed, replicas, self.seen),
            operator_namespace: self.shared.operator_namespace.clone(),
        };
        // What was brought about and has not been touched since is as it shall be.
        let mark = self.mark(&shape);
        if brought_about.is(&mark) && outcome.is_well() && !outgrown {
            return;
        }
        brought_about.forget();
        let Objects {
            service_account,
            nodes_service,
            client_service,
            stateful_set,
            budget,
            network_policy,
        } = build(self.cluster, self.wanted, &shape);

        // What the pods stand on comes first.
        let mut stands = true;
        if let Some(account) = service_account {
            let made = applier.ensure(&self.caches.accounts, account, false).await;
            stands &= outcome.note(made).is_some();
        }
        let made = applier
            .ensure(&self.caches.services, nodes_service, false)
            .await;
        stands &= outcome.note(made).is_some();
        if stands && (set.is_some() || replicas > 0) {
            // As it was read and no other: a write that was on its way for long must
            // not bring an earlier number of pods back.
            let made = applier
                .ensure(&self.caches.stateful_sets, stateful_set, true)
                .await;
            if let Some(live) = outcome.note(made)
                && outgrown
                && small.is_empty()
                && outcome.is_well()
            {
                outcome.note(self.remake(applier, &live).await);
            }
        }
        // Nothing depends on the rest.
        let made = applier
            .ensure(&self.caches.services, client_service, false)
            .await;
        outcome.note(made);
        let made = applier.ensure(&self.caches.budgets, budget, false).await;
        outcome.note(made);
        match network_policy {
            Some(policy) => {
                let made = applier.ensure(&self.caches.policies, policy, false).await;
                outcome.note(made);
            }
            None => {
                outcome.note(self.no_policy(applier).await);
            }
        }
        if outcome.is_well() && !outgrown {
            brought_about.remember(self.mark(&shape));
        }
    }

    /// Names everything that the objects are made from, and the objects as they are.
    fn mark(&self, shape: &Shape) -> String {
        let (own, nodes) = (self.names.own(), self.names.nodes_service());
        let space = &self.names.namespace;
        let live = [
            self.caches
                .stateful_sets
                .get(space, &own)
                .map(|o| marker_of(o.as_ref())),
            self.caches
                .services
                .get(space, &own)
                .map(|o| marker_of(o.as_ref())),
            self.caches
                .services
                .get(space, &nodes)
                .map(|o| marker_of(o.as_ref())),
            self.caches
                .budgets
                .get(space, &own)
                .map(|o| marker_of(o.as_ref())),
            self.caches
                .policies
                .get(space, &own)
                .map(|o| marker_of(o.as_ref())),
            self.caches
                .accounts
                .get(space, &own)
                .map(|o| marker_of(o.as_ref())),
        ];
        let generation = self.cluster.metadata.generation;
        format!(
            "{generation:?} {} {} {shape:?} {live:?}",
            self.wanted.plan.revision, self.wanted.image
        )
    }

    /// Pods of the StatefulSet; fewer only when the node that goes has its proof.
    fn replicas(&self, plan: &Plan) -> u32 {
        let now = self.seen.replicas;
        // A new view is not what the proofs were made at; and one goes at a time.
        let leaving = plan.view.is_some() || self.seen.pods.keys().any(|o| o.0 >= now);
        let wanted = replicas::replicas(&plan.slots, now, leaving);
        match replicas::removed(now, wanted) {
            Some(ordinal)
                if self
                    .seen
                    .claims
                    .get(&ordinal)
                    .is_some_and(|c| has_volume(c)) =>
            {
                let report = replicas::report_of(self.observed, ordinal);
                match report.and_then(|r| replicas::proof(r, &self.observed.stored)) {
                    Some(_) => wanted,
                    None => now,
                }
            }
            _ => wanted,
        }
    }

    /// The claims have grown, and the template of the StatefulSet cannot: it goes
    /// without its pods, and the next round makes it anew around them.
    async fn remake(&self, applier: &Applier<'_>, set: &StatefulSet) -> Result<(), Error> {
        // A claim that belonged to it, by an older operator's will, would go with it.
        let tied = self.seen.claims.values().any(|c| {
            c.owner_references()
                .iter()
                .any(|o| Some(&o.uid) == set.metadata.uid.as_ref())
        });
        if claim_owners::takes_claims(set) || tied {
            return Err(Error::Waiting(
                "the StatefulSet is made anew for larger volumes once it no longer owns the claims"
                    .into(),
            ));
        }
        let orphan = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Orphan),
            ..Default::default()
        };
        applier
            .delete(&self.caches.stateful_sets, set, orphan)
            .await?;
        Err(Error::Waiting(
            "the StatefulSet is being made anew for larger volumes; its pods go on".into(),
        ))
    }

    async fn no_policy(&self, applier: &Applier<'_>) -> Result<(), Error> {
        // Only what the watch shows is ours to take away.
        let name = self.names.own();
        if self
            .caches
            .policies
            .get(&self.names.namespace, &name)
            .is_none()
        {
            return Ok(());
        }
        match applier.find(&self.caches.policies, &name).await {
            Ok(Some(policy)) if policy.metadata.deletion_timestamp.is_none() => {
                applier
                    .delete(
                        &self.caches.policies,
                        policy.as_ref(),
                        DeleteParams::default(),
                    )
                    .await
            }
            Ok(_) | Err(Error::NameConflict { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Deletes pods whose revision is old; the StatefulSet makes them anew.
    pub async fn restart(&self, applier: &Applier<'_>, plan: &Plan) -> Result<(), Error> {
        let whose = format!("{}/{}", self.names.namespace, self.names.cluster);
        let all_new = self
            .seen
            .pods
            .values()
            .all(|pod| pod.annotations().get(REVISION) == Some(&self.wanted.plan.revision));
        if all_new {
            self.shared.rolling.done(&whose);
        }
        // A pod that is deleted before the StatefulSet has the new settings comes back
        // with the old ones.
        let set = self
            .caches
            .stateful_sets
            .get(&self.names.namespace, &self.names.own());
        if set.as_deref().and_then(revision_of) != Some(&self.wanted.plan.revision) {
            return Ok(());
        }
        for ordinal in &plan.restart {
            let Some(pod) = self.seen.pods.get(ordinal) else {
                continue;
            };
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            if !self.shared.rolling.may(&whose) {
                tracing::info!("{whose} waits to be restarted until another cluster is done");
                return Ok(());
            }
            applier
                .delete(&self.caches.pods, pod.as_ref(), DeleteParams::default())
                .await?;
            self.shared
                .publisher
                .event(
                    self.cluster,
                    false,
                    "Restarting",
                    &format!("{} gets its new settings", self.names.pod(*ordinal)),
                )
                .await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
