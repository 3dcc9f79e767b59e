//! Manifests that must be refused, with the place that is wrong, before anything
//! happens; and the one that looks wrong and is not.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster_spec::{self, NAME};
use crate::program::{binary, run as run_program};
use crate::stage::Stage;
use crate::stage::kube::Kube;
use crate::stage::local::Local;
use crate::suite::Ctx;
use crate::wait::{eventually, secs};

/// What is wrong, the manifest, and what the refusal must name.
fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    let with = |over: Value| cluster_spec::cluster(NAME, &cluster_spec::spec(over));
    let named = |name: &str| cluster_spec::cluster(name, &cluster_spec::spec(json!({})));
    let scaling = |over: Value| {
        let mut all = json!({"minNodes": 3, "maxNodes": 5});
        cluster_spec::merge(&mut all, over);
        with(json!({"autoscaling": all}))
    };
    vec![
        (
            "replication 0",
            with(json!({"replication": 0})),
            "replication",
        ),
        (
            "replication 10",
            with(json!({"nodes": 20, "replication": 10})),
            "replication",
        ),
        (
            "replication above nodes",
            with(json!({"nodes": 3, "replication": 4})),
            "replication",
        ),
        ("no nodes", with(json!({"nodes": 0})), "nodes"),
        ("an unknown field", with(json!({"replicas": 3})), "replicas"),
        (
            "an unknown field further down",
            with(json!({"storage": {"sise": "1Gi"}})),
            "sise",
        ),
        ("min above max", scaling(json!({"minNodes": 6})), "minNodes"),
        (
            "min below replication",
            scaling(json!({"minNodes": 2})),
            "minNodes",
        ),
        (
            "thresholds the wrong way round",
            scaling(json!({"diskUsage": {"scaleOutAbove": 30, "scaleInBelow": 40}})),
            "scaleInBelow",
        ),
        ("a name that is too long", named(&"a".repeat(41)), "name"),
        ("a name in capitals", named("Files"), "name"),
        ("a name that starts with a digit", named("1files"), "name"),
        (
            "chunks that are too small",
            with(json!({"chunkSize": "63Ki"})),
            "chunkSize",
        ),
        (
            "chunks that are too big",
            with(json!({"chunkSize": "65Mi"})),
            "chunkSize",
        ),
        (
            "a duration without a unit",
            with(json!({"migrateEvery": "10"})),
            "migrateEvery",
        ),
        (
            "a duration that is none",
            with(json!({"repairAfter": "soon"})),
            "repairAfter",
        ),
        (
            "a volume that is no quantity",
            with(json!({"storage": {"size": "big"}})),
            "size",
        ),
        (
            "a word where a number belongs",
            with(json!({"nodes": "three"})),
            "nodes",
        ),
    ]
}

pub async fn run(ctx: Ctx) -> Result<()> {
    match &ctx.stage {
        Stage::Local(local) => on_this_machine(&ctx, local).await,
        Stage::Kube(kube) => on_kubernetes(&ctx, kube).await,
    }
}

async fn on_this_machine(ctx: &Ctx, local: &Local) -> Result<()> {
    let beside = local.place()?;
    for (what, manifest, names) in wrong() {
        let _ = ctx
            .cases
            .case(
                &format!("{what} is refused, and nothing is started"),
                async {
                    let (file, dir) = (beside.join("wrong.yaml"), beside.join("nothing"));
                    std::fs::write(&file, serde_yaml::to_string(&manifest)?)?;
                    refused(&file, &dir, names).await?;
                    ensure!(!dir.exists(), "the folder was made all the same");
                    Ok(())
                },
            )
            .await;
    }
    let size = |size: &str| {
        cluster_spec::spec(json!({"nodes": 1, "replication": 1, "storage": {"size": size}}))
    };
    let write = |size_text: &str| -> Result<std::path::PathBuf> {
        let file = beside.join(format!("{size_text}.yaml"));
        std::fs::write(
            &file,
            serde_yaml::to_string(&cluster_spec::cluster(NAME, &size(size_text)))?,
        )?;
        Ok(file)
    };
    ctx.cases
        .case(
            "a volume that shrinks is refused, and the same size in other units is not",
            async {
                let cluster = local.up(&beside, Some(&write("10Gi")?)).await?;
                cluster.stop().await?;
                refused(&write("9Gi")?, cluster.dir(), "size").await?;
                let cluster = local.up(&beside, Some(&write("10240Mi")?)).await?;
                cluster.stop().await
            },
        )
        .await?;
    Ok(())
}

async fn refused(file: &std::path::Path, dir: &std::path::Path, names: &str) -> Result<()> {
    let (file, dir) = (file.display().to_string(), dir.display().to_string());
    let args = ["up", "-f", &file, "--dir", &dir, "--port", "0"];
    let ran = run_program(&binary("chord")?, &args, secs(20))
        .await?
        .expect(2)?;
    ensure!(
        ran.stderr.contains(&file) && ran.stderr.contains(names),
        "it is told like this: {}",
        ran.stderr.trim()
    );
    Ok(())
}

async fn on_kubernetes(ctx: &Ctx, kube: &Kube) -> Result<()> {
    let namespace = kube.fresh_namespace().await?;
    let api = kube.api(&namespace);
    for (what, manifest, names) in wrong() {
        let _ = ctx
            .cases
            .case(&format!("{what} is refused by the API server"), async {
                // kubectl asks for strict validation of fields; so does this.
                let ran = apply(kube, &namespace, &manifest).await?;
                ensure!(ran.code != Some(0), "it was accepted");
                ensure!(
                    ran.stderr.contains(names),
                    "it is told like this: {}",
                    ran.stderr.trim()
                );
                ensure!(
                    api.list(&Default::default()).await?.items.is_empty(),
                    "a ChordCluster is there"
                );
                Ok(())
            })
            .await;
    }
    let cases = &ctx.cases;
    let _ = cases
        .case("a volume that shrinks is refused, and the same size in other units is not", async {
            let spec = json!({"nodes": 1, "replication": 1, "paused": true, "storage": {"size": "10Gi"}});
            let object = serde_json::from_value(cluster_spec::cluster("sizes", &cluster_spec::spec(spec)))?;
            api.create(&PostParams::default(), &object).await?;
            let size = async |size: &str| {
                let patch = Patch::Merge(json!({"spec": {"storage": {"size": size}}}));
                api.patch("sizes", &PatchParams::default(), &patch).await
            };
            match size("9Gi").await {
                Err(kube::Error::Api(e)) => ensure!(e.message.contains("shrink"), "it is told like this: {}", e.message),
                other => bail!("9Gi after 10Gi was answered by {:?}", other.map(|o| o.name_any())),
            }
            size("10240Mi").await.context("10240Mi is 10Gi")?;
            size("11Gi").await.context("a volume may grow")?;
            for (field, change) in [
                ("className", json!({"storage": {"className": "other"}})),
                ("tokensPerNode", json!({"ring": {"tokensPerNode": 8}})),
            ] {
                let patch = Patch::Merge(json!({"spec": change}));
                match api.patch("sizes", &PatchParams::default(), &patch).await {
                    Err(kube::Error::Api(e)) => ensure!(e.message.contains(field), "{}", e.message),
                    _ => bail!("another {field} was accepted"),
                }
            }
            Ok(())
        })
        .await;
    let _ = cases
        .case(
            "a Service of that name that is somebody else's is left alone, with NameConflict",
            conflict(kube),
        )
        .await;
    Ok(())
}

async fn apply(kube: &Kube, namespace: &str, manifest: &Value) -> Result<crate::program::Ran> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), serde_json::to_vec(manifest)?)?;
    let path = file.path().display().to_string();
    kube.kubectl(&["-n", namespace, "apply", "--validate=strict", "-f", &path])
        .await
}

async fn conflict(kube: &Kube) -> Result<()> {
    let namespace = kube.fresh_namespace().await?;
    let services: Api<Service> = Api::namespaced(kube.client.clone(), &namespace);
    let theirs: Service = serde_json::from_value(json!({
        "metadata": {"name": NAME, "labels": {"whose": "theirs"}},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    }))?;
    let theirs = services.create(&PostParams::default(), &theirs).await?;
    let api = kube.api(&namespace);
    let spec = kube.with_image(&cluster_spec::spec(json!({"nodes": 1, "replication": 1})));
    let object = serde_json::from_value(cluster_spec::cluster(NAME, &spec))?;
    api.create(&PostParams::default(), &object).await?;
    eventually("the condition NameConflict is true", secs(40), || async {
        let status = api.get_status(NAME).await?.data["status"].take();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions
            .iter()
            .find(|c| c["type"] == "NameConflict" && c["status"] == "True");
        let found = found.with_context(|| format!("the conditions are {conditions:?}"))?;
        ensure!(
            found["message"].as_str().is_some_and(|m| m.contains(NAME)),
            "it says {}",
            found["message"]
        );
        Ok(())
    })
    .await?;
    let now = services.get(NAME).await?;
    ensure!(
        now.resource_version() == theirs.resource_version(),
        "the Service was changed: {:?}",
        now.metadata
    );
    Ok(())
}
