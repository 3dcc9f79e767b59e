//! The last step of a round: status and events.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use super::error::Error;
use super::metrics::Metrics;
use super::names::{MANAGER, selector_text};
use crate::crd::status::{ConditionNow, Context};
use crate::crd::{ChordCluster, ChordClusterStatus};
use crate::plan;

/// How often figures alone may be written.
const FIGURES_EVERY: Duration = Duration::from_secs(30);
/// The longest note of an event, as the API has it.
const NOTE: usize = 1000;

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

    /// Tells of something that happened. An event that cannot be told stops nothing.
    pub async fn event(&self, cluster: &ChordCluster, warning: bool, reason: &str, message: &str) {
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
        if let Err(e) = self
            .recorder
            .publish(&event, &cluster.object_ref(&()))
            .await
        {
            tracing::warn!(
                "event {reason} of {} cannot be told: {e}",
                cluster.name_any()
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

/// The status where there is no plan: as it was, with what is wrong added.
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
    status.conditions = before
        .iter()
        .filter(|c| c.type_ != trouble.kind)
        .cloned()
        .collect();
    status.conditions.extend(crate::crd::status::stamp(
        &[trouble],
        &before,
        generation,
        now,
    ));
    status.observed_generation = generation;
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::parse_manifest;

    fn cluster() -> ChordCluster {
        parse_manifest("{apiVersion: chord.storage/v1alpha1, kind: ChordCluster, metadata: {name: files, generation: 4}, spec: {}}")
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
    fn trouble_leaves_the_rest_of_the_status_as_it_was() {
        let previous = ChordClusterStatus {
            phase: "Ready".into(),
            nodes: 3,
            ..Default::default()
        };
        let status = troubled(&cluster(), trouble(), Some(&previous), plan::Millis(5_000));
        assert_eq!(
            (
                status.phase.as_str(),
                status.nodes,
                status.observed_generation
            ),
            ("Ready", 3, 4)
        );
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
