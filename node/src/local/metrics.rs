//! Metrics of this node, in Prometheus' text format.

use std::fmt::Write;

use chord_api::status::WorkerStatus;
use chord_types::report::NodeReport;

/// A report and the workers' states as metrics.
pub fn render(report: &NodeReport, workers: &[WorkerStatus]) -> String {
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, value: f64| {
        let _ = writeln!(
            out,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
        );
    };
    gauge(
        "chord_view_epoch",
        "Epoch of the view that this node holds.",
        report.view.map_or(0.0, |v| v.epoch.0 as f64),
    );
    gauge(
        "chord_member",
        "Whether this node is a member of its view.",
        f64::from(u8::from(report.ready)),
    );
    gauge(
        "chord_disk_capacity_bytes",
        "Bytes that this node may use.",
        report.space.capacity as f64,
    );
    gauge(
        "chord_disk_used_bytes",
        "Bytes allocated by this node's files.",
        report.space.used as f64,
    );
    gauge(
        "chord_disk_available_bytes",
        "Bytes that clients may still write.",
        report.space.available as f64,
    );
    gauge(
        "chord_files_primary",
        "Files of which this node is the primary.",
        report.files as f64,
    );
    gauge(
        "chord_registers",
        "Registers that this node votes with.",
        report.inventory.registers as f64,
    );
    gauge(
        "chord_hints",
        "Registers left over from other ranges.",
        report.inventory.hints as f64,
    );
    gauge(
        "chord_chunks",
        "Chunks on this disk.",
        report.inventory.chunks as f64,
    );
    gauge(
        "chord_dropped_files",
        "Files dropped here and not taken over yet.",
        report.inventory.dropped as f64,
    );
    gauge(
        "chord_copies_missing",
        "Copies known to be missing.",
        report.copies.missing as f64,
    );
    gauge(
        "chord_sync_pending",
        "Registers and chunks that a change of view still moves.",
        report.sync.pending as f64,
    );
    for (name, help, pick) in [
        ("chord_worker_rounds_total", "Rounds of a worker.", 0),
        ("chord_worker_done_total", "Things that a worker did.", 1),
        ("chord_worker_errors_total", "Errors of a worker.", 2),
    ] {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for worker in workers {
            let value = [worker.rounds, worker.done, worker.errors][pick];
            let _ = writeln!(out, "{name}{{worker=\"{}\"}} {value}", worker.name);
        }
    }
    out
}
