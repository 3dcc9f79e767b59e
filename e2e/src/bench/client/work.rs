//! Many clients at work at once, and how long they took.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::connection::Connection;

/// What clients do, again and again.
pub trait Work: Send + Sync + 'static {
    /// The name that servers are called by, where it is not their address.
    fn host(&self) -> Option<&str> {
        None
    }

    /// Does it once; `index` counts the requests of all clients.
    fn run(
        &self,
        connection: &mut Connection,
        index: usize,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// When to stop: after so many requests, or at the end of the time.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// No more requests than these.
    pub requests: usize,
    /// No longer than this.
    pub time: Duration,
}

impl Until {
    /// After so many requests, however long they take.
    pub fn requests(requests: usize) -> Until {
        Until {
            requests,
            time: Duration::from_secs(600),
        }
    }
}

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Requests that were answered.
    pub requests: usize,
    /// When the first was sent; `None`: nothing was done.
    pub begun: Option<Instant>,
    /// From the first request to the last answer.
    pub took: Duration,
    /// Milliseconds, sorted.
    pub latencies: Vec<f64>,
}

impl Done {
    /// Requests a second.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// Lets `clients` work, each on connections of its own that stand before the clock
/// is started.
pub async fn run_clients<W: Work>(
    servers: &[SocketAddr],
    clients: usize,
    until: Until,
    work: W,
) -> Result<Done> {
    ensure!(!servers.is_empty(), "there is no server");
    let mut all = Vec::new();
    for client in 0..clients {
        let mut connections = Vec::new();
        for server in servers {
            connections.push(Connection::open_as(*server, work.host()).await?);
        }
        // Not all of them at the same node first.
        connections.rotate_left(client % servers.len());
        all.push(connections);
    }
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connections in all {
        let (work, next) = (Arc::clone(&work), Arc::clone(&next));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            for turn in 0.. {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= until.requests || begun.elapsed() >= until.time {
                    break;
                }
                let count = connections.len();
                let sent = Instant::now();
                work.run(&mut connections[turn % count], index).await?;
                latencies.push(sent.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended??);
    }
    let took = begun.elapsed();
    ensure!(!latencies.is_empty(), "no request was made");
    latencies.sort_by(f64::total_cmp);
    Ok(Done {
        requests: latencies.len(),
        begun: Some(begun),
        took,
        latencies,
    })
}
