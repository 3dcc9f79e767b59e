//! The last step of a round: status and events.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use crate::crd::status::{ConditionNow, Context, stamp, time};
use crate::crd::{ChordCluster, ChordClusterStatus};
use crate::kube::error::Error;
use crate::kube::names::{MANAGER, selector_text};
use crate::metrics::Metrics;
use chord_planner::plan;

/// How often figures alone may be written.
const FIGURES_EVERY: Duration = Duration::from_secs(30);
/// The longest note of an event, as the API has it.
const NOTE: usize = 1000;

/// Conditions that make a warning when they come.
const FAULTS: [&str; 3] = ["NameConflict", "InvalidSpec", "ApplyFailed"];

/// What was published last.
#[derive(Default)]
pub struct Published {
    status: Option<ChordClusterStatus>,
    at: Option<Instant>,
}

impl Published {
    /// The status that is there now, as far as is known.
    pub fn last<'a>(&'a self, cluster: &'a ChordCluster) -> Option<&'a ChordClusterStatus> {
        self.status.as_ref().or(cluster.status.as_ref())
    }

    /// Whether this status is to be written now.
    fn due(&self, cluster: &ChordCluster, status: &ChordClusterStatus) -> bool {
        match self.last(cluster) {
            None => true,
            Some(last) if last == status => false,
            Some(last) if last.differs_only_in_figures(status) => {
                self.at.is_none_or(|at| at.elapsed() >= FIGURES_EVERY)
            }
            Some(_) => true,
        }
    }
}

/// Publishes what became of a cluster.
pub struct Publisher {
    client: Client,
    recorder: Recorder,
}

impl Publisher {
    /// With the one recorder that all clusters share; `instance`: this operator's pod.
    pub fn new(client: Client, instance: Option<String>) -> Publisher {
        let recorder = Recorder::new(
            client.clone(),
            Reporter {
                controller: MANAGER.into(),
                instance,
            },
        );
        Publisher { client, recorder }
    }

    /// Writes the status, when it differs and is due.
    pub async fn status(
        &self,
        metrics: &Metrics,
        cluster: &ChordCluster,
        published: &mut Published,
        status: ChordClusterStatus,
    ) -> Result<(), Error> {
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        metrics.cluster(&namespace, &name, &status);
        if !published.due(cluster, &status) {
            return Ok(());
        }
        let api: Api<ChordCluster> = Api::namespaced(self.client.clone(), &namespace);
        let patch = json!({
            "apiVersion": ChordCluster::api_version(&()),
            "kind": ChordCluster::kind(&()),
            "metadata": {"name": name, "uid": cluster.uid()},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        api.patch_status(&name, &params, &Patch::Apply(patch))
            .await
            .map_err(Error::api(format!("writing the status of {name}")))?;
        metrics.write("ChordCluster", "status");
        published.status = Some(status);
        published.at = Some(Instant::now());
        Ok(())
    }

    /// Makes a warning of a fault that was not there before.
    pub async fn announce(
        &self,
        cluster: &ChordCluster,
        previous: Option<&ChordClusterStatus>,
        trouble: &ConditionNow,
    ) {
        let known = previous
            .iter()
            .flat_map(|s| &s.conditions)
            .any(|c| c.type_ == trouble.kind && c.status == "True" && c.message == trouble.message);
        if !known && FAULTS.contains(&trouble.kind.as_str()) {
            tracing::warn!("{}: {}", cluster.name_any(), trouble.message);
            self.event(cluster, true, &trouble.reason, &trouble.message)
                .await;
        }
    }

    /// Tells of something that happened. An event that cannot be told stops nothing.
    pub async fn event(&self, cluster: &ChordCluster, warning: bool, reason: &str, message: &str) {
        self.event_of(&cluster.object_ref(&()), warning, reason, message)
            .await;
    }

    /// The same of an object that may not be readable.
    pub async fn event_of(
        &self,
        about: &ObjectReference,
        warning: bool,
        reason: &str,
        message: &str,
    ) {
        let event = Event {
            type_: if warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: reason.to_string(),
            note: Some(message.chars().take(NOTE).collect()),
            action: "Reconcile".into(),
            secondary: None,
        };
        if let Err(e) = self.recorder.publish(&event, about).await {
            tracing::warn!(
                "event {reason} of {} cannot be told: {e}",
                about.name.as_deref().unwrap_or_default()
            );
        }
    }
}

/// The status for a plan.
pub fn planned(
    cluster: &ChordCluster,
    status: &plan::Status,
    extra: &[ConditionNow],
    previous: Option<&ChordClusterStatus>,
    now: plan::Millis,
) -> ChordClusterStatus {
    let name = cluster.name_any();
    let context = Context {
        name: &name,
        generation: cluster.metadata.generation.unwrap_or(0),
        selector: selector_text(&name),
        extra,
        previous,
        now,
    };
    ChordClusterStatus::build(status, &context)
}

/// The status where there is no plan: the figures as they were, with what is wrong
/// added. Whether the cluster still works is not known.
pub fn troubled(
    cluster: &ChordCluster,
    trouble: ConditionNow,
    previous: Option<&ChordClusterStatus>,
    now: plan::Millis,
) -> ChordClusterStatus {
    let generation = cluster.metadata.generation.unwrap_or(0);
    let mut status = previous.cloned().unwrap_or_else(|| ChordClusterStatus {
        phase: "Pending".into(),
        selector: selector_text(&cluster.name_any()),
        ..Default::default()
    });
    let before = std::mem::take(&mut status.conditions);
    let mut wrong = vec![trouble.clone()];
    if status.phase != "Pending" {
        status.phase = "Degraded".into();
        wrong.push(ConditionNow {
            kind: "Degraded".into(),
            ..trouble.clone()
        });
    }
    let rest = before
        .iter()
        .filter(|c| wrong.iter().all(|w| w.kind != c.type_))
        .cloned();
    status.conditions = rest
        .map(|c| match (c.type_.as_str(), c.status.as_str()) {
            ("Ready", "True") => Condition {
                status: "Unknown".into(),
                reason: trouble.reason.clone(),
                message: "the operator does not look after the cluster at present".into(),
                observed_generation: Some(generation),
                last_transition_time: time(now),
                ..c
            },
            _ => c,
        })
        .collect();
    status
        .conditions
        .extend(stamp(&wrong, &before, generation, now));
    status.observed_generation = generation;
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::parse_cluster_manifest;

    fn cluster() -> ChordCluster {
        parse_cluster_manifest("{apiVersion: chord.storage/v1alpha1, kind: ChordCluster, metadata: {name: files, generation: 4}, spec: {}}")
            .unwrap()
    }

    fn trouble() -> ConditionNow {
        ConditionNow {
            kind: "InvalidSpec".into(),
            status: true,
            reason: "InvalidSpec".into(),
            message: "spec.nodes: is 0".into(),
        }
    }

    #[test]
    fn trouble_leaves_the_figures_and_no_word_that_all_is_well() {
        let ready = ConditionNow {
            kind: "Ready".into(),
            status: true,
            reason: "Quorum".into(),
            message: String::new(),
        };
        let previous = ChordClusterStatus {
            phase: "Ready".into(),
            nodes: 3,
            conditions: stamp(&[ready], &[], 3, plan::Millis(1_000)),
            ..Default::default()
        };
        let status = troubled(&cluster(), trouble(), Some(&previous), plan::Millis(5_000));
        assert_eq!(
            (
                status.phase.as_str(),
                status.nodes,
                status.observed_generation
            ),
            ("Degraded", 3, 4)
        );
        let says = |kind: &str| {
            let found = status.conditions.iter().find(|c| c.type_ == kind);
            found.map(|c| c.status.as_str())
        };
        assert_eq!(says("Ready"), Some("Unknown"));
        assert_eq!(says("Degraded"), Some("True"));
        assert_eq!(says("InvalidSpec"), Some("True"));
        let again = troubled(&cluster(), trouble(), Some(&status), plan::Millis(9_000));
        assert_eq!(status, again, "the same trouble is no news");
        assert_eq!(
            troubled(&cluster(), trouble(), None, plan::Millis(0)).phase,
            "Pending"
        );
    }

    #[test]
    fn figures_wait_and_the_rest_does_not() {
        let mut cluster = cluster();
        let ready = ChordClusterStatus {
            phase: "Ready".into(),
            ..Default::default()
        };
        let mut fuller = ready.clone();
        fuller.storage.used_percent = 50;
        let degraded = ChordClusterStatus {
            phase: "Degraded".into(),
            ..Default::default()
        };
        let mut published = Published::default();
        assert!(published.due(&cluster, &ready), "the first");
        cluster.status = Some(ready.clone());
        assert!(
            !published.due(&cluster, &ready),
            "no news, though this operator has just started"
        );
        published = Published {
            status: Some(ready.clone()),
            at: Some(Instant::now()),
        };
        assert!(!published.due(&cluster, &ready));
        assert!(!published.due(&cluster, &fuller));
        assert!(published.due(&cluster, &degraded));
    }
}
