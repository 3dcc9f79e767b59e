//! A cluster made of plain values, for the tests: disks with keys, nodes that
//! run or don't, and the planner's plans carried out as a shell would.
//!
//! It models what the planner relies on: a write is decided by a quorum of each
//! table at one epoch; a node is settled when what it holds is with the new
//! owners; copies are dropped only when every owner of a stable view has them.

mod data;
mod shell;

use std::collections::{BTreeMap, BTreeSet};

use chord_types::view::ViewRef;
use chord_types::{ClusterUid, DiskId, Id, Member, Ordinal, View};

use crate::plan::*;

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
pub struct SimNode {
    pub disk: Option<Disk>,
    /// The slot says so; the process may still be down.
    pub wanted: bool,
    pub up: bool,
    pub revision: String,
}

pub struct World {
    pub spec: Spec,
    pub stored: Stored,
    pub nodes: BTreeMap<Ordinal, SimNode>,
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
            nodes: BTreeMap::new(),
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
    pub fn formed_at(spec: Spec, sites: &[(&str, &str)]) -> World {
        let mut world = World::new(spec);
        for (n, (zone, machine)) in (0..).zip(sites) {
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

    pub fn node(&mut self, ordinal: u32) -> &mut SimNode {
        self.nodes.get_mut(&Ordinal(ordinal)).unwrap()
    }

    /// A member's own disk, where its node is up.
    pub fn up(&self, member: &Member) -> Option<&Disk> {
        let sim = self.nodes.get(&member.ordinal)?;
        sim.disk
            .as_ref()
            .filter(|d| sim.up && d.id == member.disk && !self.failed.contains(&d.id))
    }

    /// A member's own disk, up or not.
    fn disk_of(&mut self, member: &Member) -> Option<&mut Disk> {
        self.nodes
            .get_mut(&member.ordinal)?
            .disk
            .as_mut()
            .filter(|d| d.id == member.disk)
    }

    /// Rounds with work until nothing is left to do.
    pub fn settle(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.round();
            self.work();
        }
    }
}
