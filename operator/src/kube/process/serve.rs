//! The operator's own HTTP port: `/livez`, `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use chord_api::host::listen::{self, Bounded};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Connections at once; more wait.
const CONNECTIONS: usize = 128;

/// Whether this operator does its work, or stands by to take over.
#[derive(Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

/// Serves until `stop`. Alive is who answers: it has nothing to do with who leads.
pub async fn serve(
    listen: SocketAddr,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listen::bind(listen)
        .await
        .with_context(|| format!("listening on {listen} for probes and metrics"))?;
    let listener =
        Bounded::new(listener, CONNECTIONS).context("looking where the operator listens")?;
    let app = Router::new()
        .route("/livez", get(async || "ok"))
        .route(
            "/readyz",
            get(async move || {
                if readiness.0.load(Ordering::Relaxed) {
                    (StatusCode::OK, "ok")
                } else {
                    (
                        StatusCode::SERVICE_UNAVAILABLE,
                        "the API server has not been reached yet",
                    )
                }
            }),
        )
        .route(
            "/metrics",
            get(async move || {
                (
                    [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
                    metrics.text(),
                )
            }),
        );
    axum::serve(listener, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("serving probes and metrics")
}
