//! Nodes and members that say what a test needs.

use chord_api::status::NodeStatus;
use serde_json::{Value, json};

/// The report of a node that uses so many of its 1000 bytes.
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

/// A member as one node sees it.
pub fn member(ordinal: u32, alive: bool, in_old: bool, in_new: bool) -> Value {
    json!({
        "ordinal": ordinal, "name": format!("files-{ordinal}"),
        "disk": uuid::Uuid::from_u128(u128::from(ordinal)),
        "address": format!("http://127.0.0.1:{}", 9000 + ordinal),
        "alive": alive, "out": false, "in_old": in_old, "in_new": in_new,
        "report": if alive { report(ordinal, 100 * u64::from(ordinal)) } else { Value::Null },
    })
}

/// A node that sees these members.
pub fn node(members: &[Value]) -> NodeStatus {
    let mut status = report(0, 0);
    status["workers"] = json!([]);
    status["members"] = json!(members);
    serde_json::from_value(status).unwrap()
}
