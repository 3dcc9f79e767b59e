//! Members that leave or are drained: one at a time, in a change of their own.

use chord_types::{Ordinal, Table};

use super::choice::Choice;
use crate::plan::fit::{self, FULL};
use crate::plan::view::note::Topic;

/// A disk this full takes nothing more: a change that needs it to is given up.
const STUCK: f64 = 98.0;

impl Choice<'_, '_> {
    /// Takes one member out that shall leave or be drained, where that is safe.
    pub fn leave(&mut self, table: &mut Table, target: u32) {
        let cluster = self.cluster;
        let old = cluster.view.old();
        let highest = old.members.iter().map(|m| m.ordinal).max();
        let drained = old
            .members
            .iter()
            .map(|m| m.ordinal)
            .filter(|o| cluster.spec.drained.contains(o));
        let beyond = highest.filter(|o| o.0 >= target && !cluster.spec.drained.contains(o));
        let leaving: Vec<Ordinal> = drained.chain(beyond).collect();
        if self.joint {
            let goal = cluster.view.new_table();
            if let Some(ordinal) = leaving.into_iter().find(|o| goal.member(*o).is_none()) {
                let mut without = table.clone();
                without.members.retain(|m| m.ordinal != ordinal);
                let joins = table
                    .members
                    .iter()
                    .any(|m| old.member(m.ordinal).is_none());
                let stuck = without.live().find_map(|m| {
                    let report = cluster.here(m)?;
                    (fit::percent(report.space.used, report.space.capacity) >= STUCK)
                        .then_some(m.ordinal)
                });
                if joins || without.live().count() < usize::from(without.replication) {
                    return;
                }
                match stuck {
                    Some(full) => {
                        let (name, full) = (cluster.name(ordinal), cluster.name(full));
                        self.note(
                            Topic::Leave,
                            format!("{name} stays: the disk of {full} is full"),
                        );
                    }
                    None => *table = without,
                }
            }
            return;
        }
        for ordinal in leaving {
            match self.must_not_leave(table, ordinal, target) {
                Some(why) => self.note(Topic::Leave, why),
                None => {
                    table.members.retain(|m| m.ordinal != ordinal);
                    return;
                }
            }
        }
    }

    /// Why a member cannot leave now.
    fn must_not_leave(&self, table: &Table, ordinal: Ordinal, target: u32) -> Option<String> {
        let cluster = self.cluster;
        let name = cluster.name(ordinal);
        if table != cluster.view.old() {
            return Some(format!("{name} leaves after another change"));
        }
        let mut without = table.clone();
        without.members.retain(|m| m.ordinal != ordinal);
        let left = without.live().count();
        let copies = usize::from(without.replication.max(cluster.spec.replication));
        if left < copies {
            return Some(format!(
                "{name} must stay: {left} members would be left for {copies} copies"
            ));
        }
        let missing = cluster.missing(table);
        if !missing.is_empty() {
            return Some(format!(
                "{name} leaves when {} answers again or is given up",
                cluster.names(missing)
            ));
        }
        // Those that can go now go first; one below a member cannot.
        let highest = table.members.iter().map(|m| m.ordinal).max();
        let before: Vec<Ordinal> = cluster
            .observed
            .nodes
            .iter()
            .filter(|(o, node)| {
                o.0 >= target && Some(**o) > highest && node.running && !cluster.in_view(**o)
            })
            .map(|(o, _)| *o)
            .collect();
        if !before.is_empty() {
            return Some(format!(
                "{name} leaves when {} is gone",
                cluster.names(before)
            ));
        }
        let limit = match &cluster.spec.autoscaling {
            Some(auto) if !cluster.spec.drained.contains(&ordinal) => {
                f64::from(auto.scale_out_above)
            }
            _ => FULL,
        };
        match fit::fullest_after(cluster, &without) {
            Some((_, percent)) if percent <= limit => None,
            Some((fullest, percent)) => Some(format!(
                "{name} must stay: without it {} would be {percent:.0} % full, the limit is {limit:.0} %",
                cluster.name(fullest)
            )),
            None => Some(format!(
                "{name} stays while it is not known how full the disks are"
            )),
        }
    }
}
