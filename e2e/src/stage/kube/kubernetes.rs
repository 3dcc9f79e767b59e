//! A Kubernetes with our operator: namespaces, clusters in them, kubectl and helm.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::access::Access;
use super::cluster::{KubeCluster, chord_clusters};
use super::operator;
use super::pods::unless_missing;
use crate::cluster_spec::{self, NAME};
use crate::program::{Ran, run, tool};
use crate::tally::print_line;
use crate::wait::{eventually, secs};

/// On everything that the suites make.
pub const LABEL: &str = "chord.storage/e2e";

/// A Kubernetes with our operator.
pub struct Kube {
    pub client: Client,
    /// For kubectl and helm.
    pub access: Access,
    pub image_tag: String,
    run: String,
    count: AtomicU32,
    /// parking_lot's mutexes, and not tokio's: nothing is awaited while they are held.
    clusters: Mutex<Vec<Arc<KubeCluster>>>,
    namespaces: Mutex<Vec<String>>,
}

impl Kube {
    /// Connects; changes nothing.
    pub async fn connect(image_tag: &str) -> Result<Kube> {
        let access = Access::find()?;
        let client = access.client().await?;
        client
            .apiserver_version()
            .await
            .with_context(|| format!("the context {} does not answer", access.context))?;
        // Fresh each time: a name that no other run has.
        let run = format!("{:x}", rand::random::<u32>());
        Ok(Kube {
            client,
            access,
            image_tag: image_tag.to_string(),
            run,
            count: AtomicU32::new(0),
            clusters: Mutex::default(),
            namespaces: Mutex::default(),
        })
    }

    /// A namespace that nobody else has.
    pub async fn fresh_namespace(&self) -> Result<String> {
        let name = format!(
            "chord-e2e-{}-{}",
            self.run,
            self.count.fetch_add(1, Ordering::Relaxed)
        );
        let namespace: Namespace = serde_json::from_value(
            json!({"metadata": {"name": name, "labels": {LABEL: "suite"}}}),
        )?;
        let all: Api<Namespace> = Api::all(self.client.clone());
        all.create(&PostParams::default(), &namespace)
            .await
            .context("making a namespace")?;
        self.namespaces.lock().push(name.clone());
        Ok(name)
    }

    /// What every cluster gets beside what its suite wants: the images under test,
    /// and little enough of everything to fit on a small machine.
    pub fn with_image(&self, spec: &Value) -> Value {
        let mut all = json!({
            "image": {"repository": "docker.io/chord/chord-node", "tag": self.image_tag, "pullPolicy": "IfNotPresent"},
            "pod": {"resources": {"requests": {"cpu": "10m", "memory": "32Mi"}}},
        });
        cluster_spec::merge(&mut all, spec.clone());
        all
    }

    pub async fn start(&self, spec: &Value) -> Result<Arc<KubeCluster>> {
        let namespace = self.fresh_namespace().await?;
        let api = self.api(&namespace);
        let object = serde_json::from_value(cluster_spec::cluster(NAME, &self.with_image(spec)))?;
        api.create(&PostParams::default(), &object)
            .await
            .context("creating the ChordCluster")?;
        self.adopt(&namespace).await
    }

    /// A cluster that is in the namespace already.
    pub async fn adopt(&self, namespace: &str) -> Result<Arc<KubeCluster>> {
        let cluster = Arc::new(KubeCluster::adopt(self.client.clone(), namespace).await?);
        self.clusters.lock().push(Arc::clone(&cluster));
        Ok(cluster)
    }

    pub fn api(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &chord_clusters())
    }

    /// kubectl, with a namespace and arguments.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Ran> {
        self.tool("kubectl", "--context", args).await
    }

    pub async fn helm(&self, args: &[&str]) -> Result<Ran> {
        self.tool("helm", "--kube-context", args).await
    }

    async fn tool(&self, name: &str, context: &str, args: &[&str]) -> Result<Ran> {
        let mut all = vec![context, self.access.context.as_str()];
        let path = self
            .access
            .kubeconfig
            .as_ref()
            .map(|p| p.display().to_string());
        if let Some(path) = &path {
            all.extend(["--kubeconfig", path]);
        }
        all.extend(args);
        run(&tool(name)?, &all, secs(180)).await
    }

    pub async fn clear(&self, keep: Option<&Path>) -> Result<()> {
        if let Some(keep) = keep {
            operator::keep_logs(&self.client, keep).await;
            let clusters = self.clusters.lock().clone();
            for (n, cluster) in clusters.iter().enumerate() {
                if let Err(e) = cluster.keep(&keep.join(n.to_string())).await {
                    print_line(&format!(
                        "   the logs of {} could not be kept: {e:#}",
                        cluster.namespace
                    ));
                }
            }
        }
        self.clusters.lock().clear();
        let namespaces = std::mem::take(&mut *self.namespaces.lock());
        let all: Api<Namespace> = Api::all(self.client.clone());
        for name in &namespaces {
            unless_missing(all.delete(name, &DeleteParams::default()).await)?;
        }
        for name in namespaces {
            // The next suite needs the room.
            eventually(
                format!("the namespace {name} is gone"),
                secs(120),
                || async {
                    ensure!(all.get_opt(&name).await?.is_none(), "it is still there");
                    Ok(())
                },
            )
            .await?;
        }
        Ok(())
    }
}
