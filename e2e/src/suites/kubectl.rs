//! A cluster as somebody meets it who has kubectl: what it shows, what is changed by
//! hand, and that the operator puts right what is wrong and writes nothing else.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster_spec::{self, NAME};
use crate::inspect;
use crate::stage::kube::{Kube, KubeCluster, operator};
use crate::stage::{Cluster, Stage};
use crate::suite::{Ctx, names};
use crate::traffic::load;
use crate::wait::{eventually, secs};

pub async fn run(ctx: Ctx) -> Result<()> {
    let Stage::Kube(kube) = &ctx.stage else {
        ctx.cases.skipped("all of it", "it is about Kubernetes");
        return Ok(());
    };
    // The defaults' intervals: what happens often is not what is looked at here.
    let spec = json!({"chunkSize": "256Ki", "storage": {"size": "256Mi"}});
    let cluster = ctx.stage.start(&cluster_spec::spec(spec)).await?;
    let Cluster::Kube(inner) = &cluster else {
        return Ok(());
    };
    let cases = &ctx.cases;
    let _ = cases
        .case(
            "kubectl explain tells what the fields mean",
            explained(kube),
        )
        .await;
    let _ = cases
        .case(
            "kubectl get chord shows Phase, Nodes, Ready, Used, Epoch and Age",
            columns(kube, inner),
        )
        .await;
    let files = ctx.files("kept/", 10, 300_000);
    load::put_all(&cluster.http()?, &files).await?;
    let all = names(&files);
    let _ = cases
        .case("the figures of the status follow", async {
            eventually("ten files are counted", secs(70), || async {
                let status = cluster.status().await?;
                ensure!(status["storage"]["files"] == 10, "{}", status["storage"]);
                Ok(())
            })
            .await
        })
        .await;
    let _ = cases
        .case(
            "with nothing to do it writes nothing for 30 seconds",
            idle(&ctx, kube, &cluster, inner),
        )
        .await;
    let _ = cases
        .case("kubectl scale chord adds a node", async {
            scale(kube, inner, "chord", 4).await?;
            cluster.settled(4).await
        })
        .await;
    let _ = cases
        .case(
            "a stray kubectl scale of the StatefulSet is undone, without the loss of a claim",
            async {
                stray_scale(kube, &cluster, inner).await?;
                let http = cluster.http()?;
                load::get_all(&http, &files).await?;
                eventually("all copies are whole", secs(60), || {
                    inspect::verified(&http, &all, 3)
                })
                .await
            },
        )
        .await;
    let _ = cases
        .case(
            "objects that were deleted or changed by hand are put right",
            put_right(inner),
        )
        .await;
    Ok(())
}

async fn explained(kube: &Kube) -> Result<()> {
    for (field, words) in [
        ("chordcluster.spec", "replication"),
        ("chordcluster.spec.autoscaling", "thresholds"),
    ] {
        let text = kube.kubectl(&["explain", field]).await?.expect(0)?.text();
        ensure!(
            text.contains(words) && text.contains("DESCRIPTION"),
            "{text}"
        );
    }
    Ok(())
}

async fn columns(kube: &Kube, inner: &KubeCluster) -> Result<()> {
    let text = kube
        .kubectl(&["-n", &inner.namespace, "get", "chord"])
        .await?
        .expect(0)?
        .text();
    let mut lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<&str>>());
    ensure!(
        lines.next().unwrap_or_default()
            == ["NAME", "PHASE", "NODES", "READY", "USED", "EPOCH", "AGE"],
        "{text}"
    );
    let row = lines.next().unwrap_or_default();
    ensure!(
        row.len() == 7 && row[..4] == [NAME, "Ready", "3", "3"],
        "{text}"
    );
    Ok(())
}

/// `kubectl scale` of an object that is called as the cluster is.
async fn scale(kube: &Kube, inner: &KubeCluster, kind: &str, replicas: u32) -> Result<()> {
    kube.kubectl(&[
        "-n",
        &inner.namespace,
        "scale",
        kind,
        NAME,
        &format!("--replicas={replicas}"),
    ])
    .await?
    .expect(0)
    .map(|_| ())
}

async fn stray_scale(kube: &Kube, cluster: &Cluster, inner: &KubeCluster) -> Result<()> {
    let before = claims(inner).await?;
    scale(kube, inner, "statefulset", 1).await?;
    let sets = inner.stateful_sets();
    eventually(
        "the StatefulSet has four replicas again",
        secs(60),
        || async {
            let replicas = sets.get(NAME).await?.spec.and_then(|s| s.replicas);
            ensure!(replicas == Some(4), "it has {replicas:?}");
            Ok(())
        },
    )
    .await?;
    cluster.settled(4).await?;
    let now = claims(inner).await?;
    ensure!(now == before, "the claims were {before:?} and are {now:?}");
    Ok(())
}

async fn claims(inner: &KubeCluster) -> Result<BTreeMap<String, Option<String>>> {
    let claims = inner.claims().list(&ListParams::default()).await?;
    Ok(claims
        .items
        .into_iter()
        .map(|c| (c.name_any(), c.uid()))
        .collect())
}

/// Every object of the cluster with its version.
async fn versions(inner: &KubeCluster) -> Result<BTreeMap<String, String>> {
    let kinds = [
        ("apps", "v1", "StatefulSet"),
        ("", "v1", "Service"),
        ("", "v1", "ConfigMap"),
        ("", "v1", "Secret"),
        ("", "v1", "ServiceAccount"),
        ("policy", "v1", "PodDisruptionBudget"),
        ("networking.k8s.io", "v1", "NetworkPolicy"),
        ("chord.storage", "v1alpha1", "ChordCluster"),
    ];
    let mut versions = BTreeMap::new();
    for (group, version, kind) in kinds {
        let resource = kube::api::ApiResource::from_gvk(&kube::api::GroupVersionKind::gvk(
            group, version, kind,
        ));
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(inner.client.clone(), &inner.namespace, &resource);
        for object in api.list(&ListParams::default()).await?.items {
            versions.insert(
                format!("{kind} {}", object.name_any()),
                object.resource_version().unwrap_or_default(),
            );
        }
    }
    Ok(versions)
}

/// Figures may follow for a while after files came, no oftener than every 30 seconds:
/// after that there is nothing to write.
async fn idle(ctx: &Ctx, kube: &Kube, cluster: &Cluster, inner: &KubeCluster) -> Result<()> {
    let look = async || -> Result<_> {
        let (versions, status) = (versions(inner).await?, cluster.status().await?);
        Ok((versions, status, operator::writes(&kube.client).await?))
    };
    let mut last = String::new();
    for _ in 0..4 {
        let before = look().await?;
        ensure!(before.0.len() >= 8, "the objects are only {:?}", before.0);
        tokio::time::sleep(secs(30)).await;
        let after = look().await?;
        let writes = after.2 - before.2;
        if before.0 == after.0 && writes.abs() < 0.5 {
            return cluster.is_settled(3).await;
        }
        last = format!(
            "the operator counted {writes} writes; written: {:?}; status before: {}; and after: {}",
            changed(&before.0, &after.0),
            before.1,
            after.1
        );
        ctx.cases.note(&last);
    }
    bail!("something was written in each of four times 30 seconds; at last {last}")
}

fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let all = before.keys().chain(after.keys());
    let mut changed: Vec<String> = all
        .filter(|k| before.get(*k) != after.get(*k))
        .cloned()
        .collect();
    changed.dedup();
    changed
}

async fn put_right(inner: &KubeCluster) -> Result<()> {
    let services: Api<k8s_openapi::api::core::v1::Service> =
        Api::namespaced(inner.client.clone(), &inner.namespace);
    let wrong: Value = json!({"spec": {"selector": {"app.kubernetes.io/instance": "nobody"}}});
    services
        .patch(NAME, &PatchParams::default(), &Patch::Merge(wrong))
        .await?;
    services
        .delete(&format!("{NAME}-nodes"), &Default::default())
        .await?;
    eventually("both Services are as they should be", secs(40), || async {
        let client = services.get(NAME).await?;
        let selector = client
            .spec
            .and_then(|s| s.selector)
            .context("a Service without a selector")?;
        ensure!(
            selector
                .get("app.kubernetes.io/instance")
                .is_some_and(|i| i == NAME),
            "{selector:?}"
        );
        let nodes = services
            .get_opt(&format!("{NAME}-nodes"))
            .await?
            .context("the nodes' Service is gone")?;
        ensure!(
            nodes
                .spec
                .and_then(|s| s.cluster_ip)
                .is_some_and(|ip| ip == "None"),
            "it is not headless"
        );
        Ok(())
    })
    .await
}
