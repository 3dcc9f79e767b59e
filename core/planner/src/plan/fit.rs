//! How full disks will be after a change, reckoned from what they hold now.
//!
//! A share of the circle is worth the same number of bytes everywhere, on the
//! whole; so a member's bytes grow and shrink with its share. A member keeps the
//! difference that it has from the mean today (large files, copies not yet
//! dropped).

use chord_placement::Placement;
use chord_types::{Ordinal, Table};

use super::cluster::Cluster;

/// What a careful person still lets a disk be filled to, in percent.
pub const FULL: f64 = 95.0;

/// Percent of the capacity that is used.
pub fn percent(used: u64, capacity: u64) -> f64 {
    if capacity == 0 {
        return 0.0;
    }
    used as f64 * 100.0 / capacity as f64
}

/// The member of a table that is fullest, of those that answer, and how full in
/// percent. The lowest of several: whoever asks is to be told of the same one.
pub fn fullest(cluster: &Cluster, table: &Table) -> Option<(Ordinal, f64)> {
    let percent = |m: &chord_types::Member| {
        let space = &cluster.here(m)?.space;
        Some((m.ordinal, percent(space.used, space.capacity)))
    };
    table
        .live()
        .filter_map(percent)
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
}

/// The member that will be fullest with `after`, and how full in percent, from
/// the members of the old table that answer. `None` where nobody does.
pub fn fullest_after(cluster: &Cluster, after: &Table) -> Option<(Ordinal, f64)> {
    let before = Placement::new(cluster.view.old()).shares();
    let shares = Placement::new(after).shares();
    let (mut bytes, mut share) = (0.0, 0.0);
    for member in cluster.view.old().live() {
        if let Some(report) = cluster.here(member) {
            bytes += report.space.used as f64;
            share += before.get(&member.ordinal).copied().unwrap_or(0.0);
        }
    }
    if share <= 0.0 {
        return None;
    }
    let worth = bytes / share;
    after
        .live()
        .map(|member| {
            let next = shares.get(&member.ordinal).copied().unwrap_or(0.0);
            let same_disk = cluster
                .view
                .old()
                .member(member.ordinal)
                .is_some_and(|m| m.disk == member.disk && !m.out);
            let report = cluster
                .report(member.ordinal)
                .filter(|r| r.disk == member.disk);
            let now = if same_disk {
                before.get(&member.ordinal).copied().unwrap_or(0.0)
            } else {
                0.0
            };
            let held = match report {
                Some(report) => report.space.used as f64,
                None => worth * now,
            };
            let capacity = report
                .map_or(cluster.spec.storage_size, |r| r.space.capacity)
                .max(1);
            (
                member.ordinal,
                (held + worth * (next - now)).max(0.0) * 100.0 / capacity as f64,
            )
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
}
