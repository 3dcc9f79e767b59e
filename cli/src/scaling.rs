//! When a number of nodes that is asked for by hand is obeyed: the same rules under
//! `chord up` and on Kubernetes.

use chord_operator::crd::{ChordCluster, ChordClusterStatus};

/// How many nodes an operator that has seen this manifest wants, while nothing
/// keeps it from what it wants.
pub fn desired_now(cluster: &ChordCluster, status: &ChordClusterStatus) -> Option<u32> {
    let seen = cluster.metadata.generation == Some(status.observed_generation);
    let free = matches!(status.phase.as_str(), "Ready" | "ScalingOut" | "ScalingIn");
    (seen && free).then_some(status.desired_nodes)
}

/// Why a cluster cannot be scaled to so many nodes; `desired` is how many the operator
/// wants now, where that is known. `None`: nothing is against it.
pub fn refusal(cluster: &ChordCluster, nodes: u32, desired: Option<u32>) -> Option<String> {
    let spec = &cluster.spec;
    if spec.autoscaling.is_some() {
        return Some("autoscaling decides how many nodes there are: change its bounds in the manifest, or take spec.autoscaling out of it".to_string());
    }
    if (1..u32::from(spec.replication)).contains(&nodes) {
        return Some(format!("{} copies need as many nodes", spec.replication));
    }
    match desired {
        Some(kept) if spec.nodes == nodes && kept != nodes => Some(format!(
            "nodes is {nodes} in its manifest already, and not obeyed since autoscaling was \
             taken out: the {kept} nodes that there are stay until it changes; scale to {kept} \
             first, then to {nodes}"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster(spec: serde_json::Value) -> ChordCluster {
        let mut cluster = ChordCluster::new("files", serde_json::from_value(spec).unwrap());
        cluster.metadata.generation = Some(2);
        cluster
    }

    #[test]
    fn what_is_against_a_number_is_said() {
        let plain = cluster(json!({"nodes": 4}));
        assert_eq!(refusal(&plain, 5, Some(4)), None);
        assert_eq!(refusal(&plain, 4, None), None);
        let why =
            |cluster: &ChordCluster, nodes, desired| refusal(cluster, nodes, desired).unwrap();
        assert!(why(&plain, 2, None).contains("3 copies"));
        assert!(why(&plain, 4, Some(3)).contains("scale to 3"));
        let automatic = cluster(json!({"autoscaling": {"minNodes": 3, "maxNodes": 5}}));
        assert!(why(&automatic, 5, None).contains("autoscaling decides"));
    }

    #[test]
    fn what_an_operator_wants_counts_once_it_has_seen_the_manifest() {
        let cluster = cluster(json!({"nodes": 4}));
        let status = |observed_generation, phase: &str| ChordClusterStatus {
            observed_generation,
            phase: phase.into(),
            desired_nodes: 7,
            ..ChordClusterStatus::default()
        };
        assert_eq!(desired_now(&cluster, &status(2, "Ready")), Some(7));
        assert_eq!(desired_now(&cluster, &status(1, "Ready")), None);
        assert_eq!(desired_now(&cluster, &status(2, "Degraded")), None);
    }
}
