//! The operator's pod: finding it, ending it, its figures.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Client, ResourceExt};

use super::forward::get;
use super::pods::{identity, is_ready, kill_in, save_logs, unless_missing};
use crate::wait::{eventually, secs};

/// The namespace of the release, and its name.
pub const NAMESPACE: &str = "chord-e2e-system";
const METRICS_PORT: u16 = 8082;

fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// The operator's pod; the one that is ready where there are several.
pub async fn pod(client: &Client) -> Result<Pod> {
    let list = ListParams::default().labels("app.kubernetes.io/name=chord-operator");
    let found = pods(client).list(&list).await?.items;
    let (ready, other): (Vec<_>, Vec<_>) = found.into_iter().partition(is_ready);
    ready
        .into_iter()
        .chain(other)
        .next()
        .context("no operator's pod is there")
}

/// Kills it, and waits until it or another one is ready.
pub async fn kill(client: &Client) -> Result<()> {
    let pod = pod(client).await?;
    let before = identity(&pod);
    if !kill_in(&pod, "chord-operator")? {
        let at_once = DeleteParams {
            grace_period_seconds: Some(0),
            ..Default::default()
        };
        unless_missing(pods(client).delete(&pod.name_any(), &at_once).await)?;
    }
    eventually("the operator runs anew", secs(60), || async {
        let now = self::pod(client).await?;
        ensure!(
            identity(&now) != before && is_ready(&now),
            "{} is not ready",
            now.name_any()
        );
        Ok(())
    })
    .await
}

/// The operator's figures.
pub async fn metrics(client: &Client) -> Result<String> {
    let pod = pod(client).await?;
    let port = pod
        .spec
        .iter()
        .flat_map(|s| s.containers.iter().flat_map(|c| c.ports.iter().flatten()))
        .find(|p| p.name.as_deref() == Some("metrics"))
        .map_or(METRICS_PORT, |p| {
            u16::try_from(p.container_port).unwrap_or(METRICS_PORT)
        });
    get(client.clone(), NAMESPACE, &pod.name_any(), port, "/metrics").await
}

/// How many writes to the API server the operator has counted.
pub async fn writes(client: &Client) -> Result<f64> {
    let text = metrics(client).await?;
    let lines = text
        .lines()
        .filter(|l| l.starts_with("chord_operator_writes_total"));
    let mut sum = 0.0;
    for line in lines {
        let value = line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok());
        match value {
            Some(value) => sum += value,
            None => bail!("this line of the metrics cannot be read: {line}"),
        }
    }
    Ok(sum)
}

/// Writes down what the operator said, as far as that can be had.
pub async fn keep_logs(client: &Client, to: &Path) {
    if let Err(e) = save_logs(&pods(client), to).await {
        crate::tally::print_line(&format!("   the operator's logs could not be kept: {e:#}"));
    }
}
