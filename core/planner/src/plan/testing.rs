//! A cluster made of plain values, for the tests: disks with keys, nodes that
//! run or don't, and the planner's plans carried out as a shell would.
//!
//! It models what the planner relies on: a write is decided by a quorum of each
//! table at one epoch; a node is settled when what it holds is with the new
//! owners; copies are dropped only when every owner of a stable view has them.

use std::collections::{BTreeMap, BTreeSet};

use chord_placement::Placements;
use chord_types::report::{Copies, Inventory, NodeReport, Space, Sync};
use chord_types::view::{ViewHash, ViewRef};
use chord_types::{ClusterUid, DiskId, Epoch, Id, Member, Ordinal, Table, View};

use super::*;

pub const KEYS: usize = 40;

/// A disk: what is on it survives its node.
#[derive(Clone, Debug)]
pub struct Disk {
    pub id: DiskId,
    pub view: Option<View>,
    /// Version of each key, and whether it counts (or is a hint).
    pub keys: BTreeMap<usize, (u64, bool)>,
    pub settled: Option<ViewRef>,
}

/// An ordinal.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub disk: Option<Disk>,
    /// The slot says so; the process may still be down.
    pub wanted: bool,
    pub up: bool,
    pub revision: String,
}

pub struct World {
    pub spec: Spec,
    pub stored: Stored,
    pub places: BTreeMap<Ordinal, Place>,
    pub memory: Memory,
    pub now: u64,
    /// The decided version of each key.
    pub decided: Vec<u64>,
    /// Bytes of each key, for usage.
    pub key_bytes: u64,
    pub capacity: u64,
    next_disk: u128,
    /// Nodes that work, and whose answers the operator does not get.
    pub unheard: BTreeSet<Ordinal>,
    /// Copies that each node says it cannot make again.
    pub unrepaired: BTreeMap<Ordinal, u64>,
    /// Disks that take nothing any more: their nodes answer, and vote on nothing.
    pub failed: BTreeSet<DiskId>,
    /// Nodes that hold something that nobody takes over.
    pub stuck: BTreeSet<Ordinal>,
    /// Nodes for which there is no machine, and so no disk.
    pub unplaced: BTreeSet<Ordinal>,
    /// Nodes that are being stopped.
    pub terminating: BTreeSet<Ordinal>,
    pub last: Option<Plan>,
    pub events: Vec<Event>,
    /// Where nodes run; one that is not named has no place that is known.
    pub sites: BTreeMap<Ordinal, Site>,
}

pub fn behavior(stabilization_ms: u64, nodes: u32, period_ms: u64) -> Behavior {
    let policies = vec![Policy {
        amount: Amount::Nodes(nodes),
        period_ms,
    }];
    Behavior {
        stabilization_ms,
        policies,
        select: Select::Max,
    }
}

pub fn spec(nodes: u32, replication: u8) -> Spec {
    Spec {
        cluster: ClusterUid("uid".into()),
        nodes,
        replication,
        storage_size: 1 << 30,
        tokens_per_node: 4,
        autoscaling: None,
        drained: BTreeSet::new(),
        repair_after_ms: 60_000,
        delete_scaled_disks: true,
        paused: false,
        replace: None,
        revision: "r1".into(),
    }
}

pub fn key(n: usize) -> Id {
    Id::hash(format!("key {n}").as_bytes())
}

impl World {
    /// Nothing runs yet.
    pub fn new(spec: Spec) -> World {
        World {
            spec,
            stored: Stored::Missing,
            places: BTreeMap::new(),
            memory: Memory::default(),
            now: 1_000_000,
            decided: vec![0; KEYS],
            key_bytes: 1 << 10,
            capacity: 1 << 30,
            next_disk: 1,
            unheard: BTreeSet::new(),
            unrepaired: BTreeMap::new(),
            failed: BTreeSet::new(),
            stuck: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            terminating: BTreeSet::new(),
            last: None,
            events: Vec::new(),
            sites: BTreeMap::new(),
        }
    }

    /// Formed, with every key written and whole.
    pub fn formed(spec: Spec) -> World {
        World::formed_at(spec, &[])
    }

    /// The same, with the nodes at these places, by ordinal.
    pub fn formed_at(spec: Spec, places: &[(&str, &str)]) -> World {
        let mut world = World::new(spec);
        for (n, (zone, machine)) in (0..).zip(places) {
            world.moves(n, zone, machine);
        }
        for _ in 0..10 {
            world.round();
            world.spread();
        }
        world.write_all();
        world.work();
        assert!(matches!(world.stored, Stored::View(_)), "{:?}", world.last);
        world
    }

    /// A node runs on this machine from now on; an empty zone is none.
    pub fn moves(&mut self, ordinal: u32, zone: &str, machine: &str) {
        let site = Site {
            zone: (!zone.is_empty()).then(|| zone.to_string()),
            machine: Some(machine.to_string()),
        };
        self.sites.insert(Ordinal(ordinal), site);
    }

    pub fn fresh_disk(&mut self) -> Disk {
        self.next_disk += 1;
        let id = DiskId(uuid::Uuid::from_u128(self.next_disk));
        Disk {
            id,
            view: None,
            keys: BTreeMap::new(),
            settled: None,
        }
    }

    pub fn view(&self) -> &View {
        match &self.stored {
            Stored::View(view) => view,
            other => panic!("no view is stored: {other:?}"),
        }
    }

    pub fn members(&self) -> Vec<u32> {
        self.view()
            .new_table()
            .members
            .iter()
            .map(|m| m.ordinal.0)
            .collect()
    }

    pub fn plan(&self) -> &Plan {
        self.last.as_ref().unwrap()
    }

    pub fn condition(&self, kind: &str) -> &Condition {
        self.plan()
            .status
            .conditions
            .iter()
            .find(|c| c.kind == kind)
            .unwrap()
    }

    pub fn place(&mut self, ordinal: u32) -> &mut Place {
        self.places.get_mut(&Ordinal(ordinal)).unwrap()
    }

    /// A member's own disk, where its node is up.
    pub fn up(&self, member: &Member) -> Option<&Disk> {
        let place = self.places.get(&member.ordinal)?;
        place
            .disk
            .as_ref()
            .filter(|d| place.up && d.id == member.disk && !self.failed.contains(&d.id))
    }

    /// A member's own disk, up or not.
    fn disk_of(&mut self, member: &Member) -> Option<&mut Disk> {
        self.places
            .get_mut(&member.ordinal)?
            .disk
            .as_mut()
            .filter(|d| d.id == member.disk)
    }

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
            .places
            .iter()
            .map(|(ordinal, place)| {
                let unplaced = self.unplaced.contains(ordinal);
                let report = place
                    .disk
                    .as_ref()
                    .filter(|_| place.up && !unplaced && !self.unheard.contains(ordinal))
                    .map(|d| self.report(*ordinal, d, whole));
                let node = Node {
                    running: place.wanted,
                    revision: place.wanted.then(|| place.revision.clone()),
                    disk_exists: place.disk.is_some() && !unplaced,
                    terminating: self.terminating.contains(ordinal),
                    site: self.sites.get(ordinal).cloned().or(Some(Site::default())),
                    trouble: match (&report, place.up) {
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
        for (ordinal, place) in self.places.iter().filter(|(_, p)| p.up) {
            let Some(view) = place.disk.as_ref().and_then(|d| d.view.as_ref()) else {
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
                    let disk = self.places.get(ordinal).and_then(|p| p.disk.clone());
                    let disk = disk.unwrap_or_else(|| self.fresh_disk());
                    let place = self.places.entry(*ordinal).or_default();
                    if !place.wanted {
                        *place = Place {
                            disk: None,
                            wanted: true,
                            up: true,
                            revision: revision.clone(),
                        };
                    }
                    place.disk = Some(disk);
                }
                Slot::Absent { delete_disk } => {
                    let place = self.places.entry(*ordinal).or_default();
                    place.wanted = false;
                    place.up = false;
                    if *delete_disk {
                        self.places.remove(ordinal);
                    }
                }
            }
        }
        for ordinal in &plan.restart {
            let place = self.places.get_mut(ordinal).unwrap();
            place.revision.clone_from(&self.spec.revision);
            place.up = true;
        }
    }

    /// Every node that is up takes the stored view.
    pub fn spread(&mut self) {
        let Stored::View(view) = &self.stored else {
            return;
        };
        let view = (**view).clone();
        let ordinals: Vec<Ordinal> = self.places.keys().copied().collect();
        for ordinal in ordinals {
            self.give(ordinal, &view);
        }
    }

    /// A node takes a view, if it is newer than its own.
    pub fn give(&mut self, ordinal: Ordinal, view: &View) {
        let Some(place) = self.places.get_mut(&ordinal).filter(|p| p.up) else {
            return;
        };
        let Some(disk) = place.disk.as_mut() else {
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
        if change::is_joint(view) {
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
            .places
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
        let Some(place) = self.places.get(&ordinal).filter(|p| p.up) else {
            return;
        };
        let Some(disk) = place.disk.as_ref().filter(|d| !self.failed.contains(&d.id)) else {
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
                && !change::is_joint(&view)
                && !placements.old.owners(&key(k)).any(|m| m.disk == id)
            {
                dropped.push(k);
            }
        }
        let Some(disk) = self.places.get_mut(&ordinal).and_then(|p| p.disk.as_mut()) else {
            return;
        };
        for k in dropped {
            disk.keys.remove(&k);
        }
        if all && change::is_joint(&view) {
            disk.settled = Some(view.reference());
        }
    }

    /// Every node takes the view and does its work.
    pub fn work(&mut self) {
        self.spread();
        let ordinals: Vec<Ordinal> = self.places.keys().copied().collect();
        for ordinal in ordinals {
            self.work_of(ordinal);
        }
    }

    /// Whether every key has its newest version on all its owners of the view.
    pub fn whole(&self) -> bool {
        let Stored::View(view) = &self.stored else {
            return true;
        };
        let placement = chord_placement::Placement::new(view.new_table());
        (0..KEYS).all(|k| {
            self.decided[k] == 0 || placement.owners(&key(k)).all(|m| self.has_newest(m, k))
        })
    }

    fn has_newest(&self, member: &Member, k: usize) -> bool {
        let place = self.places.get(&member.ordinal);
        let disk = place
            .and_then(|p| p.disk.as_ref())
            .filter(|d| d.id == member.disk);
        disk.is_some_and(|d| d.keys.get(&k) == Some(&(self.decided[k], true)))
    }

    /// Owners in the old table that have the newest version of a key, and whether
    /// they suffice for every quorum to see it.
    pub fn safe(&self, k: usize, old: &chord_placement::Placement, but: Option<DiskId>) -> bool {
        let table = old.table();
        let have = old
            .owners(&key(k))
            .filter(|m| Some(m.disk) != but && self.has_newest(m, k))
            .count();
        self.decided[k] == 0 || have >= table.blocking()
    }

    /// Rounds with work until nothing is left to do.
    pub fn settle(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.round();
            self.work();
        }
    }
}
