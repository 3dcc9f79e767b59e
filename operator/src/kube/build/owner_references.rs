//! Which claims go with the ChordCluster when it is deleted
//! (`retention.whenDeleted: Delete`): their owner references.
//!
//! A claim goes with its owners, so it is owned by the ChordCluster itself, and by
//! nothing that people delete to have it made anew: never by the StatefulSet. And
//! only from when its disk stands in this cluster's view: a disk that another
//! cluster of that name left behind is not this one's to take along.

use chord_planner::plan::{Observed, Stored};
use chord_types::Ordinal;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use super::proof::report_of;
use crate::crd::{ChordCluster, RetentionPolicy};
use crate::kube::observe::objects::Seen;
use crate::kube::observe::stateful_set::takes_claims;

/// Whether the disk at an ordinal is known to be this cluster's: its node answers,
/// and with a disk that stands at this place in the view.
fn is_member(observed: &Observed, ordinal: Ordinal) -> bool {
    let (Stored::View(view), Some(report)) = (&observed.stored, report_of(observed, ordinal))
    else {
        return false;
    };
    view.members()
        .iter()
        .any(|m| m.ordinal == ordinal && m.disk == report.disk)
}

/// Whether a reference is to the StatefulSet of this name, this one or an earlier one.
fn is_set(reference: &OwnerReference, name: &str) -> bool {
    reference.kind == "StatefulSet"
        && reference.api_version.starts_with("apps/")
        && reference.name == name
}

/// The owners that a claim shall have; `None`: those that it has. `cluster`: the
/// reference to the cluster; `goes_along`: whether its claims go with it; `member`:
/// whether the claim's disk is known to be the cluster's; `set`: the name of the
/// StatefulSet, unless it still says that claims go with it.
fn wanted(
    has: &[OwnerReference],
    cluster: &OwnerReference,
    goes_along: bool,
    member: bool,
    set: Option<&str>,
) -> Option<Vec<OwnerReference>> {
    let ours = |o: &&OwnerReference| o.uid == cluster.uid;
    let mut shall: Vec<OwnerReference> = has
        .iter()
        .filter(|o| !set.is_some_and(|name| is_set(o, name)))
        .filter(|o| goes_along || !ours(o))
        .cloned()
        .collect();
    if goes_along && member && !has.iter().any(|o| ours(&o)) {
        shall.push(cluster.clone());
    }
    (shall != has).then_some(shall)
}

/// Claims whose owners are to change, and the owners that they shall have.
pub fn changes(
    cluster: &ChordCluster,
    seen: &Seen,
    observed: &Observed,
    set: Option<&StatefulSet>,
) -> Vec<(Ordinal, Vec<OwnerReference>)> {
    let Some(reference) = cluster.owner_ref(&()) else {
        return Vec::new();
    };
    let goes_along = cluster.spec.storage.retention.when_deleted == RetentionPolicy::Delete;
    let name = cluster.name_any();
    let set = (!set.is_some_and(takes_claims)).then_some(name.as_str());
    seen.claims
        .iter()
        .filter(|(_, claim)| claim.metadata.deletion_timestamp.is_none())
        .filter_map(|(ordinal, claim)| {
            let member = is_member(observed, *ordinal);
            let shall = wanted(
                claim.owner_references(),
                &reference,
                goes_along,
                member,
                set,
            );
            Some((*ordinal, shall?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chord_types::report::{Copies, Inventory, NodeReport, Space, Sync};
    use chord_types::{ClusterUid, DiskId, Member, Table, Token, View};

    use k8s_openapi::api::core::v1::PersistentVolumeClaim;
    use serde_json::json;

    use super::*;
    use crate::crd::parse_cluster_manifest;
    use chord_planner::plan::Node;

    fn cluster(when_deleted: &str) -> ChordCluster {
        let mut cluster = parse_cluster_manifest(&format!(
            "{{apiVersion: chord.storage/v1alpha1, kind: ChordCluster, metadata: {{name: files, namespace: data}}, \
             spec: {{storage: {{retention: {{whenDeleted: {when_deleted}}}}}}}}}"
        ))
        .unwrap();
        cluster.metadata.uid = Some("u1".into());
        cluster
    }

    fn owner(kind: &str, uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: if kind == "StatefulSet" {
                "apps/v1"
            } else {
                "chord.storage/v1alpha1"
            }
            .into(),
            kind: kind.into(),
            name: "files".into(),
            uid: uid.into(),
            ..Default::default()
        }
    }

    fn seen(owners: Vec<OwnerReference>) -> Seen {
        let mut claim = PersistentVolumeClaim::default();
        claim.metadata.owner_references = Some(owners);
        let mut seen = Seen::default();
        seen.claims.insert(Ordinal(0), Arc::new(claim));
        seen
    }

    fn report(disk: DiskId, view: &View) -> NodeReport {
        NodeReport {
            name: "files-0".into(),
            ordinal: Ordinal(0),
            disk,
            cluster: Some(view.cluster.clone()),
            version: String::new(),
            speaks: chord_types::Speaks::OURS,
            boot: 1,
            view: Some(view.reference()),
            ready: true,
            space: Space::default(),
            files: 0,
            inventory: Inventory::default(),
            sync: Sync {
                epoch: view.epoch,
                hash: view.hash(),
                settled: true,
                pending: 0,
                waiting: None,
            },
            copies: Copies {
                epoch: view.epoch,
                complete: true,
                missing: 0,
                unrepaired: 0,
                waiting: None,
            },
            refused_view: None,
            failure: None,
        }
    }

    /// A view of one member, and its node: that answers with the member's disk,
    /// with another, or not at all.
    fn observed(answers: Option<bool>) -> Observed {
        let disk = DiskId::random();
        let table = Table {
            replication: 1,
            members: vec![Member {
                ordinal: Ordinal(0),
                disk,
                tokens: vec![Token(1)],
                zone: None,
                machine: None,
                out: false,
            }],
        };
        let view = View::first(ClusterUid("u1".into()), table).unwrap();
        let with = |own: bool| report(if own { disk } else { DiskId::random() }, &view);
        let node = Node {
            running: true,
            report: answers.map(with),
            ..Default::default()
        };
        Observed {
            stored: Stored::View(Box::new(view)),
            nodes: [(Ordinal(0), node)].into(),
            held: Vec::new(),
        }
    }

    /// The owners that the claim gets, by kind and uid; `None`: they stay.
    fn given(
        when_deleted: &str,
        has: Vec<OwnerReference>,
        observed: &Observed,
    ) -> Option<Vec<(String, String)>> {
        let changes = changes(&cluster(when_deleted), &seen(has), observed, None);
        let (_, owners) = changes.into_iter().next()?;
        Some(owners.into_iter().map(|o| (o.kind, o.uid)).collect())
    }

    #[test]
    fn a_claim_goes_with_the_cluster_once_its_disk_is_in_the_view() {
        let ours = || vec![("ChordCluster".to_string(), "u1".to_string())];
        assert_eq!(
            given("Delete", Vec::new(), &observed(Some(true))),
            Some(ours())
        );
        for unknown in [observed(Some(false)), observed(None), Observed::default()] {
            assert_eq!(
                given("Delete", Vec::new(), &unknown),
                None,
                "a disk of somebody else, or of whom nobody knows"
            );
        }
        assert_eq!(given("Retain", Vec::new(), &observed(Some(true))), None);
    }

    #[test]
    fn it_stays_so_while_its_node_is_silent_or_gone_and_until_people_change_their_minds() {
        let has = || vec![owner("ChordCluster", "u1")];
        for observed in [observed(Some(true)), observed(None), Observed::default()] {
            assert_eq!(given("Delete", has(), &observed), None);
            assert_eq!(given("Retain", has(), &observed), Some(Vec::new()));
        }
    }

    #[test]
    fn no_claim_is_the_stateful_sets() {
        let tied = || vec![owner("StatefulSet", "s1"), owner("Backup", "b1")];
        let left = vec![("Backup".to_string(), "b1".to_string())];
        assert_eq!(
            given("Retain", tied(), &Observed::default()),
            Some(left.clone()),
            "also where no pod is, beyond the StatefulSet's number"
        );
        assert_eq!(given("Delete", tied(), &Observed::default()), Some(left));
        // While the StatefulSet itself still says so, it would come right back.
        let old: StatefulSet =
            serde_json::from_value(json!({"spec": {"selector": {}, "template": {},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}))
            .unwrap();
        let changes = changes(
            &cluster("Retain"),
            &seen(tied()),
            &Observed::default(),
            Some(&old),
        );
        assert_eq!(changes, []);
    }
}
