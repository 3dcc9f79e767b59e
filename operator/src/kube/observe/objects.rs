//! The pods and claims that there are of a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use chord_planner::plan::Stored;
use chord_types::Ordinal;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;

use crate::kube::api::cache::Caches;
use crate::kube::names::{INSTANCE, Names, PROVEN_EMPTY};

/// What there is of a cluster.
#[derive(Default)]
pub struct Seen {
    /// By the ordinal in their names.
    pub pods: BTreeMap<Ordinal, Arc<Pod>>,
    /// By the ordinal in their names.
    pub claims: BTreeMap<Ordinal, Arc<PersistentVolumeClaim>>,
    /// Replicas of the StatefulSet; without one, as many as there are pods.
    pub replicas: u32,
}

/// An object that says which cluster it is of.
trait Labelled {
    fn instance(&self) -> Option<&str>;
}
impl<K: ResourceExt> Labelled for K {
    fn instance(&self) -> Option<&str> {
        self.labels().get(INSTANCE).map(String::as_str)
    }
}

/// Finds the pods and claims of a cluster. `set_replicas`: of the StatefulSet, if
/// there is one.
pub fn find(caches: &Caches, names: &Names, set_replicas: Option<u32>, horizon: u32) -> Seen {
    let mut seen = Seen::default();
    let mut ordinal = 0;
    // On past the horizon while there is something.
    let mut something = true;
    while ordinal < horizon || something {
        let at = Ordinal(ordinal);
        let ours = |object: &dyn Labelled| object.instance() == Some(names.cluster.as_str());
        let pod = caches
            .pods
            .get(&names.namespace, &names.pod(at))
            .filter(|p| ours(p.as_ref()));
        let claim = caches
            .claims
            .get(&names.namespace, &names.claim(at))
            .filter(|c| ours(c.as_ref()));
        something = pod.is_some() || claim.is_some();
        seen.pods.extend(pod.map(|p| (at, p)));
        seen.claims.extend(claim.map(|c| (at, c)));
        ordinal += 1;
    }
    let living = seen
        .pods
        .iter()
        .filter(|(_, p)| p.metadata.deletion_timestamp.is_none());
    seen.replicas = set_replicas.unwrap_or_else(|| living.map(|(o, _)| o.0 + 1).max().unwrap_or(0));
    seen
}

/// How far one has to look for pods and claims: everything that may be there by
/// the view, the StatefulSet and the status.
pub fn horizon(stored: &Stored, replicas: u32, wanted: u32, shown: u32) -> u32 {
    let in_view = match stored {
        Stored::View(view) => view
            .members()
            .iter()
            .map(|m| m.ordinal.0 + 1)
            .max()
            .unwrap_or(0),
        Stored::Missing | Stored::Unreadable(_) => 0,
    };
    // One more than was ever wanted, for a pod or a claim that was left behind.
    in_view
        .max(replicas)
        .max(wanted)
        .max(shown)
        .saturating_add(1)
}

/// Whether a claim has a volume: until then there is no disk, and nothing on it.
pub fn has_volume(claim: &PersistentVolumeClaim) -> bool {
    let spec = claim.spec.as_ref();
    spec.and_then(|s| s.volume_name.as_ref())
        .is_some_and(|name| !name.is_empty())
}

/// What is written on a claim of its node's proof.
pub fn proof_on(claim: &PersistentVolumeClaim) -> Option<&String> {
    claim.annotations().get(PROVEN_EMPTY)
}

#[cfg(test)]
mod tests {
    use chord_types::{ClusterUid, DiskId, Member, Table, Token, View};

    use super::*;

    fn stored(members: u32) -> Stored {
        let member = |n| Member {
            ordinal: Ordinal(n),
            disk: DiskId::random(),
            tokens: vec![Token(u64::from(n) + 1)],
            zone: None,
            machine: None,
            out: false,
        };
        let table = Table {
            replication: 1,
            members: (0..members).map(member).collect(),
        };
        Stored::View(Box::new(
            View::first(ClusterUid("u".into()), table).unwrap(),
        ))
    }

    #[test]
    fn everything_that_may_be_there_is_looked_at() {
        assert_eq!(horizon(&stored(2), 0, 0, 0), 3);
        assert_eq!(horizon(&stored(2), 5, 3, 0), 6);
        assert_eq!(horizon(&Stored::Missing, 0, 3, 7), 8);
    }
}
