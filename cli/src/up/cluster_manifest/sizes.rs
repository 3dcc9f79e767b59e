//! How large a cluster is by its manifest.

use chord_operator::crd::ChordCluster;

/// How many nodes a cluster begins with, and how many there can be.
pub fn start_and_most(cluster: &ChordCluster) -> (u32, u32) {
    let nodes = cluster.spec.nodes;
    match &cluster.spec.autoscaling {
        // As the planner does it: the upper bound first.
        Some(auto) => (
            nodes.min(auto.max_nodes).max(auto.min_nodes),
            auto.max_nodes,
        ),
        None => (nodes, nodes),
    }
}

/// How large a cluster is, for people.
pub fn size(cluster: &ChordCluster) -> String {
    match &cluster.spec.autoscaling {
        Some(auto) => format!(
            "autoscaling, {} to {} nodes",
            auto.min_nodes, auto.max_nodes
        ),
        None => format!("{} nodes", cluster.spec.nodes),
    }
}

/// The drained ordinals of which there can be no node.
pub fn drained_in_vain(cluster: &ChordCluster) -> Vec<u32> {
    let (_, most) = start_and_most(cluster);
    let drained = cluster.spec.drained.iter();
    drained.copied().filter(|o| *o >= most).collect()
}
