//! The one registry of the node: what the client port counts of itself, and what the
//! rest of the node adds, as text for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The media type of [`Metrics::text`].
pub(super) use prometheus_text::CONTENT_TYPE;

/// The methods that are told apart.
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];
/// All other methods: a client may make up as many as it likes.
const OTHER: &str = "other";
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper bounds of the buckets of the time to an answer's head, in seconds.
const ANSWER_SECONDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// The registry, and the counters of the client port; clones share them.
#[derive(Clone)]
pub(super) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<Answer, Counter>,
    answer_seconds: Family<Asked, Histogram>,
    in_flight: Gauge,
    received: Counter,
    sent: Counter,
    panics: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    method: &'static str,
}

/// A family that is described in the text before anything is counted in it: else it
/// would be missing from the first answer of a node.
#[derive(Debug)]
struct Described<M>(M);

impl<M: EncodeMetric> EncodeMetric for Described<M> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }
}

/// Counts a request as in flight until it is dropped.
pub(super) struct InFlight(Metrics);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.dec();
    }
}

impl Metrics {
    /// The client port's, in a registry that has others already.
    pub(super) fn new(mut registry: Registry) -> Metrics {
        let requests = Family::default();
        registry.register(
            "chord_http_requests",
            "Requests answered on the client port",
            Described(Clone::clone(&requests)),
        );
        let answer_seconds = Family::new_with_constructor(answer_histogram as fn() -> Histogram);
        registry.register(
            "chord_http_answer_seconds",
            "Time until the head of an answer stood",
            Described(Clone::clone(&answer_seconds)),
        );
        let in_flight = Gauge::default();
        registry.register(
            "chord_http_in_flight",
            "Requests being answered",
            in_flight.clone(),
        );
        let mut counter = |name, help| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let received = counter("chord_http_received_bytes", "Bytes of request bodies");
        let sent = counter("chord_http_sent_bytes", "Bytes of response bodies");
        let panics = counter("chord_http_panics", "Handlers that failed");
        Metrics(Arc::new(Inner {
            registry,
            requests,
            answer_seconds,
            in_flight,
            received,
            sent,
            panics,
        }))
    }

    pub(super) fn begin(&self) -> InFlight {
        self.0.in_flight.inc();
        InFlight(self.clone())
    }

    pub(super) fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let known = METHODS.into_iter().find(|known| *known == method.as_str());
        let method = known.unwrap_or(OTHER);
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let code = CLASSES[class];
        let answer = Answer { method, code };
        self.0.requests.get_or_create(&answer).inc();
        let times = self.0.answer_seconds.get_or_create(&Asked { method });
        times.observe(took.as_secs_f64());
    }

    pub(super) fn received(&self, bytes: usize) {
        self.0.received.inc_by(bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.0.sent.inc_by(bytes as u64);
    }

    pub(super) fn panicked(&self) {
        self.0.panics.inc();
    }

    /// All that is registered, as text of the type [`CONTENT_TYPE`].
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

fn answer_histogram() -> Histogram {
    Histogram::new(ANSWER_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that dashboards, alerts and people go by is there from the first answer on.
    #[test]
    fn every_family_is_described_before_anything_is_counted() {
        let text = Metrics::new(Registry::default()).text().unwrap();
        let families = "\
            # HELP chord_http_requests_total Requests answered on the client port.\n\
            # TYPE chord_http_requests_total counter\n\
            # HELP chord_http_answer_seconds Time until the head of an answer stood.\n\
            # TYPE chord_http_answer_seconds histogram\n\
            # HELP chord_http_in_flight Requests being answered.\n\
            # TYPE chord_http_in_flight gauge\n\
            chord_http_in_flight 0\n\
            # HELP chord_http_received_bytes_total Bytes of request bodies.\n\
            # TYPE chord_http_received_bytes_total counter\n\
            chord_http_received_bytes_total 0\n\
            # HELP chord_http_sent_bytes_total Bytes of response bodies.\n\
            # TYPE chord_http_sent_bytes_total counter\n\
            chord_http_sent_bytes_total 0\n\
            # HELP chord_http_panics_total Handlers that failed.\n\
            # TYPE chord_http_panics_total counter\n\
            chord_http_panics_total 0\n";
        assert_eq!(text, families);
    }

    #[test]
    fn counts_by_method_and_class() {
        let metrics = Metrics::new(Registry::default());
        let open = metrics.begin();
        metrics.answered(&Method::PUT, StatusCode::CREATED, Duration::from_millis(5));
        metrics.answered(&Method::PUT, StatusCode::OK, Duration::from_secs(99));
        metrics.answered(
            &Method::PATCH,
            StatusCode::METHOD_NOT_ALLOWED,
            Duration::ZERO,
        );
        metrics.received(7);
        let text = metrics.text().unwrap();
        for line in [
            "chord_http_requests_total{method=\"PUT\",code=\"2xx\"} 2",
            "chord_http_requests_total{method=\"other\",code=\"4xx\"} 1",
            "chord_http_answer_seconds_bucket{method=\"PUT\",le=\"0.003\"} 0",
            "chord_http_answer_seconds_bucket{method=\"PUT\",le=\"0.01\"} 1",
            "chord_http_answer_seconds_bucket{method=\"PUT\",le=\"30\"} 1",
            "chord_http_answer_seconds_bucket{method=\"PUT\",le=\"+Inf\"} 2",
            "chord_http_answer_seconds_sum{method=\"PUT\"} 99.005",
            "chord_http_answer_seconds_count{method=\"PUT\"} 2",
            "chord_http_in_flight 1",
            "chord_http_received_bytes_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        drop(open);
        assert!(metrics.text().unwrap().contains("chord_http_in_flight 0\n"));
    }
}
