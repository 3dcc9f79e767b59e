//! Runs the connections of a port: bounded in number and in time, and at the
//! end finished rather than cut.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Version};
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::io::Patient;
use super::problem;

/// The most bytes of a request's head, and of what is read ahead of a body: a
/// name of 1 024 bytes in escapes and 8 KiB of metadata fit many times over.
const BUFFER_BYTES: usize = 128 * 1024;
/// The most header lines; 8 KiB of metadata may be in many short ones.
const MAX_HEADERS: usize = 1024;
/// Connections beyond the bound that are told so; further ones are just closed.
const MAX_REFUSALS: usize = 64;
/// How long they have for the head of the request that is refused.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// The bounds of a port.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; those beyond are answered 503 and closed.
    pub connections: usize,
    /// For the head of a request, waiting for it included, so that this is also
    /// how long an idle connection is kept: longer than usual clients keep theirs.
    pub head: Duration,
    /// How long a client may take nothing of an answer.
    pub stall: Duration,
    /// How long what is in flight may go on after the stop.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            head: Duration::from_secs(100),
            stall: Duration::from_secs(60),
            stop: Duration::from_secs(20),
        }
    }
}

/// Serves until `shutdown`, then finishes what is in flight, for 20 s at most.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    serve_with(listener, router, Limits::default(), shutdown).await
}

/// The same with other bounds. An error means that the socket is unusable.
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    listener.local_addr()?;
    let places = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let (stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // A connection that is gone already, or no descriptor left: both pass.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::select! {
                    () = &mut shutdown => break,
                    () = tokio::time::sleep(Duration::from_millis(50)) => continue,
                }
            }
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            let (router, limits, stopping) = (router.clone(), limits.clone(), stopping.clone());
            tasks.spawn(async move {
                let _place = place;
                connection(stream, Some(router), &limits, stopping).await;
            });
        } else if let Ok(refusal) = refusals.clone().try_acquire_owned() {
            let (limits, stopping) = (
                Limits {
                    head: REFUSAL_TIME,
                    ..limits.clone()
                },
                stopping.clone(),
            );
            tasks.spawn(async move {
                let _refusal = refusal;
                connection(stream, None, &limits, stopping).await;
            });
        }
    }
    drop(listener);
    let _ = stop.send(true);
    let finished = tokio::time::timeout(limits.stop, async {
        while tasks.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "connections are cut: they did not finish in time"
        );
        tasks.shutdown().await;
    }
    Ok(())
}

/// Runs one connection; without a router every request on it is refused.
async fn connection(
    stream: TcpStream,
    router: Option<Router>,
    limits: &Limits,
    mut stopping: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection is gone before its first request");
        return;
    }
    // Before HTTP/1.1 the end of a body may be nothing but the connection's.
    let old = Arc::new(AtomicBool::new(false));
    let seen = old.clone();
    let service = service_fn(move |request: Request<Incoming>| -> BoxFuture<'static, _> {
        seen.store(request.version() < Version::HTTP_11, Ordering::Relaxed);
        match router.clone() {
            Some(router) => Box::pin(router.oneshot(request.map(Body::new))),
            None => Box::pin(std::future::ready(Ok(problem::too_many_connections()))),
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(MAX_HEADERS)
        // A client may end its side after the request and still read the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.stall)), service);
    let mut told = false;
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            // An error means that the server is gone, which is a stop too.
            _ = stopping.wait_for(|stop| *stop), if !told => told = true,
        }
        Pin::new(&mut connection).graceful_shutdown();
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
        if old.load(Ordering::Relaxed) && error.is_user() {
            connection.into_parts().io.inner().reset();
        }
    }
}
