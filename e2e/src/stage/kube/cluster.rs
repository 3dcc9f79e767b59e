//! A ChordCluster in a namespace of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch,
    PatchParams, PostParams,
};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::Mutex as AsyncMutex;

use super::forward::{Forward, To, forward};
use super::pods::{identity, is_ready, kill_in, save_logs, unless_missing};
use super::{host, operator};
use crate::cluster_spec::NAME;
use crate::stage::node::{Hurt, Node};
use crate::wait::{eventually, secs};

const CLIENT_PORT: u16 = 8080;
const PEER_PORT: u16 = 8081;
/// The labels of the pods of nodes.
const NODES: &str = "app.kubernetes.io/instance=files,app.kubernetes.io/component=node";

/// The custom resource, as an outsider sees it.
pub fn chord_clusters() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(
        "chord.storage",
        "v1alpha1",
        "ChordCluster",
    ))
}

/// A ChordCluster in a namespace of its own.
pub struct KubeCluster {
    pub client: Client,
    pub namespace: String,
    endpoint: Forward,
    /// tokio's mutex: a forward is made while it is held, so that there is one of each.
    forwards: AsyncMutex<BTreeMap<(u32, u16), Arc<Forward>>>,
}

impl KubeCluster {
    /// The ChordCluster of a namespace, with a way to its nodes.
    pub async fn adopt(client: Client, namespace: &str) -> Result<KubeCluster> {
        let to = To::Ready(NODES.to_string());
        Ok(KubeCluster {
            endpoint: forward(client.clone(), namespace, to, CLIENT_PORT).await?,
            client,
            namespace: namespace.to_string(),
            forwards: AsyncMutex::default(),
        })
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint.url
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn claims(&self) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn stateful_sets(&self) -> Api<StatefulSet> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn clusters(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &chord_clusters())
    }

    fn pod_name(ordinal: u32) -> String {
        format!("{NAME}-{ordinal}")
    }

    async fn node_pods(&self) -> Result<Vec<(u32, Pod)>> {
        let pods = self
            .pods()
            .list(&ListParams::default().labels(NODES))
            .await?
            .items;
        let ordinal = |pod: &Pod| {
            pod.name_any()
                .strip_prefix(&format!("{NAME}-"))?
                .parse()
                .ok()
        };
        let mut all: Vec<(u32, Pod)> = pods
            .into_iter()
            .filter_map(|pod| Some((ordinal(&pod)?, pod)))
            .collect();
        all.sort_by_key(|(ordinal, _)| *ordinal);
        Ok(all)
    }

    async fn url(&self, ordinal: u32, port: u16) -> Result<String> {
        let mut forwards = self.forwards.lock().await;
        if let Some(forward) = forwards.get(&(ordinal, port)) {
            return Ok(forward.url.clone());
        }
        let to = To::Pod(KubeCluster::pod_name(ordinal));
        let made = forward(self.client.clone(), &self.namespace, to, port).await?;
        let url = made.url.clone();
        forwards.insert((ordinal, port), Arc::new(made));
        Ok(url)
    }

    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        for (ordinal, pod) in self.node_pods().await? {
            if pod.metadata.deletion_timestamp.is_none() {
                nodes.push(Node {
                    ordinal,
                    name: pod.name_any(),
                    url: self.url(ordinal, CLIENT_PORT).await?,
                });
            }
        }
        Ok(nodes)
    }

    pub async fn peer_url(&self, ordinal: u32) -> Result<String> {
        self.url(ordinal, PEER_PORT).await
    }

    pub async fn identities(&self) -> Result<BTreeMap<u32, String>> {
        Ok(self
            .node_pods()
            .await?
            .into_iter()
            .map(|(ordinal, pod)| (ordinal, identity(&pod)))
            .collect())
    }

    pub async fn hurt(&self, ordinal: u32, how: Hurt) -> Result<()> {
        let name = KubeCluster::pod_name(ordinal);
        let pods = self.pods();
        let pod = pods.get(&name).await?;
        let before = identity(&pod);
        let at_once = DeleteParams {
            grace_period_seconds: Some(0),
            ..Default::default()
        };
        match how {
            Hurt::Kill if kill_in(&pod, "chord-node")? => {}
            // Elsewhere the nearest thing to it: no time to end, and no goodbye.
            Hurt::Kill => unless_missing(pods.delete(&name, &at_once).await)?,
            Hurt::Stop => unless_missing(pods.delete(&name, &DeleteParams::default()).await)?,
            Hurt::Lose => {
                let claim = format!("data-{name}");
                let old = self.claims().get(&claim).await?.uid();
                unless_missing(self.claims().delete(&claim, &DeleteParams::default()).await)?;
                unless_missing(pods.delete(&name, &at_once).await)?;
                eventually(
                    format!("the claim {claim} is gone or another"),
                    secs(60),
                    || async {
                        let now = self.claims().get_opt(&claim).await?;
                        ensure!(now.is_none_or(|c| c.uid() != old), "it is still there");
                        Ok(())
                    },
                )
                .await?;
                // A pod that came back in between waits for the old claim for ever.
                if pods.get_opt(&name).await?.is_some_and(|p| !is_ready(&p)) {
                    unless_missing(pods.delete(&name, &at_once).await)?;
                }
            }
        }
        eventually(format!("the pod {name} runs anew"), secs(90), || async {
            let pod = pods.get_opt(&name).await?.context("it is not there")?;
            ensure!(identity(&pod) != before, "it is the same as before");
            let running = pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
            ensure!(running, "it does not run yet");
            Ok(())
        })
        .await
    }

    pub async fn kill_operator(&self) -> Result<()> {
        operator::kill(&self.client).await
    }

    pub async fn scale(&self, nodes: u32) -> Result<()> {
        let change = json!({"spec": {"replicas": nodes}});
        self.clusters()
            .patch_scale(NAME, &PatchParams::default(), &Patch::Merge(change))
            .await?;
        Ok(())
    }

    pub async fn status(&self) -> Result<Value> {
        Ok(self.clusters().get_status(NAME).await?.data["status"].take())
    }

    fn view_name() -> String {
        format!("{NAME}-view")
    }

    pub async fn view_bytes(&self) -> Result<Option<Vec<u8>>> {
        let map = self
            .config_maps()
            .get_opt(&KubeCluster::view_name())
            .await?;
        Ok(map
            .and_then(|m| m.binary_data)
            .and_then(|mut d| d.remove("view"))
            .map(|b| b.0))
    }

    pub async fn copy_view(&self) -> Result<Vec<u8>> {
        let map = self.config_maps().get(&KubeCluster::view_name()).await?;
        Ok(serde_json::to_vec(
            &json!({"data": map.data, "binaryData": map.binary_data}),
        )?)
    }

    pub async fn put_view(&self, copy: Option<&[u8]>) -> Result<()> {
        let (maps, name) = (self.config_maps(), KubeCluster::view_name());
        let Some(copy) = copy else {
            return unless_missing(maps.delete(&name, &DeleteParams::default()).await);
        };
        let copy: ConfigMap = serde_json::from_slice(copy)?;
        // The operator may write in between: a restore by hand would try again too.
        eventually("the old copy is put back", secs(20), || async {
            let mut map = maps.get(&name).await?;
            map.data = copy.data.clone();
            map.binary_data = copy.binary_data.clone();
            maps.replace(&name, &PostParams::default(), &map).await?;
            Ok(())
        })
        .await
    }

    pub async fn disk_exists(&self, ordinal: u32) -> Result<bool> {
        let claim = format!("data-{}", KubeCluster::pod_name(ordinal));
        Ok(self.claims().get_opt(&claim).await?.is_some())
    }

    pub async fn chunk_files(&self, ordinal: u32) -> Result<Option<Vec<PathBuf>>> {
        let pod = self.pods().get(&KubeCluster::pod_name(ordinal)).await?;
        let folder = pod
            .uid()
            .and_then(|uid| host::process_of(&uid, "chord-node"))
            .and_then(|pid| host::folder_in(pid, "/data/chunks"));
        folder
            .map(|folder| crate::stage::process::files_below(&folder))
            .transpose()
    }

    /// Writes down what tells what happened.
    pub async fn keep(&self, to: &Path) -> Result<()> {
        std::fs::create_dir_all(to)?;
        let put = |name: &str, text: String| std::fs::write(to.join(name), text);
        put(
            "clusters.json",
            serde_json::to_string_pretty(&self.clusters().list(&Default::default()).await?)?,
        )?;
        put(
            "statefulsets.json",
            serde_json::to_string_pretty(&self.stateful_sets().list(&Default::default()).await?)?,
        )?;
        put(
            "claims.json",
            serde_json::to_string_pretty(&self.claims().list(&Default::default()).await?)?,
        )?;
        let pods = self.pods().list(&Default::default()).await?;
        put("pods.json", serde_json::to_string_pretty(&pods)?)?;
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events: Vec<String> = events
            .list(&Default::default())
            .await?
            .iter()
            .map(|e| {
                let object = e.involved_object.name.clone().unwrap_or_default();
                format!(
                    "{} {object}: {}",
                    e.reason.clone().unwrap_or_default(),
                    e.message.clone().unwrap_or_default()
                )
            })
            .collect();
        put("events.txt", events.join("\n"))?;
        save_logs(&self.pods(), to).await
    }
}
