//! Another number of copies.

use chord_types::Table;

use super::choice::Choice;
use crate::plan::fit::{self, FULL};
use crate::plan::view::note::Topic;

impl Choice<'_, '_> {
    /// Another replication, where the members suffice for it.
    pub fn replication(&mut self, table: &mut Table) {
        let cluster = self.cluster;
        let goal = cluster.spec.replication;
        if goal == table.replication {
            return;
        }
        let mut changed = table.clone();
        changed.replication = goal;
        let live = changed.live().count();
        if live < usize::from(goal) {
            self.note(
                Topic::Replication,
                format!("{goal} copies need {goal} members, there are {live}"),
            );
            return;
        }
        if self.joint {
            if cluster.view.new_table().replication == goal {
                *table = changed;
            }
            return;
        }
        let missing = cluster.missing(table);
        if !missing.is_empty() {
            let who = cluster.names(missing);
            self.note(
                Topic::Replication,
                format!("{goal} copies are made when {who} answers again"),
            );
            return;
        }
        match fit::fullest_after(cluster, &changed) {
            Some((fullest, percent)) if percent > FULL && goal > table.replication => {
                let name = cluster.name(fullest);
                self.note(
                    Topic::Replication,
                    format!(
                        "{goal} copies do not fit: {name} would be {percent:.0} % full; add nodes"
                    ),
                );
            }
            _ => *table = changed,
        }
    }
}
