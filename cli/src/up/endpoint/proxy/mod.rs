//! The one endpoint: connections are joined, as they are, with a node that is
//! ready, one node after the other. Where there are as many as it takes, the one
//! that has been quiet the longest makes room, and before it one that never said
//! anything.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use chord_api::host::listen::Acceptor;
use chord_api::host::{Descriptors, descriptors};
use chord_api::problem::{Kind, Problem};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// Connections at once, where there are file descriptors for them.
const CONNECTIONS: usize = 1024;
/// The share of this process's descriptors that they may take; the rest is for its
/// files, its children, and for those that are refused.
const SHARE_PERCENT: u64 = 70;
/// What a connection takes: the client's side and the node's.
const EACH: u64 = 2;
/// How long a connection has been quiet that makes room: no answer takes as long.
const QUIET: Duration = Duration::from_secs(30);
/// The same for one on which no request has begun yet.
const SILENT: Duration = Duration::from_secs(1);
/// How long making room may take.
const ROOM_WITHIN: Duration = Duration::from_secs(2);
/// Connections beyond the bound that wait for room, or are told that there is none.
const MAX_REFUSALS: usize = 64;
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// What of a request is read before it is told that nobody is ready.
const REFUSED_BYTES: usize = 256 * 1024;
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

/// The nodes that can be connected to.
#[derive(Clone, Debug)]
pub struct Backends {
    /// Client addresses of the processes that run and were not told to end.
    pub running: watch::Receiver<BTreeSet<SocketAddr>>,
    /// Those that lately said they are ready.
    pub ready: watch::Receiver<BTreeSet<SocketAddr>>,
}

impl Backends {
    /// Who can be connected to now, in order.
    fn now(&self) -> Vec<SocketAddr> {
        let ready = self.ready.borrow();
        self.running
            .borrow()
            .iter()
            .filter(|a| ready.contains(a))
            .copied()
            .collect()
    }
}

/// The connections that are joined.
struct Joins {
    permits: Arc<Semaphore>,
    /// parking_lot's mutex: nothing is awaited while it is held.
    joined: Mutex<BTreeMap<u64, Arc<Join>>>,
    most: usize,
    count: AtomicU64,
    began: Instant,
    quiet: Duration,
}

/// One of them.
struct Join {
    /// Whether the client has ever said anything.
    spoke: AtomicBool,
    /// When bytes went over it last, in milliseconds since the beginning.
    active: AtomicU64,
    leave: Notify,
}

impl Joins {
    fn new(connections: usize, quiet: Duration) -> Joins {
        Joins {
            permits: Arc::new(Semaphore::new(connections)),
            joined: Mutex::default(),
            most: connections,
            count: AtomicU64::new(0),
            began: Instant::now(),
            quiet,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn enter(&self) -> (u64, Arc<Join>) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let join = Arc::new(Join {
            spoke: AtomicBool::new(false),
            active: AtomicU64::new(self.now()),
            leave: Notify::new(),
        });
        let mut joined = self.joined.lock();
        joined.insert(number, Arc::clone(&join));
        (number, join)
    }

    fn leave(&self, number: u64) {
        let mut joined = self.joined.lock();
        joined.remove(&number);
    }

    /// A permit for which the quietest connection makes room, if any is quiet.
    async fn make_room(&self) -> Option<OwnedSemaphorePermit> {
        {
            let mut joined = self.joined.lock();
            let state = |join: &Join| {
                let spoke = join.spoke.load(Ordering::Relaxed);
                (spoke, join.active.load(Ordering::Relaxed))
            };
            let (number, join) = joined.iter().min_by_key(|(_, join)| state(join))?;
            let (number, (spoke, active)) = (*number, state(join));
            let quiet = if spoke {
                self.quiet
            } else {
                SILENT.min(self.quiet)
            };
            if u128::from(self.now().saturating_sub(active)) < quiet.as_millis() {
                return None;
            }
            joined.remove(&number)?.leave.notify_one();
        }
        let permit = timeout(ROOM_WITHIN, Arc::clone(&self.permits).acquire_owned()).await;
        permit.ok()?.ok()
    }
}

/// Accepts connections until this is dropped; no more than there are descriptors for.
pub async fn serve(listener: TcpListener, backends: Backends, descriptors: Descriptors) {
    let connections = descriptors.connections(SHARE_PERCENT, EACH, CONNECTIONS);
    serve_with(listener, backends, Joins::new(connections, QUIET)).await;
}

async fn serve_with(listener: TcpListener, backends: Backends, joins: Joins) {
    let mut acceptor = Acceptor::new(listener);
    let refusals = MAX_REFUSALS.min(joins.most.div_ceil(4));
    let refusals = Arc::new(Semaphore::new(refusals));
    let joins = Arc::new(joins);
    let turn = Arc::new(AtomicUsize::new(0));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let mut client = acceptor.next().await;
        let (backends, turn) = (backends.clone(), Arc::clone(&turn));
        let joins = Arc::clone(&joins);
        if let Ok(permit) = Arc::clone(&joins.permits).try_acquire_owned() {
            connections.spawn(async move {
                join(client, &backends, &turn, &joins).await;
                drop(permit);
            });
        } else if let Ok(refusal) = Arc::clone(&refusals).try_acquire_owned() {
            connections.spawn(async move {
                let Some(permit) = joins.make_room().await else {
                    let problem = Problem::new(
                        Kind::Overloaded,
                        "this endpoint has as many connections as it takes: try again in a moment, or a node's own address",
                    );
                    let _ = timeout(REFUSED_WITHIN, refuse(&mut client, &problem)).await;
                    return;
                };
                drop(refusal);
                join(client, &backends, &turn, &joins).await;
                drop(permit);
            });
        }
    }
}

/// Joins a client with the next node in turn that can be reached.
async fn join(mut client: TcpStream, backends: &Backends, turn: &AtomicUsize, joins: &Joins) {
    let _ = client.set_nodelay(true);
    let nodes = backends.now();
    let first = turn.fetch_add(1, Ordering::Relaxed);
    let mut problem = Problem::new(
        Kind::NoQuorum,
        "no node is ready yet, or any more: try again in a moment",
    );
    for step in 0..nodes.len() {
        let node = nodes[(first + step) % nodes.len()];
        let connected = timeout(CONNECT_WITHIN, TcpStream::connect(node)).await;
        if let Ok(Err(e)) = &connected
            && descriptors::exhausted(e)
        {
            let why = format!("no connection can be made to a node ({e}): try again in a moment");
            problem = Problem::new(Kind::Overloaded, why);
        }
        if let Ok(Ok(mut server)) = connected {
            let _ = server.set_nodelay(true);
            let (number, join) = joins.enter();
            let mut client = Noted {
                stream: client,
                join: &join,
                joins,
            };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                () = join.leave.notified() => {}
            }
            joins.leave(number);
            return;
        }
    }
    let _ = timeout(REFUSED_WITHIN, refuse(&mut client, &problem)).await;
}

/// A client's connection that notes when bytes go over it.
struct Noted<'a> {
    stream: TcpStream,
    join: &'a Join,
    joins: &'a Joins,
}

impl Noted<'_> {
    fn note<T>(&self, moved: Poll<T>) -> Poll<T> {
        if moved.is_ready() {
            let now = self.joins.now();
            self.join.active.store(now, Ordering::Relaxed);
        }
        moved
    }
}

impl AsyncRead for Noted<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            self.join.spoke.store(true, Ordering::Relaxed);
        }
        self.note(read)
    }
}

impl AsyncWrite for Noted<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Answers with a problem. The request's head is read first, and a little of
/// its body after: a connection that is closed on unread bytes loses the answer.
async fn refuse(client: &mut TcpStream, problem: &Problem) -> io::Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0u8; 4096];
    while head.len() < REFUSED_BYTES && !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match client.read(&mut buffer).await? {
            0 => return Ok(()),
            n => head.extend_from_slice(&buffer[..n]),
        }
    }
    let body = serde_json::to_string(&problem.body()).unwrap_or_default();
    let body = if head.starts_with(b"HEAD ") {
        String::new()
    } else {
        body
    };
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await?;
    let mut read = 0;
    while read < REFUSED_BYTES {
        match client.read(&mut buffer).await? {
            0 => break,
            n => read += n,
        }
    }
    Ok(())
}
