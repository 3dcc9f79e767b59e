//! The next view: beginning a change, redirecting it, giving it up, and
//! completing it on evidence.

use std::collections::BTreeMap;

use chord_placement::{Change, Placements};
use chord_types::{Ordinal, Table, Tables, View};

use super::facts::Cluster;
use super::wanted::{Note, Topic, Wanted};

/// The stored view must fit into a ConfigMap with room to spare.
pub const VIEW_BYTES_AT_MOST: usize = 512 * 1024;

/// Whether a change is under way.
pub fn is_joint(view: &View) -> bool {
    matches!(view.tables, Tables::Joint(..))
}

/// What is to be done with the view.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// It is what is wanted.
    Keep,
    /// A change is under way, or should begin, and waits: for whom, and why.
    Wait(String),
    /// This view is next; what happens, for people.
    Next {
        view: Box<View>,
        reason: &'static str,
        message: String,
    },
}

/// Decides on the step from the view in force towards the wanted table.
pub fn step(cluster: &Cluster, wanted: &Wanted, notes: &mut Vec<Note>) -> Step {
    let view = &cluster.view;
    let (old, goal) = (view.old(), view.new_table());
    if wanted.table == *goal {
        if !is_joint(view) {
            return Step::Keep;
        }
        if let Some(waiting) = unsynced(cluster) {
            return Step::Wait(waiting);
        }
        return next(
            view.complete(),
            "ChangeCompleted",
            format!("{}: done", describe(cluster, old, goal)),
        );
    }
    if is_joint(view) && wanted.table == *old {
        return next(
            view.abandon(),
            "ChangeGivenUp",
            format!("{}: given up", describe(cluster, old, goal)),
        );
    }
    let what = describe(cluster, old, &wanted.table);
    if let Err(why) = can_finish(cluster, &wanted.table) {
        notes.push(Note {
            topic: Topic::Repair,
            text: format!("{what}: waits, {why}"),
        });
        return Step::Wait(format!("{what}: {why}"));
    }
    match view.change_to(wanted.table.clone()) {
        Ok(view) if view.encode().len() > VIEW_BYTES_AT_MOST => {
            let text = format!(
                "{what}: the view would be larger than {} KiB; a cluster of so many nodes needs fewer tokens a node",
                VIEW_BYTES_AT_MOST / 1024
            );
            notes.push(Note {
                topic: Topic::Size,
                text: text.clone(),
            });
            Step::Wait(text)
        }
        made => next(made, "ChangeStarted", what),
    }
}

fn next(
    made: Result<View, chord_types::view::BadView>,
    reason: &'static str,
    message: String,
) -> Step {
    match made {
        Ok(view) => Step::Next {
            view: Box::new(view),
            reason,
            message,
        },
        Err(e) => Step::Wait(format!("{message}: the next view cannot be made: {e}")),
    }
}

/// Who has not yet brought what it held into the new table, in words; `None` only
/// when enough of the old owners of *every* changed range have.
fn unsynced(cluster: &Cluster) -> Option<String> {
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
        more => format!("{}; and {more} more", texts.join("; ")),
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

/// A change in words.
pub fn describe(cluster: &Cluster, old: &Table, new: &Table) -> String {
    let mut parts = Vec::new();
    let mut part = |verb: &str, ordinals: Vec<Ordinal>| {
        if !ordinals.is_empty() {
            parts.push(format!("{verb} {}", cluster.names(ordinals)));
        }
    };
    let both = || {
        old.members
            .iter()
            .filter_map(|m| new.member(m.ordinal).map(|n| (m, n)))
    };
    part(
        "join",
        new.members
            .iter()
            .map(|m| m.ordinal)
            .filter(|o| old.member(*o).is_none())
            .collect(),
    );
    part(
        "leave",
        old.members
            .iter()
            .map(|m| m.ordinal)
            .filter(|o| new.member(*o).is_none())
            .collect(),
    );
    part(
        "another disk:",
        both()
            .filter(|(m, n)| m.disk != n.disk)
            .map(|(m, _)| m.ordinal)
            .collect(),
    );
    part(
        "repair around",
        both()
            .filter(|(m, n)| !m.out && n.out)
            .map(|(m, _)| m.ordinal)
            .collect(),
    );
    part(
        "back again:",
        both()
            .filter(|(m, n)| m.out && !n.out && m.disk == n.disk)
            .map(|(m, _)| m.ordinal)
            .collect(),
    );
    if old.replication != new.replication {
        parts.push(format!(
            "{} copies instead of {}",
            new.replication, old.replication
        ));
    }
    parts.join(", ")
}
