//! Manifests that a test gives.

use chord_operator::crd::{ChordCluster, parse_cluster_manifest};

/// Of the cluster `files`.
pub fn manifest(spec: &str) -> ChordCluster {
    named("files", spec)
}

/// Of a cluster of this name.
pub fn named(name: &str, spec: &str) -> ChordCluster {
    let head = "apiVersion: chord.storage/v1alpha1\nkind: ChordCluster\n";
    parse_cluster_manifest(&format!("{head}metadata: {{name: {name}}}\nspec: {spec}\n")).unwrap()
}
