//! The first view: only when every node answers and no disk carries a view.

use chord_api::{Member, Ordinal, Table, View};

use super::facts::{awaited, name_of, report_at};
use super::types::{Observed, Spec};
use crate::tokens;

/// The first view with `nodes` ordinals, or why it cannot be made yet.
pub fn form(spec: &Spec, observed: &Observed, nodes: u32) -> Result<View, String> {
    // Beyond those that are wanted, who has no disk has nothing to say.
    let existing = observed
        .nodes
        .iter()
        .filter(|(_, n)| n.disk_exists || n.report.is_some())
        .map(|(o, _)| *o);
    let mut ordinals: Vec<Ordinal> = (0..nodes).map(Ordinal).chain(existing).collect();
    ordinals.sort_unstable();
    ordinals.dedup();
    let ordinals_known = ordinals.len();
    let silent: Vec<String> = ordinals
        .iter()
        .filter(|o| report_at(observed, **o).is_none())
        .map(|o| awaited(observed, *o))
        .collect();
    let mut members: Vec<Member> = Vec::new();
    let assigned = tokens::assign(spec.tokens_per_node, spec.replication, nodes as usize);
    for ordinal in ordinals {
        let Some(report) = report_at(observed, ordinal) else {
            continue;
        };
        let name = name_of(observed, ordinal);
        if let Some(cluster) = report.cluster.as_ref().filter(|c| **c != spec.cluster) {
            return Err(format!(
                "the disk of {name} belongs to another cluster ({cluster}): a new cluster is formed of empty disks only; \
                 take that disk away if its files are not needed"
            ));
        }
        let inventory = report.inventory;
        if report.view.is_some() || inventory.registers + inventory.hints + inventory.chunks > 0 {
            return Err(format!(
                "the disk of {name} is not empty: a new cluster is formed of empty disks only"
            ));
        }
        if members.iter().any(|m| m.disk == report.disk) {
            return Err(format!(
                "the disk of {name} ({}) is the disk of another node too",
                report.disk
            ));
        }
        let Some(tokens) = assigned.get(ordinal.0 as usize) else {
            continue;
        };
        if !spec.drained.contains(&ordinal) {
            let zone = observed.nodes.get(&ordinal).and_then(|n| n.zone.clone());
            members.push(Member {
                ordinal,
                disk: report.disk,
                tokens: tokens.clone(),
                zone,
                out: false,
            });
        }
    }
    if !silent.is_empty() {
        let shown = silent
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join("; ");
        return Err(format!(
            "waiting for {} of {} nodes: {shown}",
            silent.len(),
            ordinals_known
        ));
    }
    let table = Table {
        replication: spec.replication,
        members,
    };
    View::first(spec.cluster.clone(), table)
        .map_err(|e| format!("the first view cannot be made: {e}"))
}
