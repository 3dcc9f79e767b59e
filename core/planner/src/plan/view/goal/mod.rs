//! Which table is wanted, seen from the table that holds everything now.
//!
//! Worked out anew every round, from the old table and from what is under way:
//! what was begun is kept as long as nothing speaks against it, so that a change
//! does not start over because somebody was slow to answer once. Repairs come
//! first, then nodes that join, another replication, and last nodes that leave:
//! one at a time, and only in a change of their own.

mod choice;
pub mod joiners;
mod leave;
mod repair;
mod replication;

use chord_types::Table;

use self::choice::Choice;
use self::joiners::Joiners;
use super::note::{Note, Topic};
use crate::plan::cluster::{self, Cluster};
use crate::plan::input::Millis;
use crate::plan::memory::Memory;

/// The table to go to, and what is left out of it at present.
#[derive(Debug, PartialEq)]
pub struct Goal {
    /// The table.
    pub table: Table,
    /// Why something that is wanted is not in it.
    pub notes: Vec<Note>,
    /// A new node is there and waits for others.
    pub joiners_wait: bool,
    /// New nodes that are not there yet, in words.
    pub awaited: Option<String>,
}

/// Works out which table is wanted, for `target` ordinals.
pub fn goal(cluster: &Cluster, target: u32, memory: &Memory, now: Millis) -> Goal {
    let mut choice = Choice {
        cluster,
        memory,
        now,
        joint: cluster.is_joint(),
        notes: Vec::new(),
    };
    let old = cluster.view.old();
    let Joiners {
        members: joiners,
        awaited,
        wait: joiners_wait,
    } = choice.joiners(target);
    let mut table = choice.repaired(joiners);
    let joins = table
        .members
        .iter()
        .any(|m| old.member(m.ordinal).is_none());
    if joins && !choice.joint {
        let missing = cluster.missing(&table);
        if !missing.is_empty() {
            let who = cluster.names(missing);
            choice.notes.retain(|note| note.topic != Topic::Repair);
            table = choice.repaired(Vec::new());
            choice.note(
                Topic::Join,
                format!("new nodes join when {who} answers again or is given up"),
            );
        }
    }
    if !choice.joint
        && let Some(why) = choice.joiner_too_full(&table)
    {
        choice.notes.retain(|note| note.topic != Topic::Repair);
        table = choice.repaired(Vec::new());
        choice.note(Topic::Join, why);
    }
    choice.replication(&mut table);
    choice.leave(&mut table, target);
    Goal {
        table,
        notes: choice.notes,
        joiners_wait,
        awaited: (!awaited.is_empty()).then(|| {
            let shown = awaited.iter().take(5);
            let names = shown.map(|o| cluster::awaited(cluster.observed, *o));
            format!("waits for {}", names.collect::<Vec<_>>().join("; "))
        }),
    }
}
