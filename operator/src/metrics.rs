//! Figures in Prometheus' text format.
//!
//! A handful of counters and gauges, written by hand: a line is its own key, so
//! there is nothing to register.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::crd::ChordClusterStatus;

/// Every metric: name, type, help.
const METRICS: [(&str, &str, &str); 12] = [
    (
        "chord_operator_writes_total",
        "counter",
        "Writes to the API server.",
    ),
    (
        "chord_operator_reconciles_total",
        "counter",
        "Rounds, by their result.",
    ),
    (
        "chord_operator_reconcile_seconds_sum",
        "counter",
        "Time spent in rounds.",
    ),
    (
        "chord_operator_reconcile_seconds_count",
        "counter",
        "Rounds that were timed.",
    ),
    (
        "chord_operator_leader",
        "gauge",
        "1 while this operator is the leader.",
    ),
    (
        "chord_cluster_nodes",
        "gauge",
        "Nodes of a cluster: members, ready, desired.",
    ),
    (
        "chord_cluster_epoch",
        "gauge",
        "Number of the view in force.",
    ),
    (
        "chord_cluster_used_percent",
        "gauge",
        "Disk space used: by all members, by the fullest.",
    ),
    ("chord_cluster_files", "gauge", "Files, rounded."),
    (
        "chord_cluster_condition",
        "gauge",
        "1 while a condition is true.",
    ),
    (
        "chord_cluster_phase",
        "gauge",
        "1 for the phase that a cluster is in.",
    ),
    (
        "chord_cluster_scaling",
        "gauge",
        "1 for the autoscaler's decision.",
    ),
];

/// The figures.
#[derive(Default)]
pub struct Metrics {
    values: Mutex<BTreeMap<String, f64>>,
    clusters: Mutex<BTreeMap<(String, String), ChordClusterStatus>>,
}

fn label(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', " ")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// A write to the API server.
    pub fn write(&self, kind: &str, verb: &str) {
        let key = format!(
            "chord_operator_writes_total{{kind=\"{}\",verb=\"{}\"}}",
            label(kind),
            label(verb)
        );
        *lock(&self.values).entry(key).or_default() += 1.0;
    }

    /// A round ended.
    pub fn round(&self, result: &str, seconds: f64) {
        let key = format!(
            "chord_operator_reconciles_total{{result=\"{}\"}}",
            label(result)
        );
        let mut values = lock(&self.values);
        *values.entry(key).or_default() += 1.0;
        *values
            .entry("chord_operator_reconcile_seconds_sum".into())
            .or_default() += seconds;
        *values
            .entry("chord_operator_reconcile_seconds_count".into())
            .or_default() += 1.0;
    }

    /// Whether this operator leads.
    pub fn leader(&self, leads: bool) {
        lock(&self.values).insert("chord_operator_leader".into(), f64::from(u8::from(leads)));
    }

    /// A cluster is as its status says.
    pub fn cluster(&self, namespace: &str, name: &str, status: &ChordClusterStatus) {
        let key = (namespace.to_string(), name.to_string());
        let mut clusters = lock(&self.clusters);
        if clusters.get(&key) != Some(status) {
            clusters.insert(key, status.clone());
        }
    }

    /// A cluster is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        lock(&self.clusters).remove(&(namespace.to_string(), name.to_string()));
    }

    /// This operator no longer works: another one tells of the clusters.
    pub fn forget_all(&self) {
        lock(&self.clusters).clear();
    }

    /// All of it, as text.
    pub fn text(&self) -> String {
        let mut values = lock(&self.values).clone();
        for ((namespace, name), status) in lock(&self.clusters).iter() {
            add_cluster(&mut values, namespace, name, status);
        }
        let mut text = String::new();
        for (name, kind, help) in METRICS {
            let lines = values.iter().filter(|(key, _)| {
                key.strip_prefix(name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
            });
            for (i, (key, value)) in lines.enumerate() {
                if i == 0 {
                    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
                }
                let _ = writeln!(text, "{key} {value}");
            }
        }
        text
    }
}

fn add_cluster(
    values: &mut BTreeMap<String, f64>,
    namespace: &str,
    name: &str,
    status: &ChordClusterStatus,
) {
    let who = format!(
        "namespace=\"{}\",name=\"{}\"",
        label(namespace),
        label(name)
    );
    let mut set = |metric: &str, more: &str, value: f64| {
        let more = if more.is_empty() {
            String::new()
        } else {
            format!(",{more}")
        };
        values.insert(format!("{metric}{{{who}{more}}}"), value);
    };
    set(
        "chord_cluster_nodes",
        "state=\"member\"",
        f64::from(status.nodes),
    );
    set(
        "chord_cluster_nodes",
        "state=\"ready\"",
        f64::from(status.ready_nodes),
    );
    set(
        "chord_cluster_nodes",
        "state=\"desired\"",
        f64::from(status.desired_nodes),
    );
    set(
        "chord_cluster_used_percent",
        "of=\"all\"",
        f64::from(status.storage.used_percent),
    );
    set(
        "chord_cluster_used_percent",
        "of=\"fullest\"",
        f64::from(status.storage.fullest_percent),
    );
    set("chord_cluster_files", "", status.storage.files as f64);
    set(
        "chord_cluster_phase",
        &format!("phase=\"{}\"", label(&status.phase)),
        1.0,
    );
    if let Some(view) = &status.view {
        set("chord_cluster_epoch", "", view.epoch as f64);
    }
    if let Some(a) = &status.autoscaling {
        set(
            "chord_cluster_scaling",
            &format!("decision=\"{}\"", label(&a.decision)),
            1.0,
        );
    }
    for c in &status.conditions {
        let on = f64::from(u8::from(c.status == "True"));
        set(
            "chord_cluster_condition",
            &format!("type=\"{}\"", label(&c.type_)),
            on,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_counted_and_a_cluster_that_is_gone_is_forgotten() {
        let metrics = Metrics::default();
        metrics.write("Service", "apply");
        metrics.write("Service", "apply");
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
        let text = metrics.text();
        assert!(
            text.contains("chord_operator_writes_total{kind=\"Service\",verb=\"apply\"} 2\n"),
            "{text}"
        );
        assert!(text.contains(
            "chord_cluster_nodes{namespace=\"data\",name=\"files\",state=\"member\"} 3\n"
        ));
        assert!(
            text.contains("phase=\"Degraded\"") && !text.contains("phase=\"Ready\""),
            "one phase at a time"
        );
        metrics.forget("data", "files");
        assert!(!metrics.text().contains("files"));
    }
}
