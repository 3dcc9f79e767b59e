//! Repairs: disks that took the place of lost ones, and dead members marked as out,
//! as far as that is safe.

use chord_placement::Placement;
use chord_types::{Member, Ordinal, Table};

use super::choice::Choice;
use crate::plan::cluster::Presence;
use crate::plan::fit::{self, FULL};
use crate::plan::view::completion::can_finish;
use crate::plan::view::note::Topic;
use crate::plan::view::sites;

/// Whether a member is to be marked as out.
enum Mark {
    /// It stays.
    Stays,
    /// It is to be marked; whether that was begun already.
    Out { begun: bool },
}

impl Choice<'_, '_> {
    /// The old table with those who join, with the disks that took the place of
    /// lost ones, and with dead members marked as out, as far as that is safe.
    pub fn repaired(&mut self, joiners: Vec<Member>) -> Table {
        let old = self.cluster.view.old();
        let mut table = Table {
            replication: old.replication,
            members: Vec::new(),
        };
        let mut out: Vec<(Ordinal, bool)> = Vec::new();
        for member in &old.members {
            let (mut member, mark) = self.repaired_member(member.clone());
            if let Mark::Out { begun } = mark {
                out.push((member.ordinal, begun));
            }
            member.out = false;
            table.members.push(member);
        }
        table.members.extend(joiners);
        table.members.sort_by_key(|m| m.ordinal);
        out.sort_by_key(|(ordinal, begun)| (!begun, *ordinal));
        for (ordinal, begun) in out {
            let mut without = table.clone();
            for member in without.members.iter_mut().filter(|m| m.ordinal == ordinal) {
                member.out = true;
            }
            match self.must_stay(&without, ordinal, begun) {
                None => table = without,
                Some(why) => self.note(Topic::Repair, why),
            }
        }
        table
    }

    /// A member of the old table with the disk that is now at its place, and whether it
    /// is to be marked as out.
    fn repaired_member(&self, mut member: Member) -> (Member, Mark) {
        let cluster = self.cluster;
        let given_up = cluster.spec.replace == Some(member.disk);
        let begun = match self.joint {
            true => cluster.view.new_table().member(member.ordinal),
            false => None,
        };
        let mark = match cluster.presence(&member) {
            Presence::Here(_) if !given_up => Mark::Stays,
            // Nothing comes back from such a disk by waiting.
            Presence::Here(_) | Presence::Failed => Mark::Out {
                begun: member.out || begun.is_some_and(|b| b.out),
            },
            Presence::OtherDisk(report) => {
                member.disk = report.disk;
                match begun.filter(|begun| begun.disk == member.disk) {
                    // Begun already: where it stands is settled.
                    Some(begun) => {
                        member.zone.clone_from(&begun.zone);
                        member.machine.clone_from(&begun.machine);
                    }
                    None => sites::record_replacement(cluster, cluster.view.old(), &mut member),
                }
                Mark::Stays
            }
            Presence::Silent => match begun {
                _ if member.out => Mark::Out { begun: true },
                // Another disk took its place, and is slow to answer.
                Some(begun) if begun.disk != member.disk && !self.long_silent(member.ordinal) => {
                    member.disk = begun.disk;
                    member.zone.clone_from(&begun.zone);
                    member.machine.clone_from(&begun.machine);
                    Mark::Stays
                }
                Some(begun) if begun.disk == member.disk && begun.out => Mark::Out { begun: true },
                _ if given_up || self.long_silent(member.ordinal) => Mark::Out { begun: false },
                _ => Mark::Stays,
            },
        };
        (member, mark)
    }

    /// Why a dead member cannot be marked as out.
    fn must_stay(&self, without: &Table, ordinal: Ordinal, begun: bool) -> Option<String> {
        let cluster = self.cluster;
        let name = cluster.name(ordinal);
        let given_up = cluster
            .view
            .old()
            .member(ordinal)
            .map(|m| m.disk)
            .filter(|disk| cluster.spec.replace == Some(*disk));
        let what = match given_up {
            Some(disk) => format!("the disk of {name} ({disk}) cannot be given up"),
            None => match cluster.report(ordinal).and_then(|r| r.failure.as_ref()) {
                Some(failure) => format!(
                    "the disk of {name} is broken ({failure}) and cannot be repaired around"
                ),
                None => format!("{name} is gone for long and cannot be repaired around"),
            },
        };
        let left = without.live().count();
        if left < usize::from(without.replication) {
            return Some(format!(
                "{what}: {left} members would be left for {} copies; bring it back or add a node",
                without.replication
            ));
        }
        if begun {
            return None;
        }
        let member = cluster.view.old().member(ordinal)?;
        if given_up.is_some() && self.is_only_copy(member) {
            return Some(format!(
                "{what}: no other copy of a part of the files answers"
            ));
        }
        if let Err(why) = can_finish(cluster, without) {
            return Some(format!("{what}: {why}"));
        }
        match fit::fullest_after(cluster, without) {
            Some((fullest, percent)) if percent > FULL => Some(format!(
                "{what}: its copies fit nowhere else: {} would be {percent:.0} % full; add a node",
                cluster.name(fullest)
            )),
            _ => None,
        }
    }

    /// Whether of some range no other owner answers.
    fn is_only_copy(&self, member: &Member) -> bool {
        let cluster = self.cluster;
        let placement = Placement::new(cluster.view.old());
        placement.ranges().any(|(_, owners)| {
            owners.iter().any(|o| o.disk == member.disk)
                && !owners
                    .iter()
                    .any(|o| o.disk != member.disk && cluster.here(o).is_some())
        })
    }
}
