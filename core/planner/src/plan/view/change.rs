//! The next view: beginning a change, redirecting it, giving it up, and
//! completing it on evidence.

use chord_types::{Ordinal, Table, View};

use super::completion::{can_finish, unsynced};
use super::goal::Goal;
use super::note::{Note, Topic};
use crate::plan::cluster::Cluster;

/// The stored view must fit into a ConfigMap with room to spare.
const VIEW_BYTES_AT_MOST: usize = 512 * 1024;

/// What is to be done with the view.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// It is what is wanted.
    Keep,
    /// A change is under way, or should begin, and waits: for whom, and why.
    Wait(String),
    /// This view is next; what happens, for people.
    Next {
        /// The next view.
        view: Box<View>,
        /// CamelCase.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

/// Decides on the step from the view in force towards the wanted table.
pub fn step(cluster: &Cluster, goal: &Goal, notes: &mut Vec<Note>) -> Step {
    let view = &cluster.view;
    let (old, new) = (view.old(), view.new_table());
    if goal.table == *new {
        if !cluster.is_joint() {
            return Step::Keep;
        }
        if let Some(waiting) = unsynced(cluster) {
            return Step::Wait(waiting);
        }
        return next(
            view.complete(),
            "ChangeCompleted",
            format!("{}: done", describe(cluster, old, new)),
        );
    }
    if cluster.is_joint() && goal.table == *old {
        return next(
            view.abandon(),
            "ChangeGivenUp",
            format!("{}: given up", describe(cluster, old, new)),
        );
    }
    let what = describe(cluster, old, &goal.table);
    if let Err(why) = can_finish(cluster, &goal.table) {
        notes.push(Note {
            topic: Topic::Repair,
            text: format!("{what}: waits, {why}"),
        });
        return Step::Wait(format!("{what}: {why}"));
    }
    match view.change_to(goal.table.clone()) {
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
