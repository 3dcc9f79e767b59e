//! `chord status`: what the ChordCluster's status says, or, where only nodes can be
//! asked, what follows from their reports.

#[cfg(test)]
mod tests;

use chord_api::human;
use chord_api::status::{MemberStatus, NodeStatus};
use chord_operator::crd::ChordClusterStatus;
use chord_operator::crd::status::{StorageStatus, ViewStatus};

use super::members::{operator_status, percent};
use crate::access::Target;
use crate::failure::{Code, Failure};
use crate::output::Output;

/// Shows the cluster's state.
pub async fn run(target: &Target, out: Output) -> Result<(), Failure> {
    if let Some(cluster) = target.cluster().await? {
        let status = cluster.resource().status.clone().ok_or_else(|| {
            Failure::new(
                Code::Unavailable,
                "the ChordCluster has no status yet: does an operator run?",
            )
        })?;
        let spec = &cluster.resource().spec;
        let drained = spec.drained.iter().filter(|o| **o < status.desired_nodes);
        let idle = drained.count();
        return out.show(&status, || lines(&status, idle));
    }
    let files = target.files().await?;
    let (status, idle) = match operator_status(&files).await? {
        Some(file) => {
            let idle = file.nodes.iter().filter(|n| n.state == "Out").count();
            (file.status, idle)
        }
        None => (derived(&files.status().await?), 0),
    };
    out.show(&status, || lines(&status, idle))
}

/// The status as far as one node knows it.
fn derived(node: &NodeStatus) -> ChordClusterStatus {
    let count = |want: &dyn Fn(&MemberStatus) -> bool| {
        u32::try_from(node.members.iter().filter(|m| want(m)).count()).unwrap_or(u32::MAX)
    };
    let joint = node.members.iter().any(|m| m.in_old != m.in_new);
    let joining = count(&|m| m.in_new && !m.in_old);
    let leaving = count(&|m| m.in_old && !m.in_new);
    let lacking = count(&|m| m.out || !m.alive);
    let phase = match node.report.view {
        None => "Forming",
        Some(_) if lacking > 0 => "Degraded",
        Some(_) if joining > 0 => "ScalingOut",
        Some(_) if leaving > 0 => "ScalingIn",
        Some(_) => "Ready",
    };
    let reports = || node.members.iter().filter_map(|m| m.report.as_ref());
    let capacity: u64 = reports().map(|r| r.space.capacity).sum();
    let used: u64 = reports().map(|r| r.space.used).sum();
    // The lowest of several, as the operator names it.
    let fullest = reports().max_by_key(|r| {
        let full = percent(r.space.used, r.space.capacity);
        (full, r.space.used, std::cmp::Reverse(r.ordinal))
    });
    ChordClusterStatus {
        phase: phase.to_string(),
        nodes: count(&|m| m.in_old),
        ready_nodes: count(&|m| m.alive && m.report.as_ref().is_some_and(|r| r.ready)),
        desired_nodes: count(&|m| m.in_new),
        view: node.report.view.map(|view| ViewStatus {
            epoch: view.epoch.0,
            tables: if joint { "Joint" } else { "Stable" }.to_string(),
        }),
        storage: StorageStatus {
            capacity: human::quantity(capacity),
            used: human::quantity(used),
            used_percent: percent(used, capacity),
            fullest_node: fullest.map(|r| r.name.clone()),
            fullest_percent: fullest.map_or(0, |r| percent(r.space.used, r.space.capacity)),
            files: reports().map(|r| r.files).sum(),
        },
        ..ChordClusterStatus::default()
    }
}

/// `idle`: nodes that own nothing, since they are drained or given up.
fn lines(status: &ChordClusterStatus, idle: usize) -> Vec<String> {
    let mut lines = vec![
        format!(
            "phase    {}",
            if status.phase.is_empty() {
                "Pending"
            } else {
                &status.phase
            }
        ),
        format!(
            "nodes    {} of {}, {} ready{}",
            status.nodes,
            status.desired_nodes,
            status.ready_nodes,
            match idle {
                0 => String::new(),
                idle => format!(", {idle} drained or given up"),
            }
        ),
    ];
    if let Some(view) = &status.view {
        lines.push(format!("view     epoch {}, {}", view.epoch, view.tables));
    }
    let storage = &status.storage;
    lines.push(format!(
        "space    {} of {} used ({} %)",
        storage.used, storage.capacity, storage.used_percent
    ));
    if let Some(node) = &storage.fullest_node {
        lines.push(format!("fullest  {node}, {} %", storage.fullest_percent));
    }
    lines.push(format!("files    {}", storage.files));
    if let Some(scaling) = &status.autoscaling {
        lines.push(format!("scaling  {}: {}", scaling.decision, scaling.reason));
        lines.extend(
            scaling
                .blocked_by
                .iter()
                .map(|b| format!("         blocked by {b}")),
        );
    }
    for condition in &status.conditions {
        // What is as it should be needs no words.
        let wanted = matches!(
            condition.type_.as_str(),
            "Ready" | "StorageHealthy" | "CopiesSpread"
        );
        if (condition.status == "True") != wanted && !condition.message.is_empty() {
            lines.push(format!(
                "note     {}: {}",
                condition.type_, condition.message
            ));
        }
    }
    lines
}
