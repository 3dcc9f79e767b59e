//! `chord nodes`: a node a line.

use std::collections::BTreeMap;

use chord_api::human;
use chord_api::status::NodeStatus;
use chord_operator::local::files::NodeLine;

use super::members::{operator_status, percent, state};
use crate::access::Target;
use crate::failure::Failure;
use crate::output::{Output, table};

/// Shows the nodes.
pub async fn run(target: &Target, out: Output) -> Result<(), Failure> {
    let files = target.files().await?;
    let nodes = match operator_status(&files).await? {
        Some(file) if !file.nodes.is_empty() => file.nodes,
        _ => members(&files.status().await?),
    };
    out.show(&nodes, || lines(&nodes))
}

/// The members of the view, as one node sees them.
fn members(status: &NodeStatus) -> Vec<NodeLine> {
    let mut all: BTreeMap<u32, (bool, NodeLine)> = BTreeMap::new();
    for member in &status.members {
        let report = member.report.as_ref();
        let line = NodeLine {
            name: member.name.clone(),
            address: Some(member.address.clone()),
            state: state(member).to_string(),
            used: report.map(|r| r.space.used),
            capacity: report.map(|r| r.space.capacity),
            files: report.map(|r| r.files),
            pid: None,
        };
        // Two disks of one name: the one that is to stay is the one to show.
        if member.in_new || !all.contains_key(&member.ordinal.0) {
            all.insert(member.ordinal.0, (member.in_new, line));
        }
    }
    all.into_values().map(|(_, line)| line).collect()
}

fn lines(nodes: &[NodeLine]) -> Vec<String> {
    let with_pid = nodes.iter().any(|n| n.pid.is_some());
    let mut header: Vec<String> = ["NAME", "STATE", "USED", "CAPACITY", "FULL", "FILES"]
        .map(String::from)
        .into();
    if with_pid {
        header.push("PID".into());
    }
    header.push("ADDRESS".into());
    let mut rows = vec![header];
    for node in nodes {
        let figure = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let full = node.used.zip(node.capacity);
        let mut row = vec![
            node.name.clone(),
            node.state.clone(),
            figure(node.used.map(human::size)),
            figure(node.capacity.map(human::size)),
            figure(full.map(|(used, capacity)| format!("{} %", percent(used, capacity)))),
            figure(node.files.map(|files| files.to_string())),
        ];
        if with_pid {
            row.push(node.pid.map_or_else(|| "-".into(), |pid| pid.to_string()));
        }
        row.push(node.address.clone().unwrap_or_else(|| "-".into()));
        rows.push(row);
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{member, node};
    use super::*;

    #[test]
    fn states_follow_from_the_tables_and_from_who_answers() {
        let nodes = members(&node(&[
            member(0, true, true, true),
            member(1, false, true, true),
            member(2, true, true, false),
            member(10, true, false, true),
        ]));
        let states: Vec<_> = nodes
            .iter()
            .map(|n| (n.name.as_str(), n.state.as_str()))
            .collect();
        let wanted = [
            ("files-0", "Ready"),
            ("files-1", "Down"),
            ("files-2", "Leaving"),
            ("files-10", "Joining"),
        ];
        assert_eq!(states, wanted, "in order of their ordinals");
    }

    #[test]
    fn programs_get_what_the_interface_promises() {
        let json = serde_json::to_value(members(&node(&[member(1, true, true, true)]))).unwrap();
        assert_eq!(json[0]["address"], "http://127.0.0.1:9001");
        assert_eq!(
            (json[0]["used"].as_u64(), json[0]["capacity"].as_u64()),
            (Some(100), Some(1000))
        );
        assert_eq!(json[0]["files"], 5);
        assert_eq!(json[0].get("pid"), None);
    }

    #[test]
    fn figures_of_a_silent_node_are_not_shown_as_zeros() {
        let silent = members(&node(&[member(0, false, true, true)]));
        let json = serde_json::to_value(&silent).unwrap();
        for figure in ["used", "capacity", "files"] {
            assert_eq!(json[0].get(figure), Some(&serde_json::Value::Null));
        }
        let shown = lines(&silent);
        assert!(
            shown[1].contains("Down") && shown[1].contains(" -  "),
            "{shown:?}"
        );
    }
}
