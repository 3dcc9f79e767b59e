//! What the reports of the members add up to.

use chord_placement::Placement;
use chord_types::{Ordinal, Table};

use crate::plan::cluster::Cluster;
use crate::plan::fit;
use crate::plan::output::StorageStatus;

/// Usage of the members that answer.
pub fn storage(cluster: &Cluster) -> StorageStatus {
    let mut storage = StorageStatus::default();
    let mut files = (!cluster.is_joint()).then_some(0u64);
    for member in cluster.view.new_table().live() {
        let Some(report) = cluster.here(member) else {
            files = None;
            continue;
        };
        files = files.map(|n| n + report.files);
        storage.capacity += report.space.capacity;
        storage.used += report.space.used;
    }
    if let Some((ordinal, percent)) = fit::fullest(cluster, cluster.view.new_table()) {
        storage.fullest_node = Some(ordinal);
        storage.fullest_percent = percent.round() as u32;
    }
    storage.files = files;
    storage.used_percent = fit::percent(storage.used, storage.capacity).round() as u32;
    storage
}

/// Members of either table, not given up, that do not answer with their disk.
pub fn missing(cluster: &Cluster) -> Vec<Ordinal> {
    let mut missing = cluster.missing(cluster.view.old());
    missing.extend(cluster.missing(cluster.view.new_table()));
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// Whether every range has its quorum in each table.
pub fn has_quorum(cluster: &Cluster, missing: &[Ordinal]) -> bool {
    let tables = [cluster.view.old(), cluster.view.new_table()];
    let spare = |t: &Table| usize::from(t.replication) - t.quorum();
    if tables
        .iter()
        .all(|t| missing.len() <= spare(t) && t.live().count() >= usize::from(t.replication))
    {
        return true;
    }
    tables.iter().all(|table| {
        Placement::new(table).ranges().all(|(_, owners)| {
            owners.iter().filter(|m| cluster.here(m).is_some()).count() >= table.quorum()
        })
    })
}

/// Copies that nodes could not make again, in words; empty: none.
pub fn lacking(cluster: &Cluster) -> String {
    let reports = cluster.view.new_table().live();
    let reports = reports.filter_map(|m| Some((m.ordinal, &cluster.here(m)?.copies)));
    let lacking: Vec<_> = reports.filter(|(_, c)| c.unrepaired > 0).collect();
    let Some((who, copies)) = lacking.iter().max_by_key(|(_, c)| c.unrepaired) else {
        return String::new();
    };
    let count: u64 = lacking.iter().map(|(_, c)| c.unrepaired).sum();
    let why = copies.waiting.as_deref().unwrap_or("it does not say why");
    format!(
        "{count} copies cannot be made again at present; {}: {why}",
        cluster.name(*who)
    )
}
