//! The operator's chart: installed once for a run, and taken away again with everything
//! it brought.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::kubernetes::{Kube, LABEL};
use super::operator::NAMESPACE;
use super::pods::unless_missing;
use crate::program::repo;

/// What the release is called.
pub const RELEASE: &str = "chord-operator";
/// The custom resource.
pub const CRD: &str = "chordclusters.chord.storage";

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
        unless_missing(all.delete(NAMESPACE, &DeleteParams::default()).await)?;
    }
    if let Some(found) = definitions(&kube.client).get_opt(CRD).await?
        && found.labels().contains_key(LABEL)
    {
        unless_missing(
            definitions(&kube.client)
                .delete(CRD, &DeleteParams::default())
                .await,
        )?;
    }
    Ok(())
}
