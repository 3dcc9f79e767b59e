//! What is to be done with the claims: the proof that is written on one before its
//! node goes, its deletion after that, and growth.
//!
//! A claim is deleted only with a proof on it whose disk is in no table, when its pod
//! is gone and the StatefulSet does not want it back.

use std::collections::BTreeMap;

use chord_planner::plan::{Slot, Stored};
use chord_types::Ordinal;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::proof::still_proven;
use super::replicas::removed;
use crate::crd::Quantity;
use crate::kube::observe::objects::{Seen, proof_on};

/// What is to be done with one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the proof on it: its node goes next.
    Mark(String),
    /// Take the proof off: its node stays or comes back.
    Unmark,
    /// Delete it.
    Delete,
}

/// What is to be done with the claims. `now`, `wanted`: pods that the StatefulSet
/// has and shall have; `proof`: of the node that goes now; `deletes`: whether claims
/// of nodes that went are deleted, as the resource has it now.
pub fn steps(
    seen: &Seen,
    slots: &BTreeMap<Ordinal, Slot>,
    stored: &Stored,
    now: u32,
    wanted: u32,
    proof: Option<&str>,
    deletes: bool,
) -> Vec<(Ordinal, Step)> {
    let mut steps = Vec::new();
    for (ordinal, claim) in &seen.claims {
        if claim.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let goes_now = removed(now, wanted) == Some(*ordinal);
        let delete = matches!(slots.get(ordinal), Some(Slot::Absent { delete_disk: true }));
        let mark = proof_on(claim);
        let gone = ordinal.0 >= now && ordinal.0 >= wanted && !seen.pods.contains_key(ordinal);
        match (mark, proof) {
            (_, Some(proof)) if goes_now && delete => {
                if mark.map(String::as_str) != Some(proof) {
                    steps.push((*ordinal, Step::Mark(proof.to_string())));
                }
            }
            (Some(mark), _) if gone && deletes && still_proven(mark, stored) => {
                steps.push((*ordinal, Step::Delete))
            }
            (Some(_), _) if gone => steps.push((*ordinal, Step::Unmark)),
            // On its way out: the proof stands until its pod is gone.
            (Some(_), _) if ordinal.0 >= now && ordinal.0 >= wanted => {}
            (Some(_), _) => steps.push((*ordinal, Step::Unmark)),
            (None, _) => {}
        }
    }
    steps
}

/// Claims that are smaller than wanted, and whether the StatefulSet's template is.
pub fn too_small(seen: &Seen, wanted: u64) -> Vec<Ordinal> {
    seen.claims
        .iter()
        .filter(|(_, claim)| requested(claim).is_some_and(|bytes| bytes < wanted))
        .map(|(ordinal, _)| *ordinal)
        .collect()
}

/// Bytes that a claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> Option<u64> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Quantity(requests.get("storage")?.0.clone()).bytes().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chord_types::{ClusterUid, DiskId, Member, Table, Token, View};

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;
    use crate::kube::names::PROVEN_EMPTY;

    fn claim(mark: Option<&str>, size: &str) -> Arc<PersistentVolumeClaim> {
        let mut claim: PersistentVolumeClaim =
            serde_json::from_value(json!({"spec": {"resources": {"requests": {"storage": size}}}}))
                .unwrap();
        claim.metadata.annotations =
            mark.map(|m| [(PROVEN_EMPTY.to_string(), m.to_string())].into());
        Arc::new(claim)
    }

    fn view() -> Stored {
        let member = Member {
            ordinal: Ordinal(0),
            disk: DiskId::random(),
            tokens: vec![Token(1)],
            zone: None,
            machine: None,
            out: false,
        };
        let table = Table {
            replication: 1,
            members: vec![member],
        };
        Stored::View(Box::new(
            View::first(ClusterUid("u".into()), table).unwrap(),
        ))
    }

    fn absent() -> BTreeMap<Ordinal, Slot> {
        [(Ordinal(3), Slot::Absent { delete_disk: true })].into()
    }

    fn proof() -> String {
        format!("{}@1", DiskId::random())
    }

    #[test]
    fn the_proof_comes_first_then_the_pod_goes_then_the_claim() {
        let proof = proof();
        let mut seen = Seen::default();
        seen.claims.insert(Ordinal(3), claim(None, "1Gi"));
        seen.pods.insert(Ordinal(3), Arc::new(Pod::default()));
        let first = steps(&seen, &absent(), &view(), 4, 3, Some(&proof), true);
        assert_eq!(first, [(Ordinal(3), Step::Mark(proof.clone()))]);
        // The StatefulSet has gone down, the pod still ends.
        seen.claims.insert(Ordinal(3), claim(Some(&proof), "1Gi"));
        assert_eq!(
            steps(&seen, &BTreeMap::new(), &view(), 3, 3, None, true),
            []
        );
        seen.pods.clear();
        assert_eq!(
            steps(&seen, &BTreeMap::new(), &view(), 3, 3, None, true),
            [(Ordinal(3), Step::Delete)]
        );
    }

    #[test]
    fn a_claim_without_a_proof_is_never_deleted() {
        let mut seen = Seen::default();
        seen.claims.insert(Ordinal(3), claim(None, "1Gi"));
        for (now, wanted) in [(3, 3), (4, 3), (0, 0)] {
            assert_eq!(
                steps(&seen, &absent(), &view(), now, wanted, None, true),
                []
            );
        }
        seen.claims
            .insert(Ordinal(3), claim(Some("nonsense"), "1Gi"));
        assert_eq!(
            steps(&seen, &absent(), &view(), 3, 3, None, true),
            [(Ordinal(3), Step::Unmark)]
        );
    }

    #[test]
    fn who_wants_to_keep_a_claim_after_all_keeps_it() {
        let mut seen = Seen::default();
        seen.claims.insert(Ordinal(3), claim(Some(&proof()), "1Gi"));
        let after = |deletes| steps(&seen, &BTreeMap::new(), &view(), 3, 3, None, deletes);
        assert_eq!(after(true), [(Ordinal(3), Step::Delete)]);
        assert_eq!(after(false), [(Ordinal(3), Step::Unmark)]);
    }

    #[test]
    fn a_node_that_comes_back_loses_its_mark_first() {
        let mut seen = Seen::default();
        seen.claims.insert(Ordinal(3), claim(Some(&proof()), "1Gi"));
        assert_eq!(
            steps(&seen, &BTreeMap::new(), &view(), 3, 4, None, true),
            [(Ordinal(3), Step::Unmark)]
        );
        assert_eq!(
            steps(&seen, &BTreeMap::new(), &view(), 4, 4, None, true),
            [(Ordinal(3), Step::Unmark)]
        );
    }

    #[test]
    fn a_retained_claim_is_not_marked() {
        let mut seen = Seen::default();
        seen.claims.insert(Ordinal(3), claim(None, "1Gi"));
        let slots = [(Ordinal(3), Slot::Absent { delete_disk: false })].into();
        assert_eq!(
            steps(&seen, &slots, &view(), 4, 3, Some(&proof()), true),
            []
        );
    }

    #[test]
    fn sizes_are_compared_by_value() {
        let mut seen = Seen::default();
        seen.claims.insert(Ordinal(0), claim(None, "10240Mi"));
        seen.claims.insert(Ordinal(1), claim(None, "9Gi"));
        seen.claims.insert(Ordinal(2), claim(None, "20Gi"));
        assert_eq!(too_small(&seen, 10 << 30), [Ordinal(1)]);
    }
}
