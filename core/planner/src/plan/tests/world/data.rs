//! The nodes: views that they take, writes that are decided, work that settles a
//! change.

use chord_placement::{Placement, Placements};
use chord_types::{DiskId, Member, Ordinal, Table, View};

use super::{KEYS, World, key};
use crate::plan::Stored;

impl World {
    /// Every node that is up takes the stored view.
    pub fn spread(&mut self) {
        let Stored::View(view) = &self.stored else {
            return;
        };
        let view = (**view).clone();
        let ordinals: Vec<Ordinal> = self.nodes.keys().copied().collect();
        for ordinal in ordinals {
            self.give(ordinal, &view);
        }
    }

    /// A node takes a view, if it is newer than its own.
    pub fn give(&mut self, ordinal: Ordinal, view: &View) {
        let Some(sim) = self.nodes.get_mut(&ordinal).filter(|p| p.up) else {
            return;
        };
        let Some(disk) = sim.disk.as_mut() else {
            return;
        };
        if disk
            .view
            .as_ref()
            .is_some_and(|held| held.epoch >= view.epoch || held.cluster != view.cluster)
        {
            return;
        }
        // Ranges lost are void, ranges gained start empty: only what it owns in
        // the old table counts, and only where it counted before.
        let placements = Placements::new(view);
        let id = disk.id;
        for (k, (_, counts)) in &mut disk.keys {
            let owner = placements.old.owners(&key(*k)).any(|m| m.disk == id);
            let gains = placements
                .new
                .as_ref()
                .is_some_and(|p| p.owners(&key(*k)).any(|m| m.disk == id));
            let held = disk
                .view
                .as_ref()
                .is_some_and(|v| v.epoch.0 + 1 == view.epoch.0);
            *counts = *counts && (owner || (gains && held));
        }
        disk.view = Some(view.clone());
        disk.settled = None;
    }

    fn at_epoch(&self, member: &Member, view: &View) -> bool {
        self.up(member)
            .is_some_and(|d| d.view.as_ref() == Some(view))
    }

    fn tables(view: &View) -> Vec<&Table> {
        if view.stable().is_none() {
            vec![view.old(), view.new_table()]
        } else {
            vec![view.old()]
        }
    }

    /// The owners of a key that take part in its decisions, if they make a quorum
    /// of every table.
    fn quorum(&self, k: usize, view: &View, placements: &Placements) -> Option<Vec<Member>> {
        let mut voters: Vec<Member> = Vec::new();
        for (table, placement) in World::tables(view).into_iter().zip(placements.all()) {
            let there: Vec<&Member> = placement
                .owners(&key(k))
                .filter(|m| self.at_epoch(m, view))
                .collect();
            if there.len() < table.quorum() {
                return None;
            }
            for member in there {
                if !voters.iter().any(|v| v.disk == member.disk) {
                    voters.push(member.clone());
                }
            }
        }
        Some(voters)
    }

    /// Writes a key, if a quorum of each table is there at the newest view that is
    /// stored or held.
    pub fn write(&mut self, k: usize) -> bool {
        let Some(view) = self.newest() else {
            return false;
        };
        let Some(voters) = self.quorum(k, &view, &Placements::new(&view)) else {
            return false;
        };
        self.decided[k] += 1;
        let version = self.decided[k];
        for voter in voters {
            if let Some(disk) = self.disk_of(&voter) {
                disk.keys.insert(k, (version, true));
            }
        }
        true
    }

    pub fn write_all(&mut self) {
        for k in 0..KEYS {
            self.write(k);
        }
    }

    pub fn newest(&self) -> Option<View> {
        let held = self
            .nodes
            .values()
            .filter(|p| p.up)
            .filter_map(|p| p.disk.as_ref()?.view.clone());
        held.max_by_key(|v| v.epoch)
    }

    /// Reconciles a key at the current view: the newest version that counts, and
    /// that a quorum of the old table knows of, goes to all owners that are there.
    /// Whether *all* owners have it then.
    fn reconcile(&mut self, k: usize, view: &View, placements: &Placements) -> bool {
        let Some(voters) = self.quorum(k, view, placements) else {
            return false;
        };
        let version = voters
            .iter()
            .filter_map(|m| {
                self.up(m)?
                    .keys
                    .get(&k)
                    .filter(|(_, counts)| *counts)
                    .map(|(v, _)| *v)
            })
            .max();
        if let Some(version) = version {
            for voter in &voters {
                if let Some(disk) = self.disk_of(voter) {
                    disk.keys.insert(k, (version, true));
                }
            }
        }
        let key = key(k);
        let mut owners = placements.target().owners(&key);
        owners.all(|m| voters.iter().any(|v| v.disk == m.disk))
    }

    /// One node does its work at its view: settles, or drops what it does not own.
    pub fn work_of(&mut self, ordinal: Ordinal) {
        let Some(sim) = self.nodes.get(&ordinal).filter(|p| p.up) else {
            return;
        };
        let Some(disk) = sim.disk.as_ref().filter(|d| !self.failed.contains(&d.id)) else {
            return;
        };
        let Some(view) = disk.view.clone() else {
            return;
        };
        let (id, held): (DiskId, Vec<usize>) = (disk.id, disk.keys.keys().copied().collect());
        let placements = Placements::new(&view);
        let mut all = true;
        let mut dropped = Vec::new();
        for k in held {
            let owners_have = self.reconcile(k, &view, &placements);
            all &= owners_have || !placements.changes(&key(k));
            if owners_have
                && view.stable().is_some()
                && !placements.old.owners(&key(k)).any(|m| m.disk == id)
            {
                dropped.push(k);
            }
        }
        let Some(disk) = self.nodes.get_mut(&ordinal).and_then(|p| p.disk.as_mut()) else {
            return;
        };
        for k in dropped {
            disk.keys.remove(&k);
        }
        if all && view.stable().is_none() {
            disk.settled = Some(view.reference());
        }
    }

    /// Every node takes the view and does its work.
    pub fn work(&mut self) {
        self.spread();
        let ordinals: Vec<Ordinal> = self.nodes.keys().copied().collect();
        for ordinal in ordinals {
            self.work_of(ordinal);
        }
    }

    /// Whether every key has its newest version on all its owners of the view.
    pub fn whole(&self) -> bool {
        let Stored::View(view) = &self.stored else {
            return true;
        };
        let placement = Placement::new(view.new_table());
        (0..KEYS).all(|k| {
            self.decided[k] == 0 || placement.owners(&key(k)).all(|m| self.has_newest(m, k))
        })
    }

    fn has_newest(&self, member: &Member, k: usize) -> bool {
        let sim = self.nodes.get(&member.ordinal);
        let disk = sim
            .and_then(|p| p.disk.as_ref())
            .filter(|d| d.id == member.disk);
        disk.is_some_and(|d| d.keys.get(&k) == Some(&(self.decided[k], true)))
    }

    /// Owners in the old table that have the newest version of a key, and whether
    /// they suffice for every quorum to see it.
    pub fn safe(&self, k: usize, old: &Placement, but: Option<DiskId>) -> bool {
        let table = old.table();
        let have = old
            .owners(&key(k))
            .filter(|m| Some(m.disk) != but && self.has_newest(m, k))
            .count();
        self.decided[k] == 0 || have >= table.blocking()
    }
}
