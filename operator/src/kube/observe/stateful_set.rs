//! What a StatefulSet says of the cluster that runs in it.

use chord_types::ClusterUid;
use k8s_openapi::api::apps::v1::StatefulSet;

use super::record::Pinned;
use crate::crd::Quantity;
use crate::kube::names::REVISION;

/// How many pods a StatefulSet shall have.
pub fn replicas_of(set: &StatefulSet) -> u32 {
    let replicas = set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    u32::try_from(replicas).unwrap_or(0)
}

/// The revision that a StatefulSet gives to pods that it makes.
pub fn revision_of(set: &StatefulSet) -> Option<&String> {
    let template = &set.spec.as_ref()?.template;
    template
        .metadata
        .as_ref()?
        .annotations
        .as_ref()?
        .get(REVISION)
}

/// Bytes in the StatefulSet's claim template, and how they are written there.
pub fn template_size(set: &StatefulSet) -> Option<(u64, String)> {
    let claim = set
        .spec
        .as_ref()?
        .volume_claim_templates
        .as_ref()?
        .first()?;
    let text = claim
        .spec
        .as_ref()?
        .resources
        .as_ref()?
        .requests
        .as_ref()?
        .get("storage")?
        .0
        .clone();
    Some((Quantity(text.clone()).bytes().ok()?, text))
}

/// Whether a StatefulSet still says that its claims go with it: while it does,
/// Kubernetes puts its reference back.
pub fn takes_claims(set: &StatefulSet) -> bool {
    set.spec
        .as_ref()
        .and_then(|s| s.persistent_volume_claim_retention_policy.as_ref())
        .is_some_and(|p| p.when_deleted.as_deref() == Some("Delete"))
}

/// What a StatefulSet's pods run with.
pub fn pinned_in(set: &StatefulSet) -> Pinned {
    let pod = set.spec.as_ref().and_then(|s| s.template.spec.as_ref());
    let Some(container) = pod.and_then(|p| p.containers.first()) else {
        return Pinned::default();
    };
    let args = container.args.as_deref().unwrap_or_default();
    let uid = args
        .windows(2)
        .find(|pair| pair[0] == "--cluster-uid")
        .map(|pair| pair[1].clone());
    Pinned {
        image: container.image.clone(),
        cluster: uid.map(ClusterUid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pinned_can_be_read_from_the_pods() {
        let set: StatefulSet = serde_json::from_value(serde_json::json!({"spec": {
            "selector": {}, "template": {"spec": {"containers": [
                {"name": "node", "image": "r/n:1", "args": ["--data", "/data", "--cluster-uid", "u7", "--x"]}
            ]}}
        }}))
        .unwrap();
        let pinned = Pinned {
            image: Some("r/n:1".into()),
            cluster: Some(ClusterUid("u7".into())),
        };
        assert_eq!(pinned_in(&set), pinned);
        assert_eq!(pinned_in(&StatefulSet::default()), Pinned::default());
    }
}
