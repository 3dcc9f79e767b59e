//! What the objects depend on beside the resource.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodCondition};

use crate::kube::observe::objects::Seen;

/// What the objects depend on beside the resource.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Pods of the StatefulSet.
    pub replicas: u32,
    /// Size in the StatefulSet's claim template, which cannot be changed.
    pub claim_size: String,
    /// How many pods may be unavailable, those counted that are so already.
    pub may_be_unavailable: u32,
    /// The namespace that the operator runs in, where it is known.
    pub operator_namespace: Option<String>,
}

/// How many of a StatefulSet's pods its budget lets be unavailable, so that `allowed`
/// may be evicted. Kubernetes subtracts those that are not ready, and does not know
/// that some of them matter to nobody: nodes that were drained, wait to join, or were
/// given up.
pub fn may_be_unavailable(allowed: u32, replicas: u32, seen: &Seen) -> u32 {
    if allowed == 0 {
        return 0;
    }
    let ready = |pod: &&Arc<Pod>| {
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
        let says = |c: &PodCondition| c.type_ == "Ready" && c.status == "True";
        pod.metadata.deletion_timestamp.is_none() && conditions.is_some_and(|c| c.iter().any(says))
    };
    let ready = seen.pods.values().filter(ready).count();
    allowed + replicas.saturating_sub(u32::try_from(ready).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use chord_types::Ordinal;
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_that_matter_to_nobody_do_not_use_up_the_budget() {
        let pod = |ready: &str| {
            let pod = json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
            Arc::new(serde_json::from_value::<Pod>(pod).unwrap())
        };
        let seen = |ready: &[&str]| Seen {
            pods: (0..)
                .map(Ordinal)
                .zip(ready.iter().map(|r| pod(r)))
                .collect(),
            ..Seen::default()
        };
        let all = seen(&["True", "True", "True"]);
        assert_eq!(may_be_unavailable(1, 3, &all), 1);
        assert_eq!(may_be_unavailable(0, 3, &all), 0);
        let drained = seen(&["True", "True", "True", "False"]);
        assert_eq!(may_be_unavailable(1, 4, &drained), 2);
        assert_eq!(may_be_unavailable(0, 4, &drained), 0, "copies are missing");
        assert_eq!(may_be_unavailable(1, 4, &all), 2, "one is not there yet");
        let mut stopping = (*pod("True")).clone();
        stopping.metadata.deletion_timestamp =
            Some(k8s_openapi::jiff::Timestamp::UNIX_EPOCH.into());
        let mut going = all;
        going.pods.insert(Ordinal(2), Arc::new(stopping));
        assert_eq!(may_be_unavailable(1, 3, &going), 2);
    }
}
