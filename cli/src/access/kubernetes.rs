//! `kubectl chord`: finding a ChordCluster through the current context, reaching
//! one of its nodes, and changing what is wanted of it.
//!
//! What is wanted is changed in the ChordCluster alone; the operator does the rest
//! under its own safety.

use std::collections::BTreeMap;

use chord_api::causes::innermost;
use chord_operator::crd::{ChordCluster, REPLACE_ANNOTATION};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;

use super::forward::{Forward, forward};
use crate::failure::{Code, Failure};
use crate::scaling;

/// The port on which nodes serve clients.
const CLIENT_PORT: u16 = 8080;

/// Which ChordCluster the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    pub namespace: Option<String>,
    pub cluster: Option<String>,
    pub context: Option<String>,
}

/// A ChordCluster that was found.
pub struct Cluster {
    client: Client,
    namespace: String,
    resource: ChordCluster,
}

impl Cluster {
    /// Finds the cluster by its name, or as the only one of its namespace.
    pub async fn find(selector: &Selector) -> Result<Cluster, Failure> {
        let options = KubeConfigOptions {
            context: selector.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match Kubeconfig::read() {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|e| e.to_string()),
            Err(e) if selector.context.is_some() => Err(e.to_string()),
            Err(_) => Config::infer().await.map_err(|e| e.to_string()),
        };
        let config = config.map_err(|e| {
            Failure::new(
                Code::Unavailable,
                format!(
                    "cannot find a Kubernetes cluster: {e}: check the kubeconfig and its context"
                ),
            )
        })?;
        let namespace = selector
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client =
            Client::try_from(config).map_err(|e| kube_failure("connect to Kubernetes", &e))?;
        let clusters: Api<ChordCluster> = Api::namespaced(client.clone(), &namespace);
        let resource = match &selector.cluster {
            Some(name) => clusters.get(name).await.map_err(|e| {
                kube_failure(
                    &format!("find the ChordCluster {name:?} in the namespace {namespace:?}"),
                    &e,
                )
            })?,
            None => {
                let found = clusters
                    .list(&ListParams::default().limit(50))
                    .await
                    .map_err(|e| {
                        kube_failure(
                            &format!("list the ChordClusters of the namespace {namespace:?}"),
                            &e,
                        )
                    })?;
                the_only_one(found.items, &namespace)?
            }
        };
        Ok(Cluster {
            client,
            namespace,
            resource,
        })
    }

    /// The resource as it was when it was found.
    pub fn resource(&self) -> &ChordCluster {
        &self.resource
    }

    /// A way to the client port of a node, a ready one where there is one.
    pub async fn forward(&self) -> Result<Forward, Failure> {
        let name = self.resource.name_any();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = self
            .resource
            .status
            .as_ref()
            .map(|s| s.selector.clone())
            .unwrap_or_default();
        let found = pods
            .list(&ListParams::default().labels(&selector))
            .await
            .map_err(|e| kube_failure(&format!("list the pods of {name:?}"), &e))?;
        let pod = best_pod(&found.items, &name).ok_or_else(|| {
            Failure::new(
                Code::Unavailable,
                format!(
                    "no pod of the ChordCluster {name:?} runs in the namespace {:?}",
                    self.namespace
                ),
            )
        })?;
        forward(self.client.clone(), &self.namespace, &pod, CLIENT_PORT)
            .await
            .map_err(|e| {
                Failure::failed(format!(
                    "cannot listen on loopback to forward to the pod {pod}: {e}"
                ))
            })
    }

    /// Sets the number of nodes; not while autoscaling decides it.
    pub async fn scale(&self, nodes: u32) -> Result<(), Failure> {
        let status = self.resource.status.as_ref();
        let desired = status.and_then(|status| scaling::desired_now(&self.resource, status));
        if let Some(why) = scaling::refusal(&self.resource, nodes, desired) {
            return Err(Failure::new(
                Code::Precondition,
                format!("cannot scale the cluster: {why}"),
            ));
        }
        self.patch("scale the cluster", json!({"spec": {"nodes": nodes}}))
            .await
    }

    /// Below this number all nodes have their ordinals.
    pub fn most_nodes(&self) -> u32 {
        let (spec, status) = (&self.resource.spec, self.resource.status.as_ref());
        let drained = u32::try_from(spec.drained.len()).unwrap_or(0);
        let known = status.map_or(0, |status| status.nodes.max(status.desired_nodes));
        spec.nodes.max(known.saturating_add(drained))
    }

    /// Drains a node, or takes that back.
    pub async fn drain(&self, ordinal: u32, drain: bool) -> Result<(), Failure> {
        let mut drained = self.resource.spec.drained.clone();
        if ordinal >= self.most_nodes() && !drained.contains(&ordinal) {
            return Err(Failure::new(
                Code::NotFound,
                format!("the cluster has no node {ordinal}"),
            ));
        }
        if drain {
            drained.insert(ordinal);
        } else {
            drained.remove(&ordinal);
        }
        self.patch("drain the node", json!({"spec": {"drained": drained}}))
            .await
    }

    /// Gives a disk up as lost, or takes that back.
    pub async fn replace(&self, disk: &str, replace: bool) -> Result<(), Failure> {
        let given_up = self.resource.annotations().get(REPLACE_ANNOTATION);
        if !replace && given_up.map(String::as_str) != Some(disk) {
            return Err(Failure::new(
                Code::NotFound,
                format!("the disk {disk} is not given up"),
            ));
        }
        let annotations = BTreeMap::from([(REPLACE_ANNOTATION, replace.then_some(disk))]);
        self.patch(
            "replace the disk",
            json!({"metadata": {"annotations": annotations}}),
        )
        .await
    }

    /// Changes the resource as it was read: were it changed since, what was decided
    /// from it may not hold.
    async fn patch(&self, doing: &str, mut change: serde_json::Value) -> Result<(), Failure> {
        change["metadata"]["resourceVersion"] = json!(self.resource.resource_version());
        change["metadata"]["uid"] = json!(self.resource.uid());
        let clusters: Api<ChordCluster> = Api::namespaced(self.client.clone(), &self.namespace);
        clusters
            .patch(
                &self.resource.name_any(),
                &PatchParams::default(),
                &Patch::Merge(change),
            )
            .await
            .map(|_| ())
            .map_err(|e| kube_failure(doing, &e))
    }
}

/// The only cluster of a namespace.
fn the_only_one(mut found: Vec<ChordCluster>, namespace: &str) -> Result<ChordCluster, Failure> {
    match (found.pop(), found.as_slice()) {
        (None, _) => Err(Failure::new(
            Code::NotFound,
            format!(
                "there is no ChordCluster in the namespace {namespace:?}: name another with -n"
            ),
        )),
        (Some(one), []) => Ok(one),
        (Some(one), others) => {
            let mut names: Vec<String> =
                others.iter().chain([&one]).map(|c| c.name_any()).collect();
            names.sort();
            Err(Failure::usage(format!(
                "there are several ChordClusters in the namespace {namespace:?} ({}): choose one with --cluster",
                names.join(", ")
            )))
        }
    }
}

/// The pod to talk to: a ready one, else one that runs.
fn best_pod(pods: &[Pod], cluster: &str) -> Option<String> {
    let ours = |pod: &&Pod| {
        let owner = pod
            .owner_references()
            .iter()
            .any(|o| o.kind == "StatefulSet" && o.name == cluster);
        owner && pod.metadata.deletion_timestamp.is_none()
    };
    let rank = |pod: &Pod| {
        let status = pod.status.as_ref();
        let running = status.and_then(|s| s.phase.as_deref()) == Some("Running");
        let ready = status
            .and_then(|s| s.conditions.as_ref())
            .is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
        (running, ready)
    };
    pods.iter()
        .filter(ours)
        .filter(|pod| rank(pod).0)
        .max_by_key(|pod| rank(pod))
        .map(|pod| pod.name_any())
}

/// An error of Kubernetes as a failure with the fitting exit code.
fn kube_failure(doing: &str, error: &kube::Error) -> Failure {
    let (code, why) = match error {
        kube::Error::Api(status) => {
            let code = match status.code {
                404 => Code::NotFound,
                409 | 412 => Code::Precondition,
                400 | 422 => Code::Usage,
                429 | 500..=599 => Code::Unavailable,
                _ => Code::Failed,
            };
            (code, status.message.clone())
        }
        other => (Code::Unavailable, innermost(other)),
    };
    Failure::new(code, format!("cannot {doing}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, owner: &str, phase: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": owner, "uid": "u"}]},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_ready_pod_of_this_cluster_is_chosen() {
        let pods = [
            pod("other-0", "other", "Running", "True"),
            pod("files-0", "files", "Running", "False"),
            pod("files-1", "files", "Running", "True"),
            pod("files-2", "files", "Pending", "False"),
        ];
        assert_eq!(best_pod(&pods, "files").as_deref(), Some("files-1"));
        assert_eq!(best_pod(&pods[..2], "files").as_deref(), Some("files-0"));
        assert_eq!(best_pod(&pods[3..], "files"), None);
    }

    #[test]
    fn the_only_cluster_needs_no_name_and_of_several_one_is_to_be_named() {
        let cluster = |name: &str| ChordCluster::new(name, Default::default());
        assert_eq!(
            the_only_one(vec![cluster("a")], "n").unwrap().name_any(),
            "a"
        );
        assert_eq!(
            the_only_one(vec![], "n").unwrap_err().code(),
            Some(Code::NotFound)
        );
        let failure = the_only_one(vec![cluster("b"), cluster("a")], "n").unwrap_err();
        assert_eq!(failure.code(), Some(Code::Usage));
        assert!(failure.to_string().contains("a, b"));
    }
}
