//! Whether a change can be completed, and whether it may be now: enough of the old
//! owners of *every* range that changes must have brought over what they held.

use std::collections::BTreeMap;

use chord_placement::{Change, Placements};
use chord_types::{Ordinal, Table};

use crate::plan::cluster::Cluster;

/// Who has not yet brought what it held into the new table, in words; `None` only
/// when enough of the old owners of *every* changed range have.
pub fn unsynced(cluster: &Cluster) -> Option<String> {
    let placements = Placements::new(&cluster.view);
    let needed = cluster.view.old().blocking();
    let mut complete = true;
    let mut waiting: BTreeMap<Ordinal, String> = BTreeMap::new();
    for Change { from, .. } in placements.changed() {
        let (mut synced, mut missing) = (0, Vec::new());
        for owner in from {
            let report = cluster.here(owner);
            let settled = report.is_some_and(|r| {
                r.view == Some(cluster.reference)
                    && r.sync.settled
                    && r.sync.epoch == cluster.reference.epoch
                    && r.sync.hash == cluster.reference.hash
            });
            if settled {
                synced += 1
            } else {
                missing.push((owner.ordinal, report))
            }
        }
        if synced >= needed {
            continue;
        }
        complete = false;
        for (ordinal, report) in missing {
            waiting.entry(ordinal).or_insert_with(|| match report {
                None => "does not answer".to_string(),
                Some(r) if r.sync.epoch != cluster.reference.epoch => {
                    "has not taken the view yet".to_string()
                }
                Some(r) => r
                    .sync
                    .waiting
                    .clone()
                    .unwrap_or_else(|| "is copying".to_string()),
            });
        }
    }
    if complete {
        return None;
    }
    let texts: Vec<String> = waiting
        .iter()
        .take(5)
        .map(|(o, why)| format!("{}: {why}", cluster.name(*o)))
        .collect();
    Some(match waiting.len().saturating_sub(texts.len()) {
        0 if texts.is_empty() => "too few of the old owners of some files are left".to_string(),
        0 => texts.join("; "),
        unnamed => format!("{}; and {unnamed} more", texts.join("; ")),
    })
}

/// Whether, as far as one sees now, a change to `table` can be completed: enough
/// old owners of every range that changes answer.
pub fn can_finish(cluster: &Cluster, table: &Table) -> Result<(), String> {
    let joint = cluster
        .view
        .change_to(table.clone())
        .map_err(|e| e.to_string())?;
    let needed = cluster.view.old().blocking();
    for change in Placements::new(&joint).changed() {
        let answering = change
            .from
            .iter()
            .filter(|m| cluster.here(m).is_some())
            .count();
        if answering < needed {
            let silent = change
                .from
                .iter()
                .filter(|m| cluster.here(m).is_none())
                .map(|m| m.ordinal);
            return Err(format!(
                "of {} copies of some files {answering} answer, {needed} are needed: {} must answer with its disk",
                cluster.view.old().replication,
                cluster.names(silent)
            ));
        }
    }
    Ok(())
}
