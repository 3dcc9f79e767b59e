//! Writing a status where that is due, and events.

use std::sync::Arc;
use std::time::Duration;

use chord_planner::plan;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use crate::clock::Clock;
use crate::crd::status::ConditionNow;
use crate::crd::{ChordCluster, ChordClusterStatus};
use crate::kube::api::{self, Cause};
use crate::kube::failure::Kind;
use crate::kube::names::MANAGER;
use crate::metrics::Metrics;
use chord_api::causes;

/// How often figures alone may be written.
const FIGURES_EVERY: Duration = Duration::from_secs(30);
/// The longest note of an event, as the API has it.
const NOTE: usize = 1000;

/// Conditions that make a warning when they come.
const FAULTS: [&str; 3] = ["NameConflict", "InvalidSpec", "ApplyFailed"];

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not take it.
    #[error(transparent)]
    Api(#[from] api::Error),
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Api(e) => e.kind(),
        }
    }
}

/// What was published last.
#[derive(Default)]
pub struct Published {
    status: Option<ChordClusterStatus>,
    /// The uptime at which it was written.
    at: Option<Duration>,
}

impl Published {
    /// The status that is there now, as far as is known.
    pub fn last<'a>(&'a self, cluster: &'a ChordCluster) -> Option<&'a ChordClusterStatus> {
        self.status.as_ref().or(cluster.status.as_ref())
    }

    /// Nodes that the status speaks of.
    pub fn nodes(&self, cluster: &ChordCluster) -> u32 {
        let last = self.last(cluster);
        last.map_or(0, |s| s.nodes.max(s.desired_nodes))
    }

    /// Whether this status is to be written now.
    fn due(&self, cluster: &ChordCluster, status: &ChordClusterStatus, clock: &Clock) -> bool {
        match self.last(cluster) {
            None => true,
            Some(last) if last == status => false,
            Some(last) if last.differs_only_in_figures(status) => {
                self.at.is_none_or(|at| clock.since(at) >= FIGURES_EVERY)
            }
            Some(_) => true,
        }
    }
}

/// Publishes what became of a cluster.
pub struct Publisher {
    client: Client,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Publisher {
    /// With the one recorder that all clusters share; `instance`: this operator's pod.
    pub fn new(
        client: Client,
        instance: Option<String>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Publisher {
        let recorder = Recorder::new(
            client.clone(),
            Reporter {
                controller: MANAGER.into(),
                instance,
            },
        );
        Publisher {
            client,
            recorder,
            metrics,
            clock,
        }
    }

    /// Writes the status, when it differs and is due.
    pub async fn status(
        &self,
        cluster: &ChordCluster,
        published: &mut Published,
        status: ChordClusterStatus,
    ) -> Result<(), Error> {
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        self.metrics.cluster(&namespace, &name, &status);
        if !published.due(cluster, &status, &self.clock) {
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
            .map_err(api::Error::request(format!("writing the status of {name}")))?;
        self.metrics.api_write("ChordCluster", "status");
        published.status = Some(status);
        published.at = Some(self.clock.uptime());
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

    /// Records the events of a plan.
    pub async fn events(&self, cluster: &ChordCluster, events: &[plan::Event]) {
        for event in events {
            self.event(cluster, event.warning, event.reason, &event.message)
                .await;
        }
    }

    /// Records something that happened. An event that cannot be recorded stops nothing.
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
            let name = about.name.as_deref().unwrap_or_default();
            let why = causes::words(&Cause::from(e));
            tracing::warn!("recording the event {reason} of {name}: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::parse_cluster_manifest;

    fn cluster() -> ChordCluster {
        parse_cluster_manifest("{apiVersion: chord.storage/v1alpha1, kind: ChordCluster, metadata: {name: files, generation: 4}, spec: {}}")
            .unwrap()
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
        let clock = Clock::by_hand();
        let due = |published: &Published, cluster: &ChordCluster, status: &ChordClusterStatus| {
            published.due(cluster, status, &clock)
        };
        let mut published = Published::default();
        assert!(due(&published, &cluster, &ready), "the first");
        cluster.status = Some(ready.clone());
        assert!(
            !due(&published, &cluster, &ready),
            "no news, though this operator has just started"
        );
        published = Published {
            status: Some(ready.clone()),
            at: Some(clock.uptime()),
        };
        assert!(!due(&published, &cluster, &ready));
        assert!(!due(&published, &cluster, &fuller));
        assert!(due(&published, &cluster, &degraded));
        clock.forward(FIGURES_EVERY);
        assert!(due(&published, &cluster, &fuller));
    }
}
