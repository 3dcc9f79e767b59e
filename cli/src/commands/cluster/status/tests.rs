//! What a cluster's state is made of, and how it is shown.

use serde_json::{Value, json};

use super::*;
use crate::commands::cluster::fixtures::{member, node};

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
