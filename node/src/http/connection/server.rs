//! Runs the connections of a port: bounded in number and in time, and at the
//! end finished rather than cut.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Version};
use chord_api::host::Descriptors;
use chord_api::host::listen::Acceptor;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryFutureExt};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt;

use super::bound::{Bound, Leave, Place, ThenIdle};
use super::gate::{Fault, Gate, HEAD_BYTES, MAX_HEADERS};
use super::patient::Patient;
use crate::http::response::problem;
use crate::world::Tasks;

/// What is read ahead of a body; a head fits too.
const BUFFER_BYTES: usize = HEAD_BYTES + 8 * 1024;
/// Connections of a port, where there are file descriptors for them.
const CONNECTIONS: usize = 4096;
/// The share of all descriptors that one port may take: there are two, and as much is
/// left for the files and for the connections to other nodes that requests need.
const SHARE_PERCENT: u64 = 25;
/// Connections beyond the bound that wait for room, or are told that there is
/// none; further ones are just closed.
const MAX_REFUSALS: usize = 64;
/// How long they have for the head of the request that is refused.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// The bounds of a port.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once. For those beyond, idle ones make room; where there are
    /// none they are answered 503 and closed.
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
            connections: CONNECTIONS,
            head: Duration::from_secs(100),
            stall: Duration::from_secs(60),
            stop: Duration::from_secs(20),
        }
    }
}

impl Limits {
    /// The usual bounds, with no more connections than there are file descriptors for.
    pub fn within(descriptors: Descriptors) -> Limits {
        Limits {
            connections: descriptors.connections(SHARE_PERCENT, 1, CONNECTIONS),
            ..Limits::default()
        }
    }
}

/// Serves until `shutdown`, then finishes what is in flight, for a while at most. Each
/// connection is a task of its own. An error means that the socket is unusable.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    tasks: Tasks,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    listener.local_addr()?;
    let mut acceptor = Acceptor::new(listener);
    let bound = Bound::new(limits.connections);
    let refusals = MAX_REFUSALS.min(limits.connections.div_ceil(4));
    let refusals = Arc::new(Semaphore::new(refusals));
    let (stop, stopping) = watch::channel(false);
    let mut connections = FuturesUnordered::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.next(), if !connections.is_empty() => continue,
            stream = acceptor.next() => stream,
        };
        let (router, stopping) = (router.clone(), stopping.clone());
        let mut limits = limits.clone();
        if let Some(place) = bound.take() {
            connections.push(tasks.beside(async move {
                connection(stream, router, Some(&place), &limits, stopping).await;
            }));
        } else if let Ok(refusal) = refusals.clone().try_acquire_owned() {
            let bound = bound.clone();
            connections.push(tasks.beside(async move {
                if let Some(place) = bound.make_room().await {
                    drop(refusal);
                    connection(stream, router, Some(&place), &limits, stopping).await;
                } else {
                    limits.head = REFUSAL_TIME;
                    connection(stream, router, None, &limits, stopping).await;
                }
            }));
        }
    }
    drop(acceptor);
    let _ = stop.send(true);
    let finished = tokio::time::timeout(limits.stop, async {
        while connections.next().await.is_some() {}
    });
    if finished.await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "connections are cut: they did not finish in time"
        );
        connections.iter().for_each(AbortOnDropHandle::abort);
        while connections.next().await.is_some() {}
    }
    Ok(())
}

/// Runs one connection; without a place every request on it but the probes' is
/// refused: a node that has much to do is neither dead nor unready.
async fn connection(
    stream: TcpStream,
    router: Router,
    place: Option<&Place>,
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
    let fault = Fault::default();
    let (faults, requests) = (fault.clone(), AtomicU64::new(0));
    let activity = place.map(Place::activity);
    let leave = activity.as_ref().map(|activity| activity.leave());
    let service = service_fn(move |request: Request<Incoming>| -> BoxFuture<'static, _> {
        seen.store(request.version() < Version::HTTP_11, Ordering::Relaxed);
        let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(problem) = faults.of(number) {
            return Box::pin(std::future::ready(Ok(problem::last(&problem))));
        }
        let probe = matches!(request.uri().path(), "/livez" | "/readyz");
        match activity.clone() {
            None if !probe => Box::pin(std::future::ready(Ok(problem::too_many_connections()))),
            None => Box::pin(router.clone().oneshot(request.map(Body::new))),
            Some(activity) => {
                activity.works();
                let answer = router.clone().oneshot(request.map(Body::new));
                Box::pin(
                    answer.map_ok(move |r| r.map(|body| Body::new(ThenIdle::new(body, &activity)))),
                )
            }
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(MAX_HEADERS)
        // A client may end its side after the request and still read the answer.
        .half_close(true)
        .serve_connection(
            TokioIo::new(Gate::new(
                Patient::new(stream, limits.stall, leave.clone()),
                fault,
            )),
            service,
        );
    let mut ending = false;
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            // An error means that the server is gone, which is a stop too.
            _ = stopping.wait_for(|stop| *stop), if !ending => ending = true,
            () = asked_to_leave(leave.as_deref()), if !ending => ending = true,
        }
        Pin::new(&mut connection).graceful_shutdown();
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
        if old.load(Ordering::Relaxed) && error.is_user() {
            connection.into_parts().io.inner().inner().reset();
        }
    }
}

/// Never, for one that has no place to leave.
async fn asked_to_leave(leave: Option<&Leave>) {
    match leave {
        Some(leave) => leave.wait().await,
        None => std::future::pending().await,
    }
}
