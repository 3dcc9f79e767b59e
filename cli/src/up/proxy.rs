//! The one endpoint: connections are joined, as they are, with a node that is
//! ready, one node after the other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chord_api::problem::{Kind, Problem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 1024;
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

/// Accepts connections until this is dropped.
pub async fn serve(listener: TcpListener, backends: Backends) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let turn = Arc::new(AtomicUsize::new(0));
    let mut connections = tokio::task::JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(_) => {
                // Out of file descriptors, perhaps: others may end.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (backends, turn) = (backends.clone(), Arc::clone(&turn));
        connections.spawn(async move {
            let _slot = slot;
            join(client, &backends, &turn).await;
        });
    }
}

/// Joins a client with the next node in turn that can be reached.
async fn join(mut client: TcpStream, backends: &Backends, turn: &AtomicUsize) {
    let _ = client.set_nodelay(true);
    let nodes = backends.now();
    let first = turn.fetch_add(1, Ordering::Relaxed);
    for step in 0..nodes.len() {
        let node = nodes[(first + step) % nodes.len()];
        if let Ok(Ok(mut server)) = timeout(CONNECT_WITHIN, TcpStream::connect(node)).await {
            let _ = server.set_nodelay(true);
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
    let _ = timeout(REFUSED_WITHIN, refuse(&mut client)).await;
}

/// Answers that no node is ready. The request's head is read first, and a little of
/// its body after: a connection that is closed on unread bytes loses the answer.
async fn refuse(client: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0u8; 4096];
    while head.len() < REFUSED_BYTES && !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match client.read(&mut buffer).await? {
            0 => return Ok(()),
            n => head.extend_from_slice(&buffer[..n]),
        }
    }
    let problem = Problem::new(
        Kind::NoQuorum,
        "no node is ready yet, or any more: try again in a moment",
    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use chord_api::files::FilesClient;

    async fn endpoint(nodes: &[SocketAddr], ready: &[SocketAddr]) -> FilesClient {
        let set =
            |all: &[SocketAddr]| watch::channel(all.iter().copied().collect::<BTreeSet<_>>()).1;
        let backends = Backends {
            running: set(nodes),
            ready: set(ready),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, backends));
        FilesClient::new(&address.to_string()).unwrap()
    }

    /// A node that answers every request for a file with its own name as the tag.
    async fn node(name: &'static str) -> SocketAddr {
        let answer = move || async move { ([("etag", name), ("connection", "close")], "") };
        let router = axum::Router::new().route("/files/{*name}", axum::routing::get(answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    #[tokio::test]
    async fn connections_go_to_ready_nodes_in_turn_and_past_one_that_died() {
        let (a, b, unready) = (node("a").await, node("b").await, node("unready").await);
        let dead = {
            let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        let files = endpoint(&[a, b, unready, dead], &[a, b, dead]).await;
        let mut tags = BTreeSet::new();
        for _ in 0..6 {
            tags.insert(files.head(&"x".parse().unwrap()).await.unwrap().etag);
        }
        assert_eq!(tags, BTreeSet::from(["a".to_string(), "b".to_string()]));
    }

    #[tokio::test]
    async fn without_a_ready_node_the_answer_says_so() {
        let files = endpoint(&[], &[]).await;
        let error = files.list(&Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), Some(Kind::NoQuorum));
        assert_eq!(error.status().map(|s| s.as_u16()), Some(503));
        let body = reqwest::Body::from(vec![7u8; 100_000]);
        let error = files
            .put(&"x".parse().unwrap(), body, &Default::default())
            .await
            .unwrap_err();
        assert_eq!(
            error.status().map(|s| s.as_u16()),
            Some(503),
            "also after a body"
        );
    }
}
