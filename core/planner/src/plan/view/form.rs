//! The first view: only when every node answers and no disk carries a view.

use chord_types::{Member, Ordinal, Table, View};

use super::sites;
use crate::plan::cluster::{awaited, name_of, report_at};
use crate::plan::input::{Observed, Spec};
use crate::tokens::{self, Seat};

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
    let silent: Vec<String> = ordinals
        .iter()
        .filter(|o| report_at(observed, **o).is_none())
        .map(|o| awaited(observed, *o))
        .collect();
    let (mut members, capacities) = members(spec, observed, &ordinals, nodes)?;
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
            ordinals.len()
        ));
    }
    let ordinals: Vec<Ordinal> = members.iter().map(|m| m.ordinal).collect();
    let usual = spec.tokens_per_node;
    let others: Vec<(u32, u64)> = capacities.iter().map(|c| (usual, *c)).collect();
    let sites = sites::at_forming(observed, &ordinals)?;
    let seats: Vec<Seat> = sites
        .iter()
        .zip(&capacities)
        .map(|(site, capacity)| Seat {
            tokens: tokens::tokens_for(*capacity, &others, usual),
            zone: site.zone.clone(),
            machine: site.machine.clone(),
        })
        .collect();
    let assigned = tokens::assign(spec.replication, &seats);
    for ((member, site), tokens) in members.iter_mut().zip(sites).zip(assigned) {
        member.zone = site.zone;
        member.machine = site.machine;
        member.tokens = tokens;
    }
    let table = Table {
        replication: spec.replication,
        members,
    };
    View::first(spec.cluster.clone(), table)
        .map_err(|e| format!("the first view cannot be made: {e}"))
}

/// The members of the first view, without tokens, and the bytes of each one's disk; an
/// error where a disk is there that must not be one of them.
fn members(
    spec: &Spec,
    observed: &Observed,
    ordinals: &[Ordinal],
    nodes: u32,
) -> Result<(Vec<Member>, Vec<u64>), String> {
    let (mut members, mut capacities) = (Vec::<Member>::new(), Vec::new());
    for ordinal in ordinals {
        let Some(report) = report_at(observed, *ordinal) else {
            continue;
        };
        let name = name_of(observed, *ordinal);
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
        if ordinal.0 < nodes && !spec.drained.contains(ordinal) {
            capacities.push(report.space.capacity);
            members.push(Member {
                ordinal: *ordinal,
                disk: report.disk,
                tokens: Vec::new(),
                zone: None,
                machine: None,
                out: false,
            });
        }
    }
    Ok((members, capacities))
}
