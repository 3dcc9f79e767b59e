//! From the plan's slots to what a StatefulSet and its claims can do.
//!
//! A StatefulSet has the pods 0 to n−1 and removes only the last; it knows nothing
//! of proofs. So the number goes down by one at a time, for an ordinal that the
//! plan calls absent; and before it does, the proof is written on the claim, since
//! later there is no node left to ask.

use std::collections::BTreeMap;

use chord_types::report::NodeReport;
use chord_types::{DiskId, Ordinal};

use chord_planner::plan::{Observed, Slot, Stored};

/// How many pods the StatefulSet shall have. `now`: how many it has; without one,
/// how many pods there are.
pub fn replicas(slots: &BTreeMap<Ordinal, Slot>, now: u32, leaving: bool) -> u32 {
    let running = (0..)
        .take_while(|o| matches!(slots.get(&Ordinal(*o)), Some(Slot::Running { .. })))
        .count();
    let running = u32::try_from(running).unwrap_or(u32::MAX);
    if running >= now {
        return running;
    }
    // Fewer: the last, if the plan says so by name, after the one before is gone.
    match slots.get(&Ordinal(now - 1)) {
        Some(Slot::Absent { .. }) if !leaving => now - 1,
        _ => now,
    }
}

/// The ordinal whose pod goes now, when the number goes down by one.
pub fn removed(now: u32, wanted: u32) -> Option<Ordinal> {
    (wanted + 1 == now).then_some(Ordinal(wanted))
}

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

/// What the node at an ordinal said, if it did.
pub fn report_of(observed: &Observed, ordinal: Ordinal) -> Option<&NodeReport> {
    observed.nodes.get(&ordinal).and_then(|n| n.report.as_ref())
}

#[cfg(test)]
mod tests {
    use chord_types::report::{Copies, Inventory, Space, Sync};
    use chord_types::{ClusterUid, Epoch, Member, Table, Token, View};

    use super::*;

    fn slots(spec: &str) -> BTreeMap<Ordinal, Slot> {
        (0..)
            .zip(spec.chars())
            .filter_map(|(o, c)| match c {
                'r' => Some((
                    Ordinal(o),
                    Slot::Running {
                        revision: "1".into(),
                    },
                )),
                'a' => Some((Ordinal(o), Slot::Absent { delete_disk: true })),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn pods_are_added_all_at_once() {
        assert_eq!(replicas(&slots("rrr"), 0, false), 3);
        assert_eq!(replicas(&slots("rrrrrr"), 3, false), 6);
    }

    #[test]
    fn a_stray_scale_down_is_undone() {
        assert_eq!(replicas(&slots("rrrr"), 1, false), 4);
        assert_eq!(replicas(&slots("rrrr"), 0, true), 4);
    }

    #[test]
    fn pods_go_one_by_one_and_only_where_the_plan_says_so() {
        assert_eq!(replicas(&slots("rrrra"), 5, false), 4);
        assert_eq!(replicas(&slots("rrraa"), 5, false), 4);
        assert_eq!(
            replicas(&slots("rrra"), 5, false),
            5,
            "the last is not named"
        );
        assert_eq!(replicas(&slots("rrrr"), 5, false), 5, "unnamed stays");
        assert_eq!(
            replicas(&slots("rrrra"), 5, true),
            5,
            "another one is leaving still"
        );
        assert_eq!(
            replicas(&slots("rrar"), 4, false),
            4,
            "only the last can go"
        );
        assert_eq!(replicas(&slots(""), 3, false), 3, "no plan, no change");
        assert_eq!(removed(5, 4), Some(Ordinal(4)));
        assert_eq!(removed(4, 5), None);
        assert_eq!(removed(4, 4), None);
    }

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
        let (store, view) = stored(&[member]);
        let text = proof(&report(leaver, &view), &store).unwrap();
        assert!(still_proven(&text, &store));
        let (readmitted, _) = stored(&[member, leaver]);
        assert!(
            !still_proven(&text, &readmitted),
            "the disk is in the view again"
        );
        assert!(!still_proven(&text, &Stored::Missing));
        assert!(!still_proven("yes", &store));
        assert!(
            !still_proven(&format!("{leaver}@99"), &store),
            "a view older than the proof"
        );
    }

    #[test]
    fn there_is_no_proof_while_anything_is_left_or_unknown() {
        let (member, leaver) = (DiskId::random(), DiskId::random());
        let (store, view) = stored(&[member]);
        assert_eq!(proof(&report(member, &view), &store), None, "a member");
        assert_eq!(proof(&report(leaver, &view), &Stored::Missing), None);
        let mut full = report(leaver, &view);
        full.inventory.chunks = 1;
        assert_eq!(proof(&full, &store), None);
        let mut old = report(leaver, &view);
        old.view = Some(chord_types::view::ViewRef {
            epoch: Epoch(0),
            hash: view.hash(),
        });
        assert_eq!(proof(&old, &store), None, "another view");
        let joint = view.change_to(view.old().clone()).unwrap();
        assert_eq!(
            proof(
                &report(leaver, &joint),
                &Stored::View(Box::new(joint.clone()))
            ),
            None
        );
    }

    #[test]
    fn everything_that_may_be_there_is_looked_at() {
        let (store, _) = stored(&[DiskId::random(), DiskId::random()]);
        assert_eq!(horizon(&store, 0, 0, 0), 3);
        assert_eq!(horizon(&store, 5, 3, 0), 6);
        assert_eq!(horizon(&Stored::Missing, 0, 3, 7), 8);
    }
}
