//! Clusters on a real Kubernetes, run by the real operator from its real chart.
//!
//! The cluster is the context named by `E2E_CONTEXT`, or the one made by
//! `e2e/cluster/up.sh`; an exported `KUBECONFIG` alone is never used, since it may
//! be somebody's production.

mod forward;
mod host;
pub mod operator;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, PersistentVolumeClaim, Pod};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, LogParams, Patch,
    PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::Mutex as AsyncMutex;

pub use self::forward::{Forward, To, forward, get, is_ready};
use super::{Hurt, Node};
use crate::cluster_spec::{self as manifest, NAME};
use crate::program::repo;
use crate::wait::{eventually, secs};

/// The context of the cluster that `e2e/cluster/up.sh` makes.
const OURS: &str = "chord-e2e";
/// On everything that the suites make.
pub const LABEL: &str = "chord.storage/e2e";
const CLIENT_PORT: u16 = 8080;
const PEER_PORT: u16 = 8081;

/// A Kubernetes with our operator.
pub struct Kube {
    pub client: Client,
    /// For kubectl and helm.
    pub access: Access,
    pub image_tag: String,
    run: String,
    count: AtomicU32,
    clusters: Mutex<Vec<Arc<KubeCluster>>>,
    namespaces: Mutex<Vec<String>>,
}

/// How programs reach the cluster.
#[derive(Clone, Debug)]
pub struct Access {
    pub context: String,
    /// `None`: where kubectl finds it by itself.
    pub kubeconfig: Option<PathBuf>,
}

impl Access {
    /// The cluster to use; an error says why there is none.
    pub fn find() -> Result<Access> {
        let made = repo().join("target/cluster/kubeconfig");
        match std::env::var("E2E_CONTEXT").ok().filter(|c| !c.is_empty()) {
            Some(context) if context == OURS && made.is_file() => Ok(Access {
                context,
                kubeconfig: Some(made),
            }),
            Some(context) => Ok(Access {
                context,
                kubeconfig: None,
            }),
            None if made.is_file() => Ok(Access {
                context: OURS.into(),
                kubeconfig: Some(made),
            }),
            None => bail!(
                "there is no cluster: `make cluster` makes one (as root on Linux), or E2E_CONTEXT names one"
            ),
        }
    }

    async fn client(&self) -> Result<Client> {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)
                .with_context(|| format!("reading {}", path.display()))?,
            None => Kubeconfig::read().context("reading the kubeconfig")?,
        };
        let options = KubeConfigOptions {
            context: Some(self.context.clone()),
            ..Default::default()
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("the context {} cannot be used", self.context))?;
        config.proxy_url = None;
        Ok(Client::try_from(config)?)
    }
}

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
    forwards: AsyncMutex<BTreeMap<(u32, u16), Arc<Forward>>>,
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
        self.namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name.clone());
        Ok(name)
    }

    /// What every cluster gets beside what its suite wants: the images under test,
    /// and little enough of everything to fit on a small machine.
    pub fn with_image(&self, spec: &Value) -> Value {
        let mut all = json!({
            "image": {"repository": "docker.io/chord/chord-node", "tag": self.image_tag, "pullPolicy": "IfNotPresent"},
            "pod": {"resources": {"requests": {"cpu": "10m", "memory": "32Mi"}}},
        });
        manifest::merge(&mut all, spec.clone());
        all
    }

    pub async fn start(&self, spec: &Value) -> Result<Arc<KubeCluster>> {
        let namespace = self.fresh_namespace().await?;
        let api = self.api(&namespace);
        let object = serde_json::from_value(manifest::cluster(NAME, &self.with_image(spec)))?;
        api.create(&PostParams::default(), &object)
            .await
            .context("creating the ChordCluster")?;
        self.adopt(&namespace).await
    }

    /// A cluster that is in the namespace already.
    pub async fn adopt(&self, namespace: &str) -> Result<Arc<KubeCluster>> {
        let to = To::Ready(format!(
            "app.kubernetes.io/instance={NAME},app.kubernetes.io/component=node"
        ));
        let cluster = Arc::new(KubeCluster {
            client: self.client.clone(),
            namespace: namespace.to_string(),
            endpoint: forward(self.client.clone(), namespace, to, CLIENT_PORT).await?,
            forwards: AsyncMutex::default(),
        });
        self.clusters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&cluster));
        Ok(cluster)
    }

    pub fn api(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &chord_clusters())
    }

    /// kubectl, with a namespace and arguments.
    pub async fn kubectl(&self, args: &[&str]) -> Result<crate::program::Ran> {
        self.tool("kubectl", "--context", args).await
    }

    pub async fn helm(&self, args: &[&str]) -> Result<crate::program::Ran> {
        self.tool("helm", "--kube-context", args).await
    }

    async fn tool(&self, name: &str, context: &str, args: &[&str]) -> Result<crate::program::Ran> {
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
        crate::program::run(&crate::program::tool(name)?, &all, secs(180)).await
    }

    pub async fn clear(&self, keep: Option<&Path>) -> Result<()> {
        if let Some(keep) = keep {
            operator::keep_logs(self, keep).await;
            let clusters = self
                .clusters
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            for (n, cluster) in clusters.iter().enumerate() {
                if let Err(e) = cluster.keep(&keep.join(n.to_string())).await {
                    crate::tally::say(&format!(
                        "   the logs of {} could not be kept: {e:#}",
                        cluster.namespace
                    ));
                }
            }
        }
        self.clusters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        let namespaces = std::mem::take(
            &mut *self
                .namespaces
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let all: Api<Namespace> = Api::all(self.client.clone());
        for name in &namespaces {
            gone(all.delete(name, &DeleteParams::default()).await)?;
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

/// That something is gone already is no error.
pub fn gone<T>(result: kube::Result<T>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// The container of a pod that runs our program: which one it is.
fn identity(pod: &Pod) -> String {
    let restarts = pod
        .status
        .iter()
        .flat_map(|s| s.container_statuses.iter().flatten())
        .map(|c| c.restart_count);
    format!(
        "{} restarted {} times",
        pod.uid().unwrap_or_default(),
        restarts.sum::<i32>()
    )
}

/// Kills the process of a program in a pod, if it runs on this machine.
pub fn kill_in(pod: &Pod, program: &str) -> Result<bool> {
    let uid = pod.uid().context("a pod without a uid")?;
    let Some(pid) = host::process_of(&uid, program) else {
        return Ok(false);
    };
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("a process without a number")?;
    kill_process(pid, Signal::KILL).context("killing it")?;
    Ok(true)
}

impl KubeCluster {
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
        let selector =
            format!("app.kubernetes.io/instance={NAME},app.kubernetes.io/component=node");
        let pods = self
            .pods()
            .list(&ListParams::default().labels(&selector))
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

    pub async fn operator_identity(&self) -> Result<String> {
        Ok(identity(&operator::pod(&self.client).await?))
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
            Hurt::Kill => gone(pods.delete(&name, &at_once).await)?,
            Hurt::Stop => gone(pods.delete(&name, &DeleteParams::default()).await)?,
            Hurt::Lose => {
                let claim = format!("data-{name}");
                let old = self.claims().get(&claim).await?.uid();
                gone(self.claims().delete(&claim, &DeleteParams::default()).await)?;
                gone(pods.delete(&name, &at_once).await)?;
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
                    gone(pods.delete(&name, &at_once).await)?;
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
            return gone(maps.delete(&name, &DeleteParams::default()).await);
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
            .map(|folder| super::local::files_below(&folder))
            .transpose()
    }

    /// Writes down what tells what happened.
    async fn keep(&self, to: &Path) -> Result<()> {
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
        for pod in pods {
            let name = pod.name_any();
            for (suffix, previous) in [("log", false), ("previous.log", true)] {
                if let Ok(text) = self
                    .pods()
                    .logs(
                        &name,
                        &LogParams {
                            previous,
                            ..Default::default()
                        },
                    )
                    .await
                {
                    put(&format!("{name}.{suffix}"), text)?;
                }
            }
        }
        Ok(())
    }
}
