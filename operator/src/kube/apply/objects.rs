//! The cluster's own objects: claims first, then what pods stand on, the StatefulSet,
//! and the rest.

use chord_planner::plan::{Plan, Stored};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{DeleteParams, PropagationPolicy};

use super::outcome::Outcome;
use super::{Error, claims};
use crate::crd::ChordCluster;
use crate::kube::api;
use crate::kube::api::cache::Watched;
use crate::kube::api::writer::{Writer, marker_of};
use crate::kube::build::claims::{steps, too_small};
use crate::kube::build::objects::{Objects, build};
use crate::kube::build::replicas::{proof_of, removed, replicas};
use crate::kube::build::shape::{Shape, may_be_unavailable};
use crate::kube::names::Names;
use crate::kube::observe::Observation;
use crate::kube::observe::stateful_set::{replicas_of, takes_claims, template_size};
use crate::kube::validate::Wanted;

/// What was brought about last. A round that finds the same again builds and
/// compares nothing: of a thousand clusters nearly all are idle.
#[derive(Default)]
pub struct BroughtAbout(Option<String>);

/// What the objects are made from.
pub struct Inputs<'a> {
    /// The resource.
    pub cluster: &'a ChordCluster,
    /// The names of its objects.
    pub names: &'a Names,
    /// What is wanted.
    pub wanted: &'a Wanted,
    /// What was seen.
    pub observation: &'a Observation,
    /// What is to be done.
    pub plan: &'a Plan,
    /// The StatefulSet, if there is one.
    pub set: Option<&'a StatefulSet>,
    /// The namespace that the operator runs in, where it is known.
    pub operator_namespace: Option<&'a str>,
}

/// What became of the growth of volumes.
struct Growth {
    /// Size in the StatefulSet's claim template, as it is written there.
    claim_size: String,
    /// Whether that is less than wanted: the template cannot be changed.
    outgrown: bool,
    /// Whether no claim is smaller than wanted.
    claims_are_large: bool,
}

impl Inputs<'_> {
    /// Brings the objects about. What fails is told, and keeps only that from being
    /// done which stands on it. `stored`: the view as it is stored by now.
    pub async fn bring_about(
        &self,
        writer: &mut Writer<'_>,
        brought_about: &mut BroughtAbout,
        stored: &Stored,
        outcome: &mut Outcome,
    ) {
        let pods = self.pods(writer, outcome).await;
        let pods = self.prove(writer, stored, pods, outcome).await;
        let growth = self.grow(writer, outcome).await;
        let allowed = self.plan.disruptions_allowed;
        let shape = Shape {
            replicas: pods,
            claim_size: growth.claim_size.clone(),
            may_be_unavailable: may_be_unavailable(allowed, pods, &self.observation.seen),
            operator_namespace: self.operator_namespace.map(str::to_string),
        };
        // What was brought about and has not been touched since is as it shall be.
        let mark = self.mark(writer, &shape);
        if brought_about.0.as_ref() == Some(&mark) && outcome.is_well() && !growth.outgrown {
            return;
        }
        brought_about.0 = None;
        let objects = build(self.cluster, self.wanted, &shape);
        self.apply(writer, objects, &growth, pods, outcome).await;
        if outcome.is_well() && !growth.outgrown {
            brought_about.0 = Some(self.mark(writer, &shape));
        }
    }

    /// How many pods there shall be: as many as there can be without a claim of
    /// somebody else.
    async fn pods(&self, writer: &Writer<'_>, outcome: &mut Outcome) -> u32 {
        let (seen, observed) = (&self.observation.seen, &self.observation.observed);
        let pods = replicas(self.plan, seen, observed);
        let have = self.set.map_or(0, replicas_of);
        let foreign = claims::foreign(writer, self.names, seen, have..pods);
        match outcome.note(foreign.await) {
            Some(None) => pods,
            Some(Some(ordinal)) => {
                outcome.note::<(), _>(Err(api::Error::NameConflict {
                    kind: "PersistentVolumeClaim".into(),
                    name: self.names.claim(ordinal),
                }));
                ordinal.0.max(seen.replicas)
            }
            None => pods.min(seen.replicas),
        }
    }

    /// Writes proofs on claims and deletes those that are proven; returns how many pods
    /// there shall be then: without the proof on its claim no pod goes.
    async fn prove(
        &self,
        writer: &Writer<'_>,
        stored: &Stored,
        pods: u32,
        outcome: &mut Outcome,
    ) -> u32 {
        let (seen, observed) = (&self.observation.seen, &self.observation.observed);
        let now = seen.replicas;
        let proof = removed(now, pods).and_then(|ordinal| proof_of(observed, ordinal));
        let steps = steps(
            seen,
            &self.plan.slots,
            stored,
            now,
            pods,
            proof.as_deref(),
            self.wanted.plan.delete_scaled_disks,
        );
        let carried_out = claims::carry_out(writer, self.names, seen, &steps).await;
        match outcome.note(carried_out) {
            Some(()) => pods,
            None => pods.max(now),
        }
    }

    /// Lets claims grow.
    async fn grow(&self, writer: &Writer<'_>, outcome: &mut Outcome) -> Growth {
        let (seen, capacity) = (&self.observation.seen, self.wanted.settings.capacity);
        // One that is being deleted says nothing of the one that comes after it.
        let standing = self.set.filter(|s| s.metadata.deletion_timestamp.is_none());
        let template = standing.and_then(template_size);
        let size = &self.cluster.spec.storage.size;
        let small = too_small(seen, capacity);
        let grown = claims::grow(writer, seen, &small, size).await;
        if let Some(condition) = outcome.note(grown).flatten() {
            outcome.add(condition);
        }
        Growth {
            outgrown: template
                .as_ref()
                .is_some_and(|(bytes, _)| *bytes < capacity),
            claim_size: template.map_or_else(|| size.0.clone(), |(_, text)| text),
            claims_are_large: small.is_empty(),
        }
    }

    /// Applies the objects, what the pods stand on first.
    async fn apply(
        &self,
        writer: &mut Writer<'_>,
        objects: Objects,
        growth: &Growth,
        pods: u32,
        outcome: &mut Outcome,
    ) {
        // Taken apart whole, so that a new one cannot be forgotten.
        let Objects {
            service_account,
            nodes_service,
            client_service,
            stateful_set,
            budget,
            network_policy,
        } = objects;
        let mut stands = true;
        if let Some(account) = service_account {
            stands &= outcome.note(writer.ensure(account).await).is_some();
        }
        stands &= outcome.note(writer.ensure(nodes_service).await).is_some();
        if stands && (self.set.is_some() || pods > 0) {
            // As it was read and no other: a write that was on its way for long must
            // not bring an earlier number of pods back.
            let made = writer.ensure_as_read(stateful_set).await;
            if let Some(live) = outcome.note(made)
                && growth.outgrown
                && growth.claims_are_large
                && outcome.is_well()
            {
                outcome.note(self.make_set_anew(writer, &live).await);
            }
        }
        // Nothing depends on the rest.
        outcome.note(writer.ensure(client_service).await);
        outcome.note(writer.ensure(budget).await);
        match network_policy {
            Some(policy) => {
                outcome.note(writer.ensure(policy).await);
            }
            None => {
                outcome.note(self.no_policy(writer).await);
            }
        }
    }

    /// Names everything that the objects are made from, and the objects as they are.
    fn mark(&self, writer: &Writer<'_>, shape: &Shape) -> String {
        fn live<K: Watched>(writer: &Writer<'_>, name: &str) -> Option<String> {
            writer
                .seen::<K>(name)
                .map(|object| marker_of(object.as_ref()))
        }
        let name = &self.names.cluster;
        let live = [
            live::<StatefulSet>(writer, name),
            live::<Service>(writer, name),
            live::<Service>(writer, &self.names.nodes_service()),
            live::<PodDisruptionBudget>(writer, name),
            live::<NetworkPolicy>(writer, name),
            live::<ServiceAccount>(writer, name),
        ];
        let generation = self.cluster.metadata.generation;
        format!(
            "{generation:?} {} {} {shape:?} {live:?}",
            self.wanted.plan.revision, self.wanted.image
        )
    }

    /// The claims have grown, and the template of the StatefulSet cannot: it goes
    /// without its pods, and the next round makes it anew around them.
    async fn make_set_anew(&self, writer: &Writer<'_>, set: &StatefulSet) -> Result<(), Error> {
        // A claim that belonged to it, by an older operator's will, would go with it.
        let tied = self.observation.seen.claims.values().any(|c| {
            c.owner_references()
                .iter()
                .any(|o| Some(&o.uid) == set.metadata.uid.as_ref())
        });
        if takes_claims(set) || tied {
            return Err(Error::SetOwnsClaims);
        }
        let orphan = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Orphan),
            ..Default::default()
        };
        writer.delete(set, orphan).await?;
        Err(Error::SetMadeAnew)
    }

    async fn no_policy(&self, writer: &Writer<'_>) -> Result<(), api::Error> {
        // Only what the watch shows is ours to take away.
        let name = &self.names.cluster;
        if writer.seen::<NetworkPolicy>(name).is_none() {
            return Ok(());
        }
        match writer.find::<NetworkPolicy>(name).await {
            Ok(Some(policy)) if policy.metadata.deletion_timestamp.is_none() => {
                let params = DeleteParams::default();
                writer.delete(policy.as_ref(), params).await
            }
            Ok(_) | Err(api::Error::NameConflict { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }
}
