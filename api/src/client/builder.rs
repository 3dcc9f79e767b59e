//! The one place where HTTP clients are made.
//!
//! All of them: take no proxy from the environment (a request between our own
//! processes carries the cluster's secret, and `HTTP_PROXY` is set for the web),
//! follow no redirect (the secret would go with it), send small requests at once, say
//! who they are, give up connecting after a while, and look names up with
//! [`Resolver`]. What differs is how long they are patient, and what they keep.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Error};

use super::resolver::Resolver;

/// How long a node may take to be connected to by another.
const PEER_CONNECT: Duration = Duration::from_secs(2);
/// How long a connection between nodes is kept without use: a node that moves is
/// looked up again soon.
const PEER_IDLE: Duration = Duration::from_secs(30);
/// How long a cluster, which may be far away, may take to be connected to.
const CLUSTER_CONNECT: Duration = Duration::from_secs(10);
/// A connection that is quiet for so long is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The most header lines of an answer: a file's metadata may be in many short ones.
const MAX_HEADERS: usize = 4096;

/// What all clients have in common; `who` is the part of ours that asks.
fn client(who: &str, connect: Duration) -> ClientBuilder {
    let agent = format!("chord/{} ({who})", env!("CARGO_PKG_VERSION"));
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    let builder = Client::builder();
    builder
        .no_proxy()
        .redirect(Policy::none())
        .tcp_nodelay(true)
        .connect_timeout(connect)
        .user_agent(agent)
        .dns_resolver(Resolver::within(connect))
}

/// From a node to the peer ports of others. Each request has its own time limit.
pub fn between_nodes() -> Result<Client, Error> {
    client("node", PEER_CONNECT)
        .pool_idle_timeout(PEER_IDLE)
        .build()
}

/// From the operator to the peer ports of nodes; every request ends within `limit`.
pub fn to_nodes(limit: Duration) -> Result<Client, Error> {
    client("operator", limit).timeout(limit).build()
}

/// From a node to the `chord up` that runs it; every request ends within `limit`.
pub fn to_supervisor(limit: Duration) -> Result<Client, Error> {
    client("node", PEER_CONNECT).timeout(limit).build()
}

/// From a command line or another program to the client port of a cluster. With
/// `stalled` an answer ends that stands still for so long; without, one may take as
/// long as it likes: to the client, a long upload is an answer that does not come.
pub fn to_cluster(stalled: Option<Duration>) -> Result<Client, Error> {
    let builder = client("client", CLUSTER_CONNECT)
        .tcp_keepalive(KEEP_ALIVE)
        .http1_max_headers(MAX_HEADERS);
    match stalled {
        Some(limit) => builder.read_timeout(limit).build(),
        None => builder.build(),
    }
}

/// To ask whether something is ready; every request ends within `limit`.
pub fn probe(limit: Duration) -> Result<Client, Error> {
    client("probe", limit).timeout(limit).build()
}

/// For tests that look at a cluster from outside. With `keep` connections are used
/// again, and with them the node that they lead to.
pub fn from_outside(keep: bool) -> Result<Client, Error> {
    client("test", Duration::from_secs(5))
        .pool_max_idle_per_host(if keep { 4 } else { 0 })
        .build()
}
