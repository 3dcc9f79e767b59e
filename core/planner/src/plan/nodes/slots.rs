//! What shall be at each ordinal.
//!
//! A node goes only when it has proved, at the current stable view and with a
//! disk that stands in no table, that nothing is left on it; the highest first,
//! one at a time, as a StatefulSet can do it.

use std::collections::BTreeMap;

use chord_types::Ordinal;

use crate::plan::cluster::Cluster;
use crate::plan::input::{Node, Observed, Spec};
use crate::plan::output::Slot;

fn running(spec: &Spec) -> Slot {
    Slot::Running {
        revision: spec.revision.clone(),
    }
}

/// The slots while no view is known: everything that may carry one runs, so that
/// it can be asked.
pub fn without_view(spec: &Spec, observed: &Observed, wanted: u32) -> BTreeMap<Ordinal, Slot> {
    let existing = observed
        .nodes
        .iter()
        .filter(|(_, n)| n.running || n.disk_exists)
        .map(|(o, _)| o.0 + 1)
        .max();
    (0..wanted.max(existing.unwrap_or(0)))
        .map(|o| (Ordinal(o), running(spec)))
        .collect()
}

/// Why the node at an ordinal outside the view must not be removed yet.
fn must_stay(cluster: &Cluster, ordinal: Ordinal, node: &Node) -> Option<String> {
    let name = cluster.name(ordinal);
    if cluster.view.stable().is_none() {
        return Some(format!("{name} stays until the change is done"));
    }
    let Some(report) = cluster.report(ordinal) else {
        return node.disk_exists.then(|| {
            format!("{name} does not answer, so that nobody knows what is on its disk; it is kept")
        });
    };
    if cluster.disk_in_view(report.disk) {
        return Some(format!("the disk of {name} is in the view"));
    }
    if report.cluster.as_ref() != Some(&cluster.spec.cluster)
        || report.view != Some(cluster.reference)
    {
        return Some(format!("{name} has not taken the current view"));
    }
    if !report.inventory.is_empty() {
        return Some(format!(
            "{name} still holds copies that it brings to their owners"
        ));
    }
    None
}

/// The slots under a view, for `target` ordinals; and why nodes that shall go are
/// still there.
pub fn under_view(
    cluster: &Cluster,
    target: u32,
    may_remove: bool,
) -> (BTreeMap<Ordinal, Slot>, Vec<String>) {
    let mut slots: BTreeMap<Ordinal, Slot> = (0..target)
        .map(|o| (Ordinal(o), running(cluster.spec)))
        .collect();
    // Those below a member are there with it: a StatefulSet knows no gaps.
    for ordinal in cluster.view.members().iter().flat_map(|m| 0..=m.ordinal.0) {
        slots.insert(Ordinal(ordinal), running(cluster.spec));
    }
    let mut staying = Vec::new();
    let beyond = |o: &Ordinal| o.0 >= target && !cluster.in_view(*o);
    // The highest of all goes first, or none does.
    let highest_wanted = slots.keys().next_back().copied();
    let mut highest = true;
    for (ordinal, node) in cluster
        .observed
        .nodes
        .iter()
        .rev()
        .filter(|(o, n)| n.running && beyond(o))
    {
        if node.terminating {
            // It is on its way out, for reasons of before: left to end.
            staying.push(format!("{} is being stopped", cluster.name(*ordinal)));
            highest = false;
            continue;
        }
        let why =
            if !may_remove || !highest || highest_wanted.is_some_and(|wanted| *ordinal < wanted) {
                Some(format!("{} leaves after others", cluster.name(*ordinal)))
            } else {
                must_stay(cluster, *ordinal, node)
            };
        highest = false;
        match why {
            None => {
                let delete_disk = cluster.spec.delete_scaled_disks;
                slots.insert(*ordinal, Slot::Absent { delete_disk });
            }
            Some(why) => {
                slots.insert(*ordinal, running(cluster.spec));
                staying.push(why);
            }
        }
    }
    (slots, staying)
}
