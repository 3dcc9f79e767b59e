//! The operator on Kubernetes: installed once for a run with its own chart, and
//! taken away again with everything it brought.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::{Kube, LABEL, get, gone, is_ready, kill_in};
use crate::program::repo;
use crate::wait::{eventually, secs};

/// The namespace of the release, and its name.
pub const NAMESPACE: &str = "chord-e2e-system";
pub const RELEASE: &str = "chord-operator";
pub const CRD: &str = "chordclusters.chord.storage";
const METRICS_PORT: u16 = 8082;

fn definitions(client: &Client) -> Api<CustomResourceDefinition> {
    Api::all(client.clone())
}

/// Refuses a cluster where somebody else has installed the custom resources.
pub async fn check_free(kube: &Kube) -> Result<()> {
    let Some(found) = definitions(&kube.client).get_opt(CRD).await? else {
        return Ok(());
    };
    ensure!(
        found.labels().contains_key(LABEL),
        "the cluster of the context {} has {CRD} already, and not from these suites: they need a cluster that nobody uses",
        kube.access.context
    );
    Ok(())
}

/// The chart with the images under test.
pub async fn install(kube: &Kube) -> Result<()> {
    check_free(kube).await?;
    upgrade(kube, &[]).await?;
    let label = json!({"metadata": {"labels": {LABEL: "yes"}}});
    definitions(&kube.client)
        .patch(CRD, &PatchParams::default(), &Patch::Merge(label))
        .await?;
    Ok(())
}

/// Installs or upgrades the release, with more values.
pub async fn upgrade(kube: &Kube, values: &[&str]) -> Result<()> {
    let chart = repo().join("charts/chord-operator").display().to_string();
    let tags = [
        "image.repository=docker.io/chord/chord-operator".to_string(),
        format!("image.tag={}", kube.image_tag),
        "image.pullPolicy=IfNotPresent".to_string(),
        "nodeImage.repository=docker.io/chord/chord-node".to_string(),
        format!("nodeImage.tag={}", kube.image_tag),
    ];
    let mut args = vec![
        "upgrade",
        "--install",
        RELEASE,
        &chart,
        "-n",
        NAMESPACE,
        "--create-namespace",
    ];
    args.extend(["--wait", "--timeout", "120s"]);
    for value in tags
        .iter()
        .map(String::as_str)
        .chain(values.iter().copied())
    {
        args.extend(["--set", value]);
    }
    kube.helm(&args)
        .await?
        .expect(0)
        .context("installing the operator's chart")?;
    Ok(())
}

/// Takes away what a run brought.
pub async fn uninstall(kube: &Kube) -> Result<()> {
    let all: Api<Namespace> = Api::all(kube.client.clone());
    if all.get_opt(NAMESPACE).await?.is_some() {
        let _ = kube
            .helm(&["uninstall", RELEASE, "-n", NAMESPACE, "--wait"])
            .await?;
        gone(all.delete(NAMESPACE, &DeleteParams::default()).await)?;
    }
    if let Some(found) = definitions(&kube.client).get_opt(CRD).await?
        && found.labels().contains_key(LABEL)
    {
        gone(
            definitions(&kube.client)
                .delete(CRD, &DeleteParams::default())
                .await,
        )?;
    }
    Ok(())
}

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
    let before = super::identity(&pod);
    if !kill_in(&pod, "chord-operator")? {
        let at_once = DeleteParams {
            grace_period_seconds: Some(0),
            ..Default::default()
        };
        gone(pods(client).delete(&pod.name_any(), &at_once).await)?;
    }
    eventually("the operator runs anew", secs(60), || async {
        let now = self::pod(client).await?;
        ensure!(
            super::identity(&now) != before && is_ready(&now),
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

/// Writes down what the operator said.
pub async fn keep_logs(kube: &Kube, to: &Path) {
    let _ = std::fs::create_dir_all(to);
    let Ok(list) = pods(&kube.client).list(&ListParams::default()).await else {
        return;
    };
    for pod in list {
        for (suffix, previous) in [("log", false), ("previous.log", true)] {
            let name = pod.name_any();
            let params = LogParams {
                previous,
                ..Default::default()
            };
            if let Ok(text) = pods(&kube.client).logs(&name, &params).await {
                let _ = std::fs::write(to.join(format!("{name}.{suffix}")), text);
            }
        }
    }
}
