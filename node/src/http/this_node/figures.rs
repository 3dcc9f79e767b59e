//! What this node measures of itself, read from its report and its workers whenever
//! somebody asks for the metrics.

use std::fmt;
use std::sync::Arc;

use chord_api::status::WorkerStatus;
use chord_types::report::NodeReport;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::notes::Progress;
use crate::report::Reporter;

/// Reads the figures.
pub struct Figures {
    pub reporter: Arc<Reporter>,
    pub progress: Arc<Progress>,
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

/// The name of a figure, its help, and how it is read.
type Figure<T> = (&'static str, &'static str, fn(&T) -> u64);

/// The figures of a report.
const GAUGES: [Figure<NodeReport>; 12] = [
    (
        "chord_view_epoch",
        "Epoch of the view that this node holds.",
        |report| report.view.map_or(0, |view| view.epoch.0),
    ),
    (
        "chord_member",
        "Whether this node is a member of its view.",
        |report| report.ready.into(),
    ),
    (
        "chord_disk_capacity_bytes",
        "Bytes that this node may use.",
        |report| report.space.capacity,
    ),
    (
        "chord_disk_used_bytes",
        "Bytes allocated by this node's files.",
        |report| report.space.used,
    ),
    (
        "chord_disk_available_bytes",
        "Bytes that clients may still write.",
        |report| report.space.available,
    ),
    (
        "chord_files_primary",
        "Files of which this node is the primary.",
        |report| report.files,
    ),
    (
        "chord_registers",
        "Registers that this node votes with.",
        |report| report.inventory.registers,
    ),
    (
        "chord_hints",
        "Registers left over from other ranges.",
        |report| report.inventory.hints,
    ),
    ("chord_chunks", "Chunks on this disk.", |report| {
        report.inventory.chunks
    }),
    (
        "chord_dropped_files",
        "Files dropped here and not taken over yet.",
        |report| report.inventory.dropped,
    ),
    (
        "chord_copies_missing",
        "Copies known to be missing.",
        |report| report.copies.missing,
    ),
    (
        "chord_sync_pending",
        "Registers and chunks that a change of view still moves.",
        |report| report.sync.pending,
    ),
];

/// The figures of each worker; the crate puts `_total` behind the name of a counter.
const COUNTERS: [Figure<WorkerStatus>; 3] = [
    ("chord_worker_rounds", "Rounds of a worker.", |worker| {
        worker.rounds
    }),
    ("chord_worker_done", "Things that a worker did.", |worker| {
        worker.done
    }),
    ("chord_worker_errors", "Errors of a worker.", |worker| {
        worker.errors
    }),
];

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode(encoder, &self.reporter.report(), &self.progress.states())
    }
}

fn encode(
    mut encoder: DescriptorEncoder<'_>,
    report: &NodeReport,
    workers: &[WorkerStatus],
) -> fmt::Result {
    for (name, help, read) in GAUGES {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(read(report)).encode(metric)?;
    }
    for (name, help, read) in COUNTERS {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for worker in workers {
            let labels = [("worker", worker.name.as_str())];
            ConstCounter::new(read(worker)).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_text;
    use prometheus_client::registry::Registry;

    use crate::http::this_node::ThisNode;
    use crate::node::testing::Nodes;

    /// Dashboards and alerts depend on these names, types and help texts. The families of
    /// the client port are in the test of that port.
    const FAMILIES: [(&str, &str, &str); 16] = [
        (
            "chord_view_epoch",
            "gauge",
            "Epoch of the view that this node holds.",
        ),
        (
            "chord_member",
            "gauge",
            "Whether this node is a member of its view.",
        ),
        (
            "chord_disk_capacity_bytes",
            "gauge",
            "Bytes that this node may use.",
        ),
        (
            "chord_disk_used_bytes",
            "gauge",
            "Bytes allocated by this node's files.",
        ),
        (
            "chord_disk_available_bytes",
            "gauge",
            "Bytes that clients may still write.",
        ),
        (
            "chord_files_primary",
            "gauge",
            "Files of which this node is the primary.",
        ),
        (
            "chord_registers",
            "gauge",
            "Registers that this node votes with.",
        ),
        (
            "chord_hints",
            "gauge",
            "Registers left over from other ranges.",
        ),
        ("chord_chunks", "gauge", "Chunks on this disk."),
        (
            "chord_dropped_files",
            "gauge",
            "Files dropped here and not taken over yet.",
        ),
        (
            "chord_copies_missing",
            "gauge",
            "Copies known to be missing.",
        ),
        (
            "chord_sync_pending",
            "gauge",
            "Registers and chunks that a change of view still moves.",
        ),
        (
            "chord_worker_rounds_total",
            "counter",
            "Rounds of a worker.",
        ),
        (
            "chord_worker_done_total",
            "counter",
            "Things that a worker did.",
        ),
        (
            "chord_worker_errors_total",
            "counter",
            "Errors of a worker.",
        ),
        (
            "chord_ring_refused_total",
            "counter",
            "Exchanges of the ring that were refused, and (unknown_peer) peers taken out of their lists.",
        ),
    ];

    #[tokio::test]
    async fn names_types_and_help_are_as_agreed_and_figures_are_those_of_the_report() {
        let cluster = Nodes::start(1).await;
        let node = &cluster.nodes[0];
        let mut registry = Registry::default();
        node.itself.add_metrics(&mut registry);
        let encode = || {
            let mut text = String::new();
            prometheus_text::encode(&mut text, &registry).unwrap();
            text
        };
        let text = encode();
        let mut found: Vec<&str> = text.lines().filter(|l| l.starts_with('#')).collect();
        let mut agreed: Vec<String> = FAMILIES
            .iter()
            .flat_map(|(name, kind, help)| {
                [
                    format!("# HELP {name} {help}"),
                    format!("# TYPE {name} {kind}"),
                ]
            })
            .collect();
        found.sort();
        agreed.sort();
        assert_eq!(found, agreed);
        assert!(text.contains("\nchord_member 0\n"), "{text}");

        cluster.form(1).await;
        cluster.drop_on(0, "a", b"x").await.unwrap();
        node.itself.progress.count("scrub", 7, 2);
        let text = encode();
        for line in [
            "chord_view_epoch 1",
            "chord_member 1",
            "chord_disk_capacity_bytes 268435456",
            "chord_dropped_files 1",
            "chord_worker_rounds_total{worker=\"scrub\"} 1",
            "chord_worker_done_total{worker=\"scrub\"} 7",
            "chord_worker_errors_total{worker=\"scrub\"} 2",
            "chord_ring_refused_total{reason=\"stranger\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
