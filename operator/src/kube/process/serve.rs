//! The operator's own HTTP port: `/livez`, `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use chord_api::host::listen::{self, Bounded};
use tokio_util::sync::CancellationToken;

use crate::metrics::{CONTENT_TYPE, Metrics};

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

/// Why the port is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be listened on.
    #[error("listening on {listen} for probes and metrics")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No connection can be taken any more.
    #[error("serving probes and metrics")]
    Serve(#[source] std::io::Error),
}

/// Serves until `stop`. Alive is who answers: it has nothing to do with who leads.
pub async fn serve(
    listen: SocketAddr,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), Error> {
    let cannot = |source| Error::Listen { listen, source };
    let listener = listen::bind(listen).await.map_err(cannot)?;
    let listener = Bounded::new(listener, CONNECTIONS).map_err(cannot)?;
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
            get(async move || match metrics.text() {
                Ok(text) => Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text)),
                Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
            }),
        );
    axum::serve(listener, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .map_err(Error::Serve)
}
