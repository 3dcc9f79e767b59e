//! Whose a claim is, what goes with a ChordCluster, and what becomes of a cluster
//! whose objects the API server refuses.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster_spec::{self, NAME};
use crate::stage::kube::{Kube, KubeCluster};
use crate::stage::{Cluster, Stage};
use crate::suite::Ctx;
use crate::traffic::load;
use crate::wait::{eventually, secs};

pub async fn run(ctx: Ctx) -> Result<()> {
    let Stage::Kube(kube) = &ctx.stage else {
        ctx.cases.skipped("all of it", "it is about Kubernetes");
        return Ok(());
    };
    let spec = json!({
        "chunkSize": "256Ki",
        "storage": {"size": "256Mi", "retention": {"whenDeleted": "Delete"}},
    });
    let cluster = ctx.stage.start(&cluster_spec::spec(spec)).await?;
    let Cluster::Kube(inner) = &cluster else {
        return Ok(());
    };
    let files = ctx.files("kept/", 6, 300_000);
    load::put_all(&cluster.http()?, &files).await?;
    let cases = &ctx.cases;
    let _ = cases
        .case(
            "claims of members go with the ChordCluster, and nothing else takes them along",
            owned(inner),
        )
        .await;
    cases
        .case(
            "a StatefulSet that is deleted is made anew, and no claim goes with it",
            async {
                let before = claims(inner).await?;
                let old = inner.stateful_sets().get(NAME).await?.uid();
                let kubectl = ["-n", &inner.namespace, "delete", "statefulset", NAME];
                kube.kubectl(&kubectl).await?.expect(0)?;
                eventually("there is another StatefulSet", secs(60), || async {
                    let set = inner.stateful_sets().get(NAME).await?;
                    ensure!(set.uid() != old, "it is the old one still");
                    Ok(())
                })
                .await?;
                cluster.settled(3).await?;
                let after = claims(inner).await?;
                ensure!(after == before, "the claims were {before:?}, are {after:?}");
                load::get_all(&cluster.http()?, &files).await
            },
        )
        .await?;
    let _ = cases
        .case(
            "a claim of that name that is somebody else's is not mounted, with NameConflict",
            foreign(&cluster, inner),
        )
        .await;
    let _ = cases
        .case(
            "settings that the API server refuses are told, and can be put right",
            refused(&cluster, inner),
        )
        .await;
    let _ = cases
        .case(
            "when the ChordCluster is deleted, its claims go too",
            async {
                let clusters = inner.clusters();
                clusters.delete(NAME, &DeleteParams::default()).await?;
                eventually("the claims are gone", secs(90), || async {
                    let left = claims(inner).await?;
                    ensure!(left.is_empty(), "there are {left:?}");
                    Ok(())
                })
                .await
            },
        )
        .await;
    let _ = cases
        .case(
            "an image that cannot be had is told of, and another one may be asked for",
            image(kube),
        )
        .await;
    Ok(())
}

async fn claims(inner: &KubeCluster) -> Result<BTreeMap<String, Option<String>>> {
    let claims = inner.claims().list(&ListParams::default()).await?;
    let by_name = claims.items.into_iter().map(|c| (c.name_any(), c.uid()));
    Ok(by_name.collect())
}

async fn owned(inner: &KubeCluster) -> Result<()> {
    eventually(
        "the ChordCluster alone owns its claims",
        secs(40),
        || async {
            let claims = inner.claims().list(&ListParams::default()).await?.items;
            ensure!(claims.len() == 3, "there are {} claims", claims.len());
            for claim in claims {
                let owners: Vec<&str> = claim
                    .owner_references()
                    .iter()
                    .map(|o| o.kind.as_str())
                    .collect();
                ensure!(
                    owners == ["ChordCluster"],
                    "{} is owned by {owners:?}",
                    claim.name_any()
                );
            }
            Ok(())
        },
    )
    .await
}

/// The message of a condition that is true.
async fn told(inner: &KubeCluster, kind: &str) -> Result<String> {
    let status = inner.clusters().get_status(NAME).await?.data["status"].take();
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions
        .iter()
        .find(|c| c["type"] == kind && c["status"] == "True");
    let message = found.and_then(|c| c["message"].as_str().map(str::to_string));
    message.with_context(|| format!("{kind} is not true in {conditions:?}"))
}

async fn foreign(cluster: &Cluster, inner: &KubeCluster) -> Result<()> {
    let name = format!("data-{NAME}-3");
    let theirs: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app.kubernetes.io/instance": NAME}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }))?;
    let theirs = inner
        .claims()
        .create(&PostParams::default(), &theirs)
        .await?;
    cluster.scale(4).await?;
    eventually("NameConflict names the claim", secs(40), || async {
        let message = told(inner, "NameConflict").await?;
        ensure!(message.contains(&name), "it says {message}");
        Ok(())
    })
    .await?;
    ensure!(
        inner.pods().get_opt(&format!("{NAME}-3")).await?.is_none(),
        "there is a pod that mounts it"
    );
    let now = inner.claims().get(&name).await?;
    ensure!(
        now.uid() == theirs.uid() && now.owner_references().is_empty(),
        "it was changed: {:?}",
        now.metadata
    );
    inner
        .claims()
        .delete(&name, &DeleteParams::default())
        .await?;
    cluster.settled(4).await
}

async fn resources(inner: &KubeCluster, resources: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"pod": {"resources": resources}}}));
    let clusters = inner.clusters();
    clusters
        .patch(NAME, &PatchParams::default(), &patch)
        .await
        .context("changing the resources")?;
    Ok(())
}

async fn refused(cluster: &Cluster, inner: &KubeCluster) -> Result<()> {
    let before = cluster.identities().await?;
    resources(inner, json!({"limits": {"memory": "16Mi"}})).await?;
    eventually("ApplyFailed says why", secs(40), || async {
        let message = told(inner, "ApplyFailed").await?;
        ensure!(
            message.contains("StatefulSet") && message.contains("memory"),
            "it says {message}"
        );
        Ok(())
    })
    .await?;
    let status = cluster.status().await?;
    let generation = inner.clusters().get(NAME).await?.metadata.generation;
    ensure!(
        status["observedGeneration"].as_i64() == generation,
        "{status}"
    );
    let after = cluster.identities().await?;
    ensure!(after == before, "pods were restarted for nothing");
    resources(inner, json!({"limits": null})).await?;
    eventually("the condition is gone", secs(40), || async {
        let still = told(inner, "ApplyFailed").await;
        ensure!(still.is_err(), "it says {still:?}");
        Ok(())
    })
    .await?;
    cluster.settled(4).await
}

async fn image(kube: &Kube) -> Result<()> {
    let namespace = kube.fresh_namespace().await?;
    let api: Api<_> = kube.api(&namespace);
    let over = json!({"nodes": 1, "replication": 1, "image": {"tag": "of-no-such-version"}});
    let spec = kube.with_image(&cluster_spec::spec(over));
    let object = serde_json::from_value(cluster_spec::cluster(NAME, &spec))?;
    api.create(&PostParams::default(), &object).await?;
    let cluster = kube.adopt(&namespace).await?;
    eventually(
        "the status says why nothing is formed",
        secs(60),
        || async {
            let message = told(&cluster, "Progressing").await?;
            ensure!(message.contains("Image"), "it says {message}");
            Ok(())
        },
    )
    .await?;
    let patch = Patch::Merge(json!({"spec": {"image": {"tag": kube.image_tag}}}));
    api.patch(NAME, &PatchParams::default(), &patch).await?;
    Cluster::Kube(cluster).settled(1).await
}
