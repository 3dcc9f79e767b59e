//! The charts, from lint to uninstall.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use serde_json::{Value, json};

use crate::cluster_spec::{self, NAME};
use crate::program::repo;
use crate::stage::kube::{Kube, chord_clusters, operator, release};
use crate::stage::{Cluster, Stage};
use crate::suite::Ctx;
use crate::wait::{eventually, secs};

pub async fn run(ctx: Ctx) -> Result<()> {
    let Stage::Kube(kube) = &ctx.stage else {
        ctx.cases.skipped("all of it", "it is about Kubernetes");
        return Ok(());
    };
    let cases = &ctx.cases;
    let chart = |name: &str| repo().join("charts").join(name).display().to_string();
    let (ours, theirs) = (chart("chord-operator"), chart("chord-cluster"));
    for path in [&ours, &theirs] {
        let name = path.rsplit('/').next().unwrap_or_default();
        let _ = cases
            .case(&format!("helm lint --strict {name}"), async {
                kube.helm(&["lint", "--strict", path])
                    .await?
                    .expect(0)
                    .map(|_| ())
            })
            .await;
    }
    let _ = cases
        .case(
            "values that are none are refused by the charts' schemas",
            nonsense(kube, &[&ours, &theirs]),
        )
        .await;
    let namespace = kube.fresh_namespace().await?;
    let cluster = cases
        .case(
            "chord-cluster makes a cluster that works",
            install(&ctx, kube, &namespace, &theirs),
        )
        .await?;
    let _ = cases
        .case("helm test of both releases passes", async {
            kube.helm(&["test", release::RELEASE, "-n", operator::NAMESPACE])
                .await?
                .expect(0)?;
            kube.helm(&["test", NAME, "-n", &namespace])
                .await?
                .expect(0)
                .map(|_| ())
        })
        .await;
    let _ = cases
        .case(
            "an upgrade with other values changes the operator, and restarts no node",
            upgraded(kube, &cluster),
        )
        .await;
    let _ = cases
        .case(
            "uninstalling the operator leaves the CRD and the clusters; a new one takes over",
            reinstalled(&ctx, kube, &namespace, &cluster),
        )
        .await;
    Ok(())
}

async fn nonsense(kube: &Kube, charts: &[&String]) -> Result<()> {
    for path in charts {
        let ran = kube
            .helm(&["template", "x", path, "--set", "nonsense=1"])
            .await?;
        ensure!(
            ran.code != Some(0) && ran.stderr.contains("nonsense"),
            "{path}: {:?} {}",
            ran.code,
            ran.stderr
        );
    }
    Ok(())
}

async fn upgraded(kube: &Kube, cluster: &Cluster) -> Result<()> {
    let before = cluster.identities().await?;
    release::upgrade(kube, &["replicas=2"]).await?;
    let deployments: Api<Deployment> = Api::namespaced(kube.client.clone(), operator::NAMESPACE);
    eventually("two operators are ready", secs(60), || async {
        let all = deployments.list(&Default::default()).await?;
        let ready = all
            .items
            .iter()
            .filter_map(|d| d.status.as_ref()?.ready_replicas)
            .sum::<i32>();
        ensure!(ready == 2, "{ready} are");
        Ok(())
    })
    .await?;
    cluster.settled(3).await?;
    same_processes(cluster, &before).await?;
    release::upgrade(kube, &[]).await
}

async fn reinstalled(ctx: &Ctx, kube: &Kube, namespace: &str, cluster: &Cluster) -> Result<()> {
    let before = cluster.identities().await?;
    let content = ctx.content("charts", 1_000_000);
    cluster.http()?.put("kept", &content).await?;
    kube.helm(&[
        "uninstall",
        release::RELEASE,
        "-n",
        operator::NAMESPACE,
        "--wait",
    ])
    .await?
    .expect(0)?;
    let api = Api::<kube::api::DynamicObject>::namespaced_with(
        kube.client.clone(),
        namespace,
        &chord_clusters(),
    );
    ensure!(
        api.get_opt(NAME).await?.is_some(),
        "the ChordCluster is gone"
    );
    cluster.http()?.get("kept", &content).await?;
    release::upgrade(kube, &[]).await?;
    cluster.settled(3).await?;
    same_processes(cluster, &before).await?;
    cluster.http()?.get("kept", &content).await.map(|_| ())
}

/// That no node was restarted.
async fn same_processes(cluster: &Cluster, before: &BTreeMap<u32, String>) -> Result<()> {
    let after = cluster.identities().await?;
    ensure!(
        *before == after,
        "the nodes were {before:?} and are {after:?}"
    );
    Ok(())
}

async fn install(ctx: &Ctx, kube: &Kube, namespace: &str, chart: &str) -> Result<Cluster> {
    let spec = kube.with_image(&cluster_spec::spec(json!({"storage": {"size": "256Mi"}})));
    let values = tempfile::NamedTempFile::new()?;
    let mut all: Value = json!({
        "name": NAME,
        "spec": spec,
        "test": {"image": {"tag": kube.image_tag, "pullPolicy": "IfNotPresent"}},
    });
    // The chart's own values have it; null takes it out.
    all["spec"]["autoscaling"] = Value::Null;
    std::fs::write(values.path(), serde_yaml::to_string(&all)?)?;
    let path = values.path().display().to_string();
    kube.helm(&[
        "install",
        NAME,
        chart,
        "-n",
        namespace,
        "-f",
        &path,
        "--wait",
        "--timeout",
        "120s",
    ])
    .await?
    .expect(0)
    .context("installing chord-cluster")?;
    let cluster = Cluster::Kube(kube.adopt(namespace).await?);
    cluster.settled(3).await?;
    let content = ctx.content("from a chart", 5_000_000);
    let http = cluster.http()?;
    http.put("from a chart", &content).await?;
    http.get("from a chart", &content).await?;
    Ok(cluster)
}
