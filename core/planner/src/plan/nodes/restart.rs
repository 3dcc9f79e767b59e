//! Which node to restart for its new revision, and how many may be down.

use chord_types::Ordinal;

use crate::plan::cluster::Cluster;
use crate::plan::input::{Node, Observed, Spec, Trouble};

fn is_old(spec: &Spec, node: &Node) -> bool {
    node.running
        && node
            .revision
            .as_ref()
            .is_some_and(|revision| *revision != spec.revision)
}

/// The nodes that still run with older settings, in words.
pub fn rolling(cluster: &Cluster) -> Option<String> {
    let old = cluster
        .observed
        .nodes
        .iter()
        .filter(|(_, n)| is_old(cluster.spec, n))
        .map(|(o, _)| *o);
    let old: Vec<Ordinal> = old.collect();
    (!old.is_empty()).then(|| {
        format!(
            "restarted for new settings, one at a time: {}",
            cluster.names(old)
        )
    })
}

/// A node of an old revision that is known not to work: restarting it costs nothing
/// and may be what heals it. One that merely was not heard may work, and hold what a
/// quorum needs.
pub fn broken(spec: &Spec, observed: &Observed) -> Option<Ordinal> {
    // Another one that is being stopped, for ever where its machine is gone, is no
    // reason to wait: this one gives nobody anything.
    let broken = |n: &Node| {
        is_old(spec, n)
            && !n.terminating
            && n.report.is_none()
            && matches!(n.trouble, Some(Trouble::Broken(_)))
    };
    observed
        .nodes
        .iter()
        .find(|(_, n)| broken(n))
        .map(|(o, _)| *o)
}

/// The next node to restart; one at a time, and one that may work only while every
/// range has all its copies on the other members. Nodes outside the view own
/// nothing: whether they answer stops nobody.
pub fn next(cluster: &Cluster) -> Option<Ordinal> {
    let (spec, observed) = (cluster.spec, cluster.observed);
    if let Some(ordinal) = broken(spec, observed) {
        return Some(ordinal);
    }
    // One that was given up, or is no member, may be stopped for ever.
    let counts = |ordinal: Ordinal| cluster.view.old().live().any(|m| m.ordinal == ordinal);
    if (observed.nodes.iter()).any(|(ordinal, n)| n.terminating && counts(*ordinal)) {
        return None;
    }
    let old = |ordinal: Ordinal| cluster.node(ordinal).is_some_and(|node| is_old(spec, node));
    match cluster.missing(cluster.view.old()).as_slice() {
        [] if whole_but(cluster, None) => {
            let ordinals = observed.nodes.iter().rev();
            let may = ordinals.filter(|(_, n)| !n.terminating).map(|(o, _)| *o);
            may.into_iter().find(|o| old(*o))
        }
        // The only one that is not heard, or has nothing to say: it is as good as
        // restarted already.
        [silent]
            if old(*silent)
                && cluster
                    .report(*silent)
                    .is_none_or(|report| report.failure.is_some()) =>
        {
            whole_but(cluster, Some(*silent)).then_some(*silent)
        }
        _ => None,
    }
}

/// Whether the view is stable, all members (but one) answer and are ready at it, and
/// every range was found to have all its copies.
fn whole_but(cluster: &Cluster, but: Option<Ordinal>) -> bool {
    let mut others = cluster
        .view
        .old()
        .live()
        .filter(|member| Some(member.ordinal) != but);
    !cluster.is_joint()
        && others.all(|member| {
            cluster.here(member).is_some_and(|r| {
                r.ready
                    && r.view == Some(cluster.reference)
                    && r.copies.epoch == cluster.reference.epoch
                    && r.copies.complete
                    && r.copies.missing == 0
            })
        })
}

/// How many members may be taken down at once so that every range keeps its
/// quorum: none during a change or while copies are known to be missing.
pub fn disruptions_allowed(cluster: &Cluster) -> u32 {
    let table = cluster.view.old();
    if cluster.is_joint() {
        return 0;
    }
    let mut down = 0;
    for member in table.live() {
        match cluster.here(member) {
            Some(report) if report.copies.missing > 0 => return 0,
            Some(report) if report.ready => {}
            _ => down += 1,
        }
    }
    let spare = usize::from(table.replication) - table.quorum();
    u32::try_from(spare.saturating_sub(down)).unwrap_or(0)
}
