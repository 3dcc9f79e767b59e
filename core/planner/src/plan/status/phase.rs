//! The phase: the status in one word.

use chord_types::Ordinal;

use super::findings::Findings;
use crate::plan::cluster::Cluster;
use crate::plan::output::Phase;

/// The phase of a cluster with a view.
pub fn phase(cluster: &Cluster, found: &Findings, degraded: bool) -> Phase {
    if cluster.spec.paused {
        return Phase::Paused;
    }
    if degraded {
        return Phase::Degraded;
    }
    let (old, goal) = (cluster.view.old(), cluster.view.new_table());
    let wanted = |o: Ordinal| o.0 < found.target && !cluster.spec.drained.contains(&o);
    let joins = goal.members.iter().any(|m| old.member(m.ordinal).is_none());
    let absent = (0..found.target)
        .map(Ordinal)
        .any(|o| wanted(o) && old.member(o).is_none());
    if joins || absent {
        return Phase::ScalingOut;
    }
    let leaves = old
        .members
        .iter()
        .any(|m| goal.member(m.ordinal).is_none() || !wanted(m.ordinal));
    if leaves || !found.staying.is_empty() {
        return Phase::ScalingIn;
    }
    Phase::Ready
}
