//! `chord nodes`: a node a line.

use std::collections::BTreeMap;

use chord_api::report::{MemberStatus, NodeStatus};
use serde::{Deserialize, Serialize};

use super::status::{PROCESSES, percent};
use crate::exit::Failure;
use crate::output::{Output, bytes, table};
use crate::target::Target;

/// One node, as programs get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Told {
    name: String,
    /// The base URL of its client port.
    address: String,
    /// `Ready`, `Joining`, `Leaving`, `Down` or `Out`.
    state: &'static str,
    /// Bytes; unknown of a node that does not answer.
    used: Option<u64>,
    capacity: Option<u64>,
    files: Option<u64>,
    /// Under `chord up` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

/// A process of `chord up`, as its supervisor tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub ordinal: u32,
    /// The base URL of its client port.
    pub address: String,
    /// Absent while it is being started again.
    pub pid: Option<u32>,
    /// Shall own nothing.
    pub drained: bool,
    /// On its way out.
    pub leaving: bool,
}

pub async fn run(target: &Target, out: Output) -> Result<(), Failure> {
    let files = target.files().await?;
    let status = files.status().await?;
    let processes = match files.cluster_status().await? {
        Some(mut value) => serde_json::from_value(value[PROCESSES].take()).unwrap_or_default(),
        None => BTreeMap::new(),
    };
    let told = told(&status, &processes);
    out.show(&told, || lines(&told))
}

/// Members of the view, and processes that are not members (yet, or any more).
fn told(status: &NodeStatus, processes: &BTreeMap<String, Process>) -> Vec<Told> {
    let mut all: BTreeMap<(u32, String), Told> = BTreeMap::new();
    for member in &status.members {
        let process = processes.get(&member.name);
        let report = member.report.as_ref().filter(|_| member.alive);
        let told = Told {
            name: member.name.clone(),
            address: process.map_or_else(|| member.address.clone(), |p| p.address.clone()),
            state: state(member),
            used: report.map(|r| r.space.used),
            capacity: report.map(|r| r.space.capacity),
            files: report.map(|r| r.files),
            pid: process.and_then(|p| p.pid),
        };
        // Two disks of one name: the one that is to stay is the one to show.
        let key = (member.ordinal.0, member.name.clone());
        if member.in_new || !all.contains_key(&key) {
            all.insert(key, told);
        }
    }
    for (name, process) in processes {
        all.entry((process.ordinal, name.clone())).or_insert_with(|| Told {
            name: name.clone(),
            address: process.address.clone(),
            state: match process {
                Process { leaving: true, .. } => "Leaving",
                Process { drained: true, .. } => "Out",
                Process { pid: None, .. } => "Down",
                _ => "Joining",
            },
            used: None,
            capacity: None,
            files: None,
            pid: process.pid,
        });
    }
    all.into_values().collect()
}

fn state(member: &MemberStatus) -> &'static str {
    let ready = member.report.as_ref().is_none_or(|r| r.ready);
    match member {
        MemberStatus { out: true, .. } => "Out",
        MemberStatus { alive: false, .. } => "Down",
        MemberStatus { in_old: true, in_new: false, .. } => "Leaving",
        MemberStatus { in_old: false, .. } => "Joining",
        _ if ready => "Ready",
        _ => "Joining",
    }
}

fn lines(nodes: &[Told]) -> Vec<String> {
    let with_pid = nodes.iter().any(|n| n.pid.is_some());
    let mut header: Vec<String> = ["NAME", "STATE", "USED", "CAPACITY", "FULL", "FILES"].map(String::from).into();
    if with_pid {
        header.push("PID".into());
    }
    header.push("ADDRESS".into());
    let mut rows = vec![header];
    for node in nodes {
        let full = match (node.used, node.capacity) {
            (Some(used), Some(capacity)) => format!("{} %", percent(used, capacity)),
            _ => "-".into(),
        };
        let dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let mut row = vec![
            node.name.clone(),
            node.state.to_string(),
            dash(node.used.map(bytes)),
            dash(node.capacity.map(bytes)),
            full,
            dash(node.files.map(|n| n.to_string())),
        ];
        if with_pid {
            row.push(dash(node.pid.map(|n| n.to_string())));
        }
        row.push(node.address.clone());
        rows.push(row);
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::{member, node};
    use super::*;

    fn process(ordinal: u32, pid: Option<u32>) -> (String, Process) {
        let address = format!("http://127.0.0.1:{}", 9000 + ordinal);
        let process = Process { ordinal, address, pid, drained: false, leaving: false };
        (format!("files-{ordinal}"), process)
    }

    #[test]
    fn states_follow_from_the_tables_and_from_who_answers() {
        let status = node(&[
            member(0, true, true, true),
            member(1, false, true, true),
            member(2, true, true, false),
            member(10, true, false, true),
        ]);
        let states: Vec<_> = told(&status, &BTreeMap::new()).iter().map(|t| (t.name.clone(), t.state)).collect();
        let wanted = [("files-0", "Ready"), ("files-1", "Down"), ("files-2", "Leaving"), ("files-10", "Joining")];
        assert_eq!(states, wanted.map(|(n, s)| (n.to_string(), s)), "in order of their ordinals");
    }

    #[test]
    fn processes_give_pids_and_show_nodes_that_are_no_members() {
        let status = node(&[member(0, true, true, true)]);
        let told = told(&status, &BTreeMap::from([process(0, Some(7)), process(1, Some(8)), process(2, None)]));
        let short: Vec<_> = told.iter().map(|t| (t.state, t.pid)).collect();
        assert_eq!(short, [("Ready", Some(7)), ("Joining", Some(8)), ("Down", None)]);
        let json = serde_json::to_value(&told[0]).unwrap();
        assert_eq!(json["address"], "http://127.0.0.1:9000");
        assert!(json["used"].is_u64() && json["capacity"].is_u64() && json["files"].is_u64());
    }
}
