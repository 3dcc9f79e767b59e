//! How many pods the StatefulSet shall have.
//!
//! A StatefulSet has the pods 0 to n−1 and removes only the last. So the number goes
//! down by one at a time, for an ordinal that the plan calls absent, and only when its
//! node has proven that nothing is left on its disk.

use std::collections::BTreeMap;

use chord_planner::plan::{Observed, Plan, Slot};
use chord_types::Ordinal;

use super::proof::{proof, report_of};
use crate::kube::observe::objects::{Seen, has_volume};

/// How many pods the StatefulSet shall have; fewer only when the node that goes has its
/// proof.
pub fn replicas(plan: &Plan, seen: &Seen, observed: &Observed) -> u32 {
    let now = seen.replicas;
    // A new view is not what the proofs were made at; and one goes at a time.
    let leaving = plan.view.is_some() || seen.pods.keys().any(|o| o.0 >= now);
    let wanted = planned(&plan.slots, now, leaving);
    let has_disk = |o: &Ordinal| seen.claims.get(o).is_some_and(|c| has_volume(c));
    match removed(now, wanted).filter(has_disk) {
        Some(ordinal) if proof_of(observed, ordinal).is_none() => now,
        _ => wanted,
    }
}

/// The proof of the node at an ordinal, if it has one.
pub fn proof_of(observed: &Observed, ordinal: Ordinal) -> Option<String> {
    proof(report_of(observed, ordinal)?, &observed.stored)
}

/// How many pods the plan wants that the StatefulSet can have. `now`: how many it has;
/// without one, how many pods there are. `leaving`: whether another one goes still.
fn planned(slots: &BTreeMap<Ordinal, Slot>, now: u32, leaving: bool) -> u32 {
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

#[cfg(test)]
mod tests {
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
        assert_eq!(planned(&slots("rrr"), 0, false), 3);
        assert_eq!(planned(&slots("rrrrrr"), 3, false), 6);
    }

    #[test]
    fn a_stray_scale_down_is_undone() {
        assert_eq!(planned(&slots("rrrr"), 1, false), 4);
        assert_eq!(planned(&slots("rrrr"), 0, true), 4);
    }

    #[test]
    fn pods_go_one_by_one_and_only_where_the_plan_says_so() {
        assert_eq!(planned(&slots("rrrra"), 5, false), 4);
        assert_eq!(planned(&slots("rrraa"), 5, false), 4);
        assert_eq!(
            planned(&slots("rrra"), 5, false),
            5,
            "the last is not named"
        );
        assert_eq!(planned(&slots("rrrr"), 5, false), 5, "unnamed stays");
        assert_eq!(
            planned(&slots("rrrra"), 5, true),
            5,
            "another one is leaving still"
        );
        assert_eq!(planned(&slots("rrar"), 4, false), 4, "only the last can go");
        assert_eq!(planned(&slots(""), 3, false), 3, "no plan, no change");
        assert_eq!(removed(5, 4), Some(Ordinal(4)));
        assert_eq!(removed(4, 5), None);
        assert_eq!(removed(4, 4), None);
    }
}
