//! What is counted and measured, in Prometheus' text format: the one registry of the
//! operator. Dashboards and alerts of the charts go by these names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder, prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::crd::ChordClusterStatus;

/// The media type of [`Metrics::text`].
pub use prometheus_text::CONTENT_TYPE;

/// Upper bounds of the buckets of a round's time, in seconds.
const ROUND_SECONDS: [f64; 8] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// What is counted and measured.
pub struct Metrics {
    registry: Registry,
    writes: Family<Write, Counter>,
    rounds: Family<Round, Counter>,
    round_seconds: Histogram,
    leader: Gauge,
    clusters: Arc<Clusters>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Write {
    kind: String,
    verb: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Round {
    result: &'static str,
}

impl Default for Metrics {
    /// With every metric registered.
    fn default() -> Metrics {
        let mut registry = Registry::default();
        let writes = Family::default();
        registry.register(
            "chord_operator_writes",
            "Writes to the API server",
            Clone::clone(&writes),
        );
        let rounds = Family::default();
        registry.register(
            "chord_operator_reconciles",
            "Rounds, by their result",
            Clone::clone(&rounds),
        );
        let round_seconds = Histogram::new(ROUND_SECONDS);
        registry.register(
            "chord_operator_reconcile_seconds",
            "Time spent in rounds",
            round_seconds.clone(),
        );
        let leader = Gauge::default();
        registry.register(
            "chord_operator_leader",
            "1 while this operator is the leader",
            leader.clone(),
        );
        let clusters = Arc::new(Clusters::default());
        registry.register_collector(Box::new(clusters.clone()));
        Metrics {
            registry,
            writes,
            rounds,
            round_seconds,
            leader,
            clusters,
        }
    }
}

impl Metrics {
    /// A write to the API server.
    pub fn api_write(&self, kind: &str, verb: &'static str) {
        let labels = Write {
            kind: kind.to_string(),
            verb,
        };
        self.writes.get_or_create(&labels).inc();
    }

    /// A round ended.
    pub fn round(&self, result: &'static str, took: Duration) {
        self.rounds.get_or_create(&Round { result }).inc();
        self.round_seconds.observe(took.as_secs_f64());
    }

    /// Whether this operator leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// A cluster is as its status says.
    pub fn cluster(&self, namespace: &str, name: &str, status: &ChordClusterStatus) {
        let key = (namespace.to_string(), name.to_string());
        let mut statuses = self.clusters.statuses.lock();
        if statuses.get(&key) != Some(status) {
            statuses.insert(key, status.clone());
        }
    }

    /// A cluster is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_string(), name.to_string());
        self.clusters.statuses.lock().remove(&key);
    }

    /// This operator no longer works: another one tells of the clusters.
    pub fn forget_all(&self) {
        self.clusters.statuses.lock().clear();
    }

    /// All of it, as text of the type [`CONTENT_TYPE`].
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The statuses of the clusters, by namespace and name: the figures of a cluster are
/// read from its status when they are asked for, so that nothing is left of a cluster
/// that is gone, or of a phase that has passed.
#[derive(Debug, Default)]
struct Clusters {
    /// parking_lot's mutex, and not tokio's: nothing is awaited while it is held.
    statuses: Mutex<BTreeMap<(String, String), ChordClusterStatus>>,
}

/// A figure of a cluster: at most one label of its own, and the value.
type Figure = (Option<(&'static str, String)>, f64);

/// How figures are read from a status.
type Read = fn(&ChordClusterStatus) -> Vec<Figure>;

/// The figures of a cluster: name, help, and how they are read from its status.
const FIGURES: [(&str, &str, Read); 7] = [
    (
        "chord_cluster_nodes",
        "Nodes of a cluster: members, ready, desired.",
        |status| {
            vec![
                labelled("state", "member", status.nodes),
                labelled("state", "ready", status.ready_nodes),
                labelled("state", "desired", status.desired_nodes),
            ]
        },
    ),
    (
        "chord_cluster_epoch",
        "Number of the view in force.",
        |status| {
            let view = status.view.iter();
            view.map(|view| (None, view.epoch as f64)).collect()
        },
    ),
    (
        "chord_cluster_used_percent",
        "Disk space used: by all members, by the fullest.",
        |status| {
            vec![
                labelled("of", "all", status.storage.used_percent),
                labelled("of", "fullest", status.storage.fullest_percent),
            ]
        },
    ),
    ("chord_cluster_files", "Files, rounded.", |status| {
        vec![(None, status.storage.files as f64)]
    }),
    (
        "chord_cluster_condition",
        "1 while a condition is true.",
        |status| {
            let conditions = status.conditions.iter();
            conditions
                .map(|c| labelled("type", &c.type_, u8::from(c.status == "True")))
                .collect()
        },
    ),
    (
        "chord_cluster_phase",
        "1 for the phase that a cluster is in.",
        |status| vec![labelled("phase", &status.phase, 1u8)],
    ),
    (
        "chord_cluster_scaling",
        "1 for the autoscaler's decision.",
        |status| {
            let scaling = status.autoscaling.iter();
            scaling
                .map(|a| labelled("decision", &a.decision, 1u8))
                .collect()
        },
    ),
];

fn labelled(label: &'static str, value: &str, figure: impl Into<f64>) -> Figure {
    (Some((label, value.to_string())), figure.into())
}

/// The labels of a cluster's figure.
struct Labels<'a> {
    cluster: &'a (String, String),
    own: &'a Option<(&'static str, String)>,
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), fmt::Error> {
        let (namespace, name) = self.cluster;
        let cluster = [("namespace", namespace.as_str()), ("name", name.as_str())];
        let own = self
            .own
            .iter()
            .map(|(label, value)| (*label, value.as_str()));
        let labels: Vec<(&str, &str)> = cluster.into_iter().chain(own).collect();
        labels.as_slice().encode(encoder)
    }
}

impl Collector for Clusters {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let statuses = self.statuses.lock();
        for (metric, help, figures) in FIGURES {
            let of_cluster = |(cluster, status)| (cluster, figures(status));
            let figures: Vec<(&(String, String), Vec<Figure>)> =
                statuses.iter().map(of_cluster).collect();
            // A description without a figure says nothing.
            if figures.iter().all(|(_, figures)| figures.is_empty()) {
                continue;
            }
            let mut metric = encoder.encode_descriptor(metric, help, None, MetricType::Gauge)?;
            for (cluster, own, value) in figures
                .iter()
                .flat_map(|(cluster, figures)| figures.iter().map(move |(l, v)| (*cluster, l, v)))
            {
                let labels = Labels { cluster, own };
                ConstGauge::new(*value).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

    use super::*;
    use crate::crd::status::{StorageStatus, ViewStatus, time};

    #[test]
    fn figures_are_counted_and_a_cluster_that_is_gone_is_forgotten() {
        let metrics = Metrics::default();
        metrics.api_write("Service", "apply");
        metrics.api_write("Service", "apply");
        let status = ChordClusterStatus {
            nodes: 3,
            phase: "Ready".into(),
            ..Default::default()
        };
        metrics.cluster("data", "files", &status);
        metrics.cluster(
            "data",
            "files",
            &ChordClusterStatus {
                phase: "Degraded".into(),
                ..status
            },
        );
        let text = metrics.text().unwrap();
        assert!(
            text.contains("chord_operator_writes_total{kind=\"Service\",verb=\"apply\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "chord_cluster_nodes{namespace=\"data\",name=\"files\",state=\"member\"} 3"
            )
        );
        assert!(
            text.contains("phase=\"Degraded\"") && !text.contains("phase=\"Ready\""),
            "one phase at a time"
        );
        metrics.forget("data", "files");
        assert!(!metrics.text().unwrap().contains("files"));
    }

    /// Everything that charts, alerts and people go by.
    #[test]
    fn names_labels_and_types_are_as_agreed() {
        let metrics = Metrics::default();
        metrics.api_write("Service", "apply");
        metrics.round("ok", Duration::from_millis(20));
        metrics.leads(true);
        let status = ChordClusterStatus {
            phase: "Ready".into(),
            view: Some(ViewStatus {
                epoch: 7,
                tables: "Stable".into(),
            }),
            storage: StorageStatus {
                used_percent: 12,
                fullest_percent: 20,
                files: 1_000,
                ..Default::default()
            },
            autoscaling: Some(crate::crd::status::AutoscalingStatus {
                decision: "Hold".into(),
                reason: String::new(),
                at: time(chord_planner::plan::Millis(0)),
                blocked_by: None,
            }),
            conditions: vec![Condition {
                type_: "Ready".into(),
                status: "True".into(),
                reason: "Quorum".into(),
                message: String::new(),
                observed_generation: None,
                last_transition_time: time(chord_planner::plan::Millis(0)),
            }],
            ..Default::default()
        };
        metrics.cluster("data", "fi\"les", &status);
        let text = metrics.text().unwrap();
        for line in [
            "# TYPE chord_operator_writes_total counter",
            "# TYPE chord_operator_reconciles_total counter",
            "chord_operator_reconciles_total{result=\"ok\"} 1",
            "chord_operator_reconcile_seconds_sum 0.02",
            "chord_operator_reconcile_seconds_count 1",
            "# TYPE chord_operator_leader gauge",
            "chord_operator_leader 1",
            "# TYPE chord_cluster_nodes gauge",
            "chord_cluster_epoch{namespace=\"data\",name=\"fi\\\"les\"} 7.0",
            "chord_cluster_used_percent{namespace=\"data\",name=\"fi\\\"les\",of=\"fullest\"} 20.0",
            "chord_cluster_files{namespace=\"data\",name=\"fi\\\"les\"} 1000.0",
            "chord_cluster_condition{namespace=\"data\",name=\"fi\\\"les\",type=\"Ready\"} 1.0",
            "chord_cluster_phase{namespace=\"data\",name=\"fi\\\"les\",phase=\"Ready\"} 1.0",
            "chord_cluster_scaling{namespace=\"data\",name=\"fi\\\"les\",decision=\"Hold\"} 1.0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
