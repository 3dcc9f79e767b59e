//! What the objects of a cluster are called and how they are labelled.

use std::collections::BTreeMap;

use chord_types::Ordinal;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use crate::crd::ChordCluster;

/// The field manager of everything that is applied, and the value of `managed-by`.
pub const MANAGER: &str = "chord-operator";
/// On pods: the revision that they run with.
pub const REVISION: &str = "chord.storage/revision";
/// On every object that is applied: the hash of what was applied.
pub const APPLIED: &str = "chord.storage/applied";
/// On a claim whose node has proven that nothing is left on it: which disk, at
/// which epoch.
pub const PROVEN_EMPTY: &str = "chord.storage/proven-empty";
/// Selects every object that this operator watches.
pub const WATCHED: &str = "app.kubernetes.io/managed-by=chord-operator";
/// The label that says who manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label with the version of the nodes' image.
pub const VERSION: &str = "app.kubernetes.io/version";
/// The label with the cluster's name, by which an object leads to its cluster.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// The port for clients.
pub const CLIENT_PORT: i32 = 8080;
/// The port for nodes and the operator.
pub const PEER_PORT: i32 = 8081;
/// The key of the cluster's secret, and the file's name in the pods.
pub const SECRET_KEY: &str = "secret";
/// Where the secret is mounted.
pub const SECRET_DIR: &str = "/etc/chord";

/// The names that are made from a cluster's name.
#[derive(Clone, Debug)]
pub struct Names {
    /// The cluster's name. The StatefulSet, the client Service, the ServiceAccount, the
    /// budget and the network policy are called so too.
    pub cluster: String,
    /// The cluster's namespace.
    pub namespace: String,
}

impl Names {
    /// The names of a cluster's objects.
    pub fn of(cluster: &ChordCluster) -> Names {
        Names {
            cluster: cluster.name_any(),
            namespace: cluster.namespace().unwrap_or_default(),
        }
    }
    /// The headless Service.
    pub fn nodes_service(&self) -> String {
        format!("{}-nodes", self.cluster)
    }
    /// The ConfigMap with the view.
    pub fn view(&self) -> String {
        format!("{}-view", self.cluster)
    }
    /// The Secret.
    pub fn secret(&self) -> String {
        format!("{}-secret", self.cluster)
    }
    /// The pod at an ordinal.
    pub fn pod(&self, ordinal: Ordinal) -> String {
        format!("{}-{ordinal}", self.cluster)
    }
    /// The claim at an ordinal.
    pub fn claim(&self, ordinal: Ordinal) -> String {
        format!("data-{}-{ordinal}", self.cluster)
    }
}

/// The labels by which the pods are selected; they never change.
pub fn selector_labels(cluster: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".into(), "chord".into()),
        (INSTANCE.into(), cluster.into()),
        ("app.kubernetes.io/component".into(), "node".into()),
    ])
}

/// The same as text, for the scale subresource.
pub fn selector_text(cluster: &str) -> String {
    selector_labels(cluster)
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// The same as a selector.
pub fn selector(cluster: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(selector_labels(cluster)),
        ..Default::default()
    }
}

/// Labels that stay the same for a cluster's life: of claims, whose template can
/// never be changed.
pub fn lasting_labels(cluster: &str) -> BTreeMap<String, String> {
    let mut labels = selector_labels(cluster);
    labels.insert("app.kubernetes.io/part-of".into(), "chord".into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels
}

/// All six labels. The version is that of the nodes' image, so that another
/// operator changes none.
pub fn labels(cluster: &str, image: &str) -> BTreeMap<String, String> {
    let mut labels = lasting_labels(cluster);
    labels.insert(VERSION.into(), version_label(image));
    labels
}

/// The tag of an image as a label's value.
fn version_label(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let tag = match name.split_once('@') {
        Some((_, digest)) => digest.trim_start_matches("sha256:"),
        None => name.split_once(':').map_or("latest", |(_, tag)| tag),
    };
    let tag: String = tag
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    tag.trim_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_string()
}

/// The reference by which a child belongs to its cluster.
pub fn owner_reference(cluster: &ChordCluster) -> Option<OwnerReference> {
    cluster.controller_owner_ref(&())
}

/// Whether an object is the cluster's own.
pub fn is_owned(meta: &ObjectMeta, cluster_uid: &str) -> bool {
    meta.owner_references
        .iter()
        .flatten()
        .any(|o| o.controller == Some(true) && o.uid == cluster_uid)
}

/// Whether an object says by its labels that it was made for a cluster.
pub fn is_labelled(meta: &ObjectMeta, cluster: &str) -> bool {
    let label = |key: &str| meta.labels.as_ref()?.get(key).map(String::as_str);
    label(INSTANCE) == Some(cluster) && label(MANAGED_BY) == Some(MANAGER)
}

/// The metadata of a child.
pub fn meta(cluster: &ChordCluster, name: String, image: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: cluster.namespace(),
        labels: Some(labels(&cluster.name_any(), image)),
        owner_references: owner_reference(cluster).map(|o| vec![o]),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_version_is_a_valid_label() {
        for (image, label) in [
            ("docker.io/chord/chord-node:0.2.0", "0.2.0"),
            ("localhost:5000/chord-node", "latest"),
            ("r/chord-node:v1+x_", "v1-x"),
            ("r/chord-node@sha256:abcdef", "abcdef"),
        ] {
            assert_eq!(version_label(image), label, "{image}");
        }
        assert_eq!(version_label(&format!("r/n:{}", "a".repeat(100))).len(), 63);
    }

    #[test]
    fn an_object_is_ours_by_both_labels() {
        let labelled = |labels: BTreeMap<String, String>| {
            let meta = ObjectMeta {
                labels: Some(labels),
                ..Default::default()
            };
            is_labelled(&meta, "files")
        };
        let one = |key: &str, value: &str| BTreeMap::from([(key.to_string(), value.to_string())]);
        assert!(labelled(lasting_labels("files")));
        assert!(!labelled(lasting_labels("other")));
        assert!(
            !labelled(one(INSTANCE, "files")),
            "a chart of that name labels its objects so too"
        );
        assert!(!labelled(one(MANAGED_BY, MANAGER)));
        assert!(!is_labelled(&ObjectMeta::default(), "files"));
    }
}
