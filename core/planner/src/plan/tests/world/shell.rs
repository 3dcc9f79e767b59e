//! The shell: what it would see of the world, and a plan carried out in it.

use std::collections::{BTreeMap, BTreeSet};

use chord_placement::Placements;
use chord_types::report::{Copies, Inventory, NodeReport, Space, Sync};
use chord_types::view::{ViewHash, ViewRef};
use chord_types::{Epoch, Ordinal, View};

use super::{Disk, SimNode, World, key};
use crate::plan::*;

impl World {
    fn report(&self, ordinal: Ordinal, disk: &Disk, whole: bool) -> NodeReport {
        let reference = disk.view.as_ref().map(View::reference);
        let placements = disk.view.as_ref().map(Placements::new);
        let owned = |k: &usize| {
            placements
                .as_ref()
                .is_some_and(|p| p.owners(&key(*k)).iter().any(|m| m.disk == disk.id))
        };
        let hints = disk.keys.keys().filter(|k| !owned(k)).count() as u64;
        let registers = disk.keys.len() as u64 - hints;
        let none = ViewRef {
            epoch: Epoch(0),
            hash: ViewHash::NONE,
        };
        let at = reference.unwrap_or(none);
        let sound = !self.failed.contains(&disk.id);
        let whole = whole && sound;
        NodeReport {
            name: format!("files-{ordinal}"),
            ordinal,
            disk: disk.id,
            cluster: disk.view.as_ref().map(|v| v.cluster.clone()),
            version: "1".into(),
            speaks: chord_types::Speaks::OURS,
            boot: 1,
            view: reference,
            ready: sound && disk.view.as_ref().is_some_and(|v| v.has(ordinal, disk.id)),
            space: Space {
                capacity: self.capacity,
                used: disk.keys.len() as u64 * self.key_bytes,
                available: 0,
                device: format!("d{ordinal}"),
            },
            files: 0,
            inventory: Inventory {
                registers,
                hints: hints + u64::from(self.stuck.contains(&ordinal)),
                chunks: 0,
                dropped: 0,
            },
            sync: Sync {
                epoch: at.epoch,
                hash: at.hash,
                settled: sound && disk.settled.is_some() && disk.settled == reference,
                pending: 0,
                waiting: None,
            },
            copies: Copies {
                epoch: at.epoch,
                complete: whole,
                missing: u64::from(!whole),
                unrepaired: self.unrepaired.get(&ordinal).copied().unwrap_or(0),
                waiting: self
                    .unrepaired
                    .contains_key(&ordinal)
                    .then(|| "nobody has part 2 of \"film\"".to_string()),
            },
            refused_view: None,
            failure: (!sound).then(|| "a record is torn".to_string()),
        }
    }

    /// What a shell would see.
    pub fn observed(&self) -> Observed {
        let whole = self.whole();
        let nodes: BTreeMap<Ordinal, Node> = self
            .nodes
            .iter()
            .map(|(ordinal, sim)| {
                let unplaced = self.unplaced.contains(ordinal);
                let report = sim
                    .disk
                    .as_ref()
                    .filter(|_| sim.up && !unplaced && !self.unheard.contains(ordinal))
                    .map(|d| self.report(*ordinal, d, whole));
                let node = Node {
                    running: sim.wanted,
                    revision: sim.wanted.then(|| sim.revision.clone()),
                    disk_exists: sim.disk.is_some() && !unplaced,
                    terminating: self.terminating.contains(ordinal),
                    site: self.sites.get(ordinal).cloned().or(Some(Site::default())),
                    trouble: match (&report, sim.up) {
                        (Some(_), _) => None,
                        _ if unplaced => Some(Trouble::Broken("no machine has room".into())),
                        (None, true) => Some(Trouble::Silent("no answer".into())),
                        (None, false) => Some(Trouble::Broken("down".into())),
                    },
                    report,
                };
                (*ordinal, node)
            })
            .collect();
        let known = match &self.stored {
            Stored::View(view) => Some(view.reference()),
            _ => None,
        };
        let mut held: Vec<(View, BTreeSet<Ordinal>)> = Vec::new();
        for (ordinal, sim) in self.nodes.iter().filter(|(_, p)| p.up) {
            let Some(view) = sim.disk.as_ref().and_then(|d| d.view.as_ref()) else {
                continue;
            };
            let reference = view.reference();
            if known.is_some_and(|k| reference == k || reference.epoch < k.epoch) {
                continue;
            }
            match held.iter_mut().find(|(other, _)| other == view) {
                Some((_, holders)) => {
                    holders.insert(*ordinal);
                }
                None => held.push((view.clone(), BTreeSet::from([*ordinal]))),
            }
        }
        Observed {
            stored: self.stored.clone(),
            nodes,
            held,
        }
    }

    /// Plans, without doing anything.
    pub fn think(&self) -> (Plan, Memory) {
        plan(&self.spec, &self.observed(), &self.memory, Millis(self.now))
    }

    /// A round of the operator, carried out whole.
    pub fn round(&mut self) {
        let (plan, memory) = self.think();
        self.carry_out(&plan);
        self.memory = memory;
        self.events.extend(plan.events.iter().cloned());
        self.last = Some(plan);
        self.now += 1_000;
    }

    pub fn carry_out(&mut self, plan: &Plan) {
        if let Some(view) = &plan.view {
            self.stored = Stored::View(Box::new(view.clone()));
        }
        for (ordinal, slot) in &plan.slots {
            match slot {
                Slot::Running { revision } => {
                    let disk = self.nodes.get(ordinal).and_then(|p| p.disk.clone());
                    let disk = disk.unwrap_or_else(|| self.fresh_disk());
                    let sim = self.nodes.entry(*ordinal).or_default();
                    if !sim.wanted {
                        *sim = SimNode {
                            disk: None,
                            wanted: true,
                            up: true,
                            revision: revision.clone(),
                        };
                    }
                    sim.disk = Some(disk);
                }
                Slot::Absent { delete_disk } => {
                    let sim = self.nodes.entry(*ordinal).or_default();
                    sim.wanted = false;
                    sim.up = false;
                    if *delete_disk {
                        self.nodes.remove(ordinal);
                    }
                }
            }
        }
        for ordinal in &plan.restart {
            let sim = self.nodes.get_mut(ordinal).unwrap();
            sim.revision.clone_from(&self.spec.revision);
            sim.up = true;
        }
    }
}
