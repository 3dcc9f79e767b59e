//! What the client port counts of itself, in Prometheus' text format.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::http::{Method, StatusCode};

const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "POST", "DELETE", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper bounds of the buckets of the time to an answer's head, in milliseconds.
const BUCKETS: [u64; 10] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000];

/// Counters of one client port; clones share them.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Counters>);

#[derive(Default)]
struct Counters {
    requests: [[AtomicU64; CLASSES.len()]; METHODS.len()],
    times: [Times; METHODS.len()],
    in_flight: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    panics: AtomicU64,
}

#[derive(Default)]
struct Times {
    /// Not cumulated; the last one is for all that took longer.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

/// Counts a request as in flight until it is dropped.
pub(super) struct InFlight(Metrics);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    /// What stands in every text that has these metrics.
    pub(super) const FIRST: &str = "# TYPE chord_http_requests_total ";

    pub(super) fn begin(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    pub(super) fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let method = METHODS
            .iter()
            .position(|m| *m == method.as_str())
            .unwrap_or(METHODS.len() - 1);
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.0.requests[method][class].fetch_add(1, Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS
            .iter()
            .position(|bound| micros <= bound * 1_000)
            .unwrap_or(BUCKETS.len());
        self.0.times[method].buckets[bucket].fetch_add(1, Relaxed);
        self.0.times[method].micros.fetch_add(micros, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn panicked(&self) {
        self.0.panics.fetch_add(1, Relaxed);
    }

    /// All of it as text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let requests = METHODS
            .iter()
            .zip(&self.0.requests)
            .flat_map(|(method, classes)| {
                CLASSES
                    .iter()
                    .zip(classes)
                    .map(move |(class, count)| (*method, *class, count.load(Relaxed)))
            });
        head(
            &mut text,
            "chord_http_requests_total",
            "counter",
            "Requests answered on the client port.",
        );
        for (method, class, count) in requests.filter(|(_, _, count)| *count > 0) {
            line(
                &mut text,
                format_args!(
                    "chord_http_requests_total{{method=\"{method}\",code=\"{class}\"}} {count}"
                ),
            );
        }
        head(
            &mut text,
            "chord_http_answer_seconds",
            "histogram",
            "Time until the head of an answer stood.",
        );
        for (method, times) in METHODS.iter().zip(&self.0.times) {
            let counts = times.buckets.each_ref().map(|bucket| bucket.load(Relaxed));
            let total: u64 = counts.iter().sum();
            if total == 0 {
                continue;
            }
            let mut below = 0;
            for (bound, count) in BUCKETS.iter().zip(counts) {
                below += count;
                let bound = *bound as f64 / 1e3;
                line(
                    &mut text,
                    format_args!(
                        "chord_http_answer_seconds_bucket{{method=\"{method}\",le=\"{bound}\"}} {below}"
                    ),
                );
            }
            line(
                &mut text,
                format_args!(
                    "chord_http_answer_seconds_bucket{{method=\"{method}\",le=\"+Inf\"}} {total}"
                ),
            );
            let seconds = times.micros.load(Relaxed) as f64 / 1e6;
            line(
                &mut text,
                format_args!("chord_http_answer_seconds_sum{{method=\"{method}\"}} {seconds}"),
            );
            line(
                &mut text,
                format_args!("chord_http_answer_seconds_count{{method=\"{method}\"}} {total}"),
            );
        }
        for (name, kind, help, value) in [
            (
                "chord_http_in_flight",
                "gauge",
                "Requests being answered.",
                &self.0.in_flight,
            ),
            (
                "chord_http_received_bytes_total",
                "counter",
                "Bytes of request bodies.",
                &self.0.received,
            ),
            (
                "chord_http_sent_bytes_total",
                "counter",
                "Bytes of response bodies.",
                &self.0.sent,
            ),
            (
                "chord_http_panics_total",
                "counter",
                "Handlers that failed.",
                &self.0.panics,
            ),
        ] {
            head(&mut text, name, kind, help);
            line(&mut text, format_args!("{name} {}", value.load(Relaxed)));
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    line(
        text,
        format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"),
    );
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_method_and_class() {
        let metrics = Metrics::default();
        let open = metrics.begin();
        metrics.answered(&Method::PUT, StatusCode::CREATED, Duration::from_millis(5));
        metrics.answered(&Method::PUT, StatusCode::OK, Duration::from_secs(99));
        metrics.answered(
            &Method::PATCH,
            StatusCode::METHOD_NOT_ALLOWED,
            Duration::ZERO,
        );
        metrics.received(7);
        let text = metrics.render();
        for line in [
            "chord_http_requests_total{method=\"PUT\",code=\"2xx\"} 2",
            "chord_http_requests_total{method=\"other\",code=\"4xx\"} 1",
            "chord_http_answer_seconds_bucket{method=\"PUT\",le=\"0.003\"} 0",
            "chord_http_answer_seconds_bucket{method=\"PUT\",le=\"0.01\"} 1",
            "chord_http_answer_seconds_bucket{method=\"PUT\",le=\"30\"} 1",
            "chord_http_answer_seconds_bucket{method=\"PUT\",le=\"+Inf\"} 2",
            "chord_http_in_flight 1",
            "chord_http_received_bytes_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        drop(open);
        assert!(metrics.render().contains("chord_http_in_flight 0\n"));
    }
}
