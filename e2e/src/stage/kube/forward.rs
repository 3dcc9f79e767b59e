//! Loopback addresses that lead into pods, as `kubectl port-forward` does it: a
//! stream through the API server for each connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::pods::is_ready;

/// How long opening a stream may take before another pod is tried.
const OPEN: Duration = Duration::from_secs(4);

/// Where a connection may lead.
#[derive(Clone, Debug)]
pub enum To {
    /// One pod, whatever its state.
    Pod(String),
    /// Whichever ready pod is next in turn.
    Ready(String),
}

/// A forwarding; it ends when this is dropped.
#[derive(Debug)]
pub struct Forward {
    pub url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens on loopback and leads to a port of pods.
pub async fn forward(client: Client, namespace: &str, to: To, port: u16) -> Result<Forward> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("listening on loopback")?;
    let url = format!("http://{}", listener.local_addr()?);
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let task = tokio::spawn(serve(listener, pods, to, port));
    Ok(Forward { url, task })
}

async fn serve(listener: TcpListener, pods: Api<Pod>, to: To, port: u16) {
    let (tell, names) = watch::channel(Vec::new());
    // Ends with this task, as the connections do.
    let mut tasks = JoinSet::new();
    match to {
        To::Pod(name) => {
            tell.send_replace(vec![name]);
        }
        To::Ready(selector) => {
            let pods = pods.clone();
            tasks.spawn(async move {
                loop {
                    if let Ok(list) = pods.list(&ListParams::default().labels(&selector)).await {
                        tell.send_replace(
                            list.items
                                .iter()
                                .filter(|p| is_ready(p))
                                .map(|p| p.name_any())
                                .collect(),
                        );
                    }
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
            });
        }
    }
    let turn = std::sync::Arc::new(AtomicUsize::new(0));
    let mut acceptor = chord_api::host::listen::Acceptor::new(listener);
    loop {
        while tasks.try_join_next().is_some() {}
        let local = acceptor.next().await;
        let (pods, names, turn) = (pods.clone(), names.borrow().clone(), turn.clone());
        tasks.spawn(async move {
            let first = turn.fetch_add(1, Ordering::Relaxed);
            for step in 0..names.len() {
                let pod = &names[(first + step) % names.len()];
                let opened = tokio::time::timeout(OPEN, pods.portforward(pod, &[port])).await;
                let Ok(Ok(mut forwarder)) = opened else {
                    continue;
                };
                join(local, &mut forwarder, port).await;
                forwarder.abort();
                return;
            }
        });
    }
}

async fn join(mut local: TcpStream, forwarder: &mut kube::api::Portforwarder, port: u16) {
    let _ = local.set_nodelay(true);
    if let Some(mut remote) = forwarder.take_stream(port) {
        let _ = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
        let _ = remote.shutdown().await;
    }
}

/// A GET of one path of a pod, without keeping a forwarding.
pub async fn get(
    client: Client,
    namespace: &str,
    pod: &str,
    port: u16,
    path: &str,
) -> Result<String> {
    let forward = forward(client, namespace, To::Pod(pod.to_string()), port).await?;
    let http = chord_api::client::builder::probe(Duration::from_secs(10))?;
    let response = http.get(format!("{}{path}", forward.url)).send().await?;
    if !response.status().is_success() {
        bail!("{path} of {pod} was answered by {}", response.status());
    }
    Ok(response.text().await?)
}
