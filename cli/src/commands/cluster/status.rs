//! `chord status`: what the ChordCluster's status says, or, where only nodes can be
//! asked, what follows from their reports.

use chord_api::files::FilesClient;
use chord_api::status::{MemberStatus, NodeStatus};
use chord_operator::crd::ChordClusterStatus;
use chord_operator::crd::status::{StorageStatus, ViewStatus};
use chord_operator::crd::units::human_bytes;
use chord_operator::local::files::StatusFile;

use crate::failure::{Code, Failure};
use crate::output::Output;
use crate::target::Target;

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
        let apart = drained.count();
        return out.show(&status, || lines(&status, apart));
    }
    let files = target.files().await?;
    let (status, apart) = match supervised(&files).await? {
        Some(file) => {
            let apart = file.nodes.iter().filter(|n| n.state == "Out").count();
            (file.status, apart)
        }
        None => (derived(&files.status().await?), 0),
    };
    out.show(&status, || lines(&status, apart))
}

/// What the operator of `chord up` knows; `None` where nothing like it is there.
pub async fn supervised(files: &FilesClient) -> Result<Option<StatusFile>, Failure> {
    let Some(value) = files.cluster_status().await? else {
        return Ok(None);
    };
    serde_json::from_value(value)
        .map(Some)
        .map_err(|e| Failure::failed(format!("the cluster's status cannot be read: {e}")))
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
            capacity: human_bytes(capacity),
            used: human_bytes(used),
            used_percent: percent(used, capacity),
            fullest_node: fullest.map(|r| r.name.clone()),
            fullest_percent: fullest.map_or(0, |r| percent(r.space.used, r.space.capacity)),
            files: reports().map(|r| r.files).sum(),
        },
        ..ChordClusterStatus::default()
    }
}

/// Used of capacity, in percent, rounded down.
pub fn percent(used: u64, capacity: u64) -> u32 {
    if capacity == 0 {
        return 0;
    }
    u32::try_from(u128::from(used) * 100 / u128::from(capacity)).unwrap_or(u32::MAX)
}

/// `apart`: nodes that own nothing, since they are drained or given up.
fn lines(status: &ChordClusterStatus, apart: usize) -> Vec<String> {
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
            match apart {
                0 => String::new(),
                apart => format!(", {apart} drained or given up"),
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub fn report(ordinal: u32, used: u64) -> Value {
        json!({
            "name": format!("files-{ordinal}"), "ordinal": ordinal,
            "disk": uuid::Uuid::from_u128(u128::from(ordinal)), "cluster": "u", "version": "1", "boot": 1,
            "view": {"epoch": 3, "hash": "00".repeat(32)}, "ready": true,
            "space": {"capacity": 1000, "used": used, "available": 1000 - used, "device": "d"},
            "files": 5,
            "inventory": {"registers": 0, "hints": 0, "chunks": 0, "dropped": 0},
            "sync": {"epoch": 3, "hash": "00".repeat(32), "settled": true, "pending": 0, "waiting": null},
            "copies": {"epoch": 3, "complete": true, "missing": 0},
        })
    }

    pub fn member(ordinal: u32, alive: bool, in_old: bool, in_new: bool) -> Value {
        json!({
            "ordinal": ordinal, "name": format!("files-{ordinal}"),
            "disk": uuid::Uuid::from_u128(u128::from(ordinal)),
            "address": format!("http://127.0.0.1:{}", 9000 + ordinal),
            "alive": alive, "out": false, "in_old": in_old, "in_new": in_new,
            "report": if alive { report(ordinal, 100 * u64::from(ordinal)) } else { Value::Null },
        })
    }

    pub fn node(members: &[Value]) -> NodeStatus {
        let mut status = report(0, 0);
        status["workers"] = json!([]);
        status["members"] = json!(members);
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn the_phase_follows_from_the_members() {
        let steady = |n| member(n, true, true, true);
        let phase = |members: &[Value]| derived(&node(members)).phase;
        assert_eq!(phase(&[steady(0), steady(1)]), "Ready");
        assert_eq!(
            phase(&[steady(0), member(1, true, false, true)]),
            "ScalingOut"
        );
        assert_eq!(
            phase(&[steady(0), member(1, true, true, false)]),
            "ScalingIn"
        );
        assert_eq!(
            phase(&[steady(0), member(1, false, true, true)]),
            "Degraded"
        );
    }

    #[test]
    fn a_node_that_is_drained_accounts_for_the_one_that_lacks() {
        let status = ChordClusterStatus {
            nodes: 5,
            desired_nodes: 6,
            ready_nodes: 5,
            ..ChordClusterStatus::default()
        };
        let shown = |apart| lines(&status, apart)[1].clone();
        assert_eq!(shown(1), "nodes    5 of 6, 5 ready, 1 drained or given up");
        assert_eq!(shown(0), "nodes    5 of 6, 5 ready");
    }

    #[test]
    fn the_decision_is_said_once() {
        let status = ChordClusterStatus {
            autoscaling: serde_json::from_value(json!({
                "decision": "Hold", "reason": "fullest node files-0 is 1 % full",
                "at": "2026-01-02T03:04:05Z",
            }))
            .unwrap(),
            ..ChordClusterStatus::default()
        };
        assert_eq!(
            lines(&status, 0).last().unwrap(),
            "scaling  Hold: fullest node files-0 is 1 % full"
        );
    }

    #[test]
    fn of_nodes_that_are_as_full_the_lowest_is_named() {
        let mut all: Vec<Value> = (1..4).map(|n| member(n, true, true, true)).collect();
        for one in &mut all {
            one["report"]["space"] = all_alike();
        }
        let status = derived(&node(&all));
        assert_eq!(status.storage.fullest_node.as_deref(), Some("files-1"));
    }

    fn all_alike() -> Value {
        json!({"capacity": 1000, "used": 10, "available": 990, "device": "d"})
    }

    #[test]
    fn space_is_summed_and_the_fullest_is_named() {
        let all: Vec<Value> = (0..3).map(|n| member(n, true, true, true)).collect();
        let status = derived(&node(&all));
        assert_eq!(
            (status.nodes, status.ready_nodes, status.desired_nodes),
            (3, 3, 3)
        );
        assert_eq!(status.storage.used_percent, 10);
        assert_eq!(status.storage.fullest_node.as_deref(), Some("files-2"));
        assert_eq!(status.storage.fullest_percent, 20);
        assert_eq!(status.storage.files, 15);
    }
}
