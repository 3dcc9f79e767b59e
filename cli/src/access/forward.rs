//! Port-forwarding: a loopback address that leads to a port of a pod.
//!
//! Each connection gets a stream of its own through the API server, as `kubectl
//! port-forward` does.

use std::net::SocketAddr;
use std::sync::Arc;

use chord_api::host::listen::Acceptor;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at once; more wait.
const CONNECTIONS: usize = 64;

/// A forwarding that ends when this is dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Forward {
    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // The task owns its connections in a set, so they end with it.
        self.task.abort();
    }
}

/// Listens on a free port of loopback and forwards to `port` of `pod`.
pub async fn forward(
    client: Client,
    namespace: &str,
    pod: &str,
    port: u16,
) -> std::io::Result<Forward> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let task = tokio::spawn(serve(listener, pods, pod.to_string(), port));
    Ok(Forward { address, task })
}

async fn serve(listener: TcpListener, pods: Api<Pod>, pod: String, port: u16) {
    let mut acceptor = Acceptor::new(listener);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let stream = acceptor.next().await;
        let (pods, pod) = (pods.clone(), pod.clone());
        connections.spawn(async move {
            let _permit = permit;
            if let Err(e) = connect(stream, &pods, &pod, port).await {
                tracing::debug!(pod, port, "a forwarded connection ended: {e}");
            }
        });
    }
}

/// Joins one connection with a stream to the pod.
async fn connect(
    mut local: TcpStream,
    pods: &Api<Pod>,
    pod: &str,
    port: u16,
) -> Result<(), kube::Error> {
    let _ = local.set_nodelay(true);
    let mut forwarder = pods.portforward(pod, &[port]).await?;
    if let Some(mut remote) = forwarder.take_stream(port) {
        // Either side may break off; the other learns it by its connection's end.
        let _ = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
        let _ = remote.shutdown().await;
    }
    forwarder.abort();
    Ok(())
}
