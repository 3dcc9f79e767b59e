//! Proofs: that nothing is left on the disk of a node that goes.
//!
//! A StatefulSet knows nothing of proofs. So the proof is written on the claim before
//! the pod goes, since later there is no node left to ask.

use chord_planner::plan::{Observed, Stored};
use chord_types::report::NodeReport;
use chord_types::{DiskId, Ordinal};

/// The proof that is written on a claim before its pod goes.
pub fn proof(report: &NodeReport, stored: &Stored) -> Option<String> {
    let Stored::View(view) = stored else {
        return None;
    };
    let settled = view.stable().is_some()
        && report.view == Some(view.reference())
        && report.inventory.is_empty()
        && view.members().iter().all(|m| m.disk != report.disk);
    settled.then(|| format!("{}@{}", report.disk, view.epoch))
}

/// Whether a claim with this proof may be deleted: its disk still is in no table,
/// and the view is no older than the proof.
pub fn still_proven(proof: &str, stored: &Stored) -> bool {
    let Stored::View(view) = stored else {
        return false;
    };
    let Some((disk, epoch)) = proof.split_once('@') else {
        return false;
    };
    let (Ok(disk), Ok(epoch)) = (disk.parse::<DiskId>(), epoch.parse::<u64>()) else {
        return false;
    };
    view.epoch.0 >= epoch && view.members().iter().all(|m| m.disk != disk)
}

/// The answer of the node at an ordinal, if there is one.
pub fn report_of(observed: &Observed, ordinal: Ordinal) -> Option<&NodeReport> {
    observed.nodes.get(&ordinal).and_then(|n| n.report.as_ref())
}

#[cfg(test)]
mod tests {
    use chord_types::report::{Copies, Inventory, Space, Sync};
    use chord_types::{ClusterUid, Epoch, Member, Table, Token, View};

    use super::*;

    fn member(n: u32, disk: DiskId) -> Member {
        Member {
            ordinal: Ordinal(n),
            disk,
            tokens: vec![Token(u64::from(n) + 1)],
            zone: None,
            machine: None,
            out: false,
        }
    }

    fn stored(disks: &[DiskId]) -> (Stored, View) {
        let members = (0..).zip(disks).map(|(n, d)| member(n, *d)).collect();
        let view = View::first(
            ClusterUid("u".into()),
            Table {
                replication: 1,
                members,
            },
        )
        .unwrap();
        (Stored::View(Box::new(view.clone())), view)
    }

    fn report(disk: DiskId, view: &View) -> NodeReport {
        NodeReport {
            name: "files-3".into(),
            ordinal: Ordinal(3),
            disk,
            cluster: Some(view.cluster.clone()),
            version: String::new(),
            speaks: chord_types::Speaks::OURS,
            boot: 1,
            view: Some(view.reference()),
            ready: false,
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

    #[test]
    fn a_claim_is_deleted_only_on_a_proof_that_still_holds() {
        let (member, leaver) = (DiskId::random(), DiskId::random());
        let (stored_view, view) = stored(&[member]);
        let text = proof(&report(leaver, &view), &stored_view).unwrap();
        assert!(still_proven(&text, &stored_view));
        let (readmitted, _) = stored(&[member, leaver]);
        assert!(
            !still_proven(&text, &readmitted),
            "the disk is in the view again"
        );
        assert!(!still_proven(&text, &Stored::Missing));
        assert!(!still_proven("yes", &stored_view));
        assert!(
            !still_proven(&format!("{leaver}@99"), &stored_view),
            "a view older than the proof"
        );
    }

    #[test]
    fn there_is_no_proof_while_anything_is_left_or_unknown() {
        let (member, leaver) = (DiskId::random(), DiskId::random());
        let (stored_view, view) = stored(&[member]);
        assert_eq!(
            proof(&report(member, &view), &stored_view),
            None,
            "a member"
        );
        assert_eq!(proof(&report(leaver, &view), &Stored::Missing), None);
        let mut full = report(leaver, &view);
        full.inventory.chunks = 1;
        assert_eq!(proof(&full, &stored_view), None);
        let mut old = report(leaver, &view);
        old.view = Some(chord_types::view::ViewRef {
            epoch: Epoch(0),
            hash: view.hash(),
        });
        assert_eq!(proof(&old, &stored_view), None, "another view");
        let joint = view.change_to(view.old().clone()).unwrap();
        assert_eq!(
            proof(
                &report(leaver, &joint),
                &Stored::View(Box::new(joint.clone()))
            ),
            None
        );
    }
}
