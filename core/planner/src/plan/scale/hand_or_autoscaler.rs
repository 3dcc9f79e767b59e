//! How many ordinals are wanted: the spec's number, or the autoscaler's.

use chord_types::Ordinal;

use super::scaler::{Scaler, clamp};
use crate::plan::cluster::Cluster;
use crate::plan::input::{Autoscaling, Millis};
use crate::plan::memory::Memory;
use crate::plan::output::{AutoscalingStatus, Decision};

/// The number of ordinals that is wanted, and why.
#[derive(Debug, PartialEq)]
pub struct Scaling {
    /// Ordinals that are wanted.
    pub target: u32,
    /// What the autoscaler decided; absent without one.
    pub status: Option<AutoscalingStatus>,
    /// Why fewer, or more, nodes are wanted than would be recommended.
    pub limited: Option<String>,
}

/// Ordinals that there are, of `wanted`: up to the highest member's, and after it
/// those that shall own nothing and are there all the same.
fn present(cluster: &Cluster, wanted: u32) -> u32 {
    let mut present = cluster.ordinals_now();
    let runs = |o: Ordinal| cluster.node(o).is_some_and(|n| n.running);
    while cluster.spec.drained.contains(&Ordinal(present))
        && (present < wanted || runs(Ordinal(present)))
    {
        present += 1;
    }
    present
}

/// How many ordinals a new cluster begins with.
pub fn at_forming(nodes: u32, autoscaling: Option<&Autoscaling>) -> u32 {
    autoscaling.map_or(nodes, |auto| clamp(nodes, auto))
}

/// Works out how many ordinals are wanted, and remembers what it has to.
pub fn target(cluster: &Cluster, memory: &mut Memory, now: Millis) -> Scaling {
    let spec = cluster.spec;
    let Some(auto) = &spec.autoscaling else {
        let target = by_hand(cluster, memory);
        let kept = (target != spec.nodes).then(|| {
            format!(
                "nodes is {}, and the {target} nodes that there are stay until it is changed: \
                 the autoscaler was taken out, or what was obeyed before is not remembered",
                spec.nodes
            )
        });
        return Scaling {
            target,
            status: None,
            limited: kept,
        };
    };
    memory.nodes_obeyed = Some(spec.nodes);
    let present = present(cluster, memory.target.unwrap_or(0));
    if memory.target.is_none() || memory.recommendations.is_empty() {
        // Nothing is remembered: hold, for a whole window.
        memory.recommendations = vec![(now, present)];
    }
    let mut target = clamp(memory.target.unwrap_or(present), auto);
    let mut scaler = Scaler {
        cluster,
        auto,
        memory,
        now,
        present,
        limited: None,
    };
    let (mut decision, reason, blocked_by) = scaler.decide(&mut target);
    let limited = scaler.limited.take();
    if target > present {
        decision = Decision::ScaleOut;
    } else if target < present {
        decision = Decision::ScaleIn;
    }
    memory.target = Some(target);
    let at = match &memory.last_decision {
        Some((last, _, at)) if *last == decision => *at,
        _ => {
            memory.last_decision = Some((decision, reason.clone(), now));
            now
        }
    };
    Scaling {
        target,
        status: Some(AutoscalingStatus {
            decision,
            reason,
            at,
            blocked_by,
        }),
        limited,
    }
}

/// Without the autoscaler: `nodes`, unless the autoscaler was just taken out, or may
/// have been: where nothing is remembered, nobody leaves until `nodes` changes.
fn by_hand(cluster: &Cluster, memory: &mut Memory) -> u32 {
    let nodes = cluster.spec.nodes;
    let decided = memory.last_decision.is_some();
    memory.recommendations.clear();
    memory.scaled.clear();
    memory.settled_members = None;
    memory.last_decision = None;
    let present = present(cluster, 0);
    if decided && memory.target.is_some() {
        // Taken out just now: who is there stays, what was only planned is not done.
        memory.target = Some(present);
    }
    match (memory.target, memory.nodes_obeyed) {
        (Some(kept), Some(obeyed)) if obeyed == nodes => kept,
        (_, None) if nodes < present => {
            memory.target = Some(present);
            memory.nodes_obeyed = Some(nodes);
            present
        }
        _ => {
            memory.target = None;
            memory.nodes_obeyed = Some(nodes);
            nodes
        }
    }
}
