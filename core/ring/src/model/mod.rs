//! A model checker for the ring: every interleaving of a few virtual nodes.
//!
//! The nodes are the [`Vnode`]s that production runs; the model only plays their
//! hosts and the network. It starts from an ideal ring of r+1 nodes (the stable
//! base), lets the others join, fail and restart for as long as they like, and
//! delays, loses, doubles and reorders what they say. Failures keep to the
//! assumption of the theorem ([`RingModel::may_fail`]); detection of the dead is
//! perfect, as the theorem has it; false alarms are the simulator's business.
//!
//! - [`world`]: the state, and what one message does to it.
//! - [`steps`]: what can happen next.
//! - [`rest`]: whether repair alone leads back to the ideal ring.
//! - [`turn`]: worlds that differ only by a turn of the circle are one.
//! - [`story`]: a path of the checker in words.
//!
//! Grains ([`Grain`]): in the fine one every message is a step of its own; in the
//! coarse one a request and its answer are one step, which makes five nodes
//! feasible. `docs/ring.md` says why that loses nothing that matters.

mod rest;
mod steps;
mod story;
mod tests;
mod turn;
mod world;

use std::collections::HashSet;
use std::sync::Mutex;

use chord_types::{Ordinal, Token};
use stateright::{Model, Property};

pub use self::steps::Step;
pub use self::world::{Place, World};
use super::invariant::{self, Violation};
use super::message::Peer;
use super::vnode::Vnode;
use crate::vnode::rules::{Flaw, Rules};

/// What counts as one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// A round is one step with all that it asks, follows and tells: what papers
    /// check. Too coarse for us; its states are counted beside theirs.
    Whole,
    /// A request is answered, and the answer taken in, at one moment. Whoever
    /// asks a nearer node still waits in between, and notifications are messages.
    Coarse,
    /// Every message travels by itself and may be lost, doubled and overtaken.
    Fine,
}

/// What the network does to messages. It always delays and reorders them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Each arrives, once.
    Reliable,
    /// It loses and doubles them.
    Hostile,
}

/// Some places on the circle, and what may happen there.
pub struct RingModel {
    pub rules: Rules,
    pub grain: Grain,
    pub network: Network,
    /// Clockwise; one virtual node a host.
    pub peers: Vec<Peer>,
    /// The rings it may start from, by the indices of their members.
    pub bases: Vec<Vec<usize>>,
    /// Notifications on their way to one node at a time; another gets lost.
    pub mailbox: usize,
    /// Takes worlds for one that differ only by a turn of the circle. The names in
    /// a story then change from step to step.
    pub turned: bool,
    /// Whether there is, too, what a host adds to the protocol: hints from the view,
    /// deaths that others than those who wait are told of, and time between the answer
    /// to who joins and its arrival.
    pub wide: bool,
    /// Worlds from which repair leads home, by their hashes. The standard mutex: a model
    /// that no program runs is no reason for a dependency of the ring.
    home: Mutex<HashSet<u64>>,
}

impl RingModel {
    /// `nodes` places, lists of `successors`.
    pub fn new(successors: usize, nodes: usize, grain: Grain, network: Network) -> RingModel {
        let mut rules = Rules::new(successors, successors, 0);
        // Answers to requests that are settled are taken off the wire at once
        // (they do nothing), so all requests may have the same number.
        rules.request_ids = 1;
        let peers = (0..nodes as u32).map(|n| Peer {
            id: Token(u64::from(n + 1) << 32).id(),
            ordinal: Ordinal(n),
        });
        RingModel {
            rules,
            grain,
            network,
            peers: peers.collect(),
            bases: bases(successors + 1, nodes),
            mailbox: 1,
            turned: false,
            wide: false,
            home: Mutex::default(),
        }
    }

    /// The same up to turns of the circle.
    pub fn turned(mut self) -> RingModel {
        self.turned = true;
        self
    }

    /// The same with what a host adds, and more notifications on their way to a node.
    pub fn wide(mut self, mailbox: usize) -> RingModel {
        self.wide = true;
        self.mailbox = mailbox;
        self
    }

    /// The same with a mistake in it.
    pub fn flawed(mut self, flaw: Flaw) -> RingModel {
        self.rules.flaw = Some(flaw);
        if flaw == Flaw::BootstrapAlone {
            self.bases = vec![vec![0]];
        }
        self
    }

    fn holds(
        &self,
        world: &World,
        check: fn(&invariant::Ring, &Rules) -> Result<(), Violation>,
    ) -> bool {
        check(&invariant::ring_of(world.up()), &self.rules).is_ok()
    }
}

/// The ways to choose `size` of `nodes` places on a circle, up to rotation.
fn bases(size: usize, nodes: usize) -> Vec<Vec<usize>> {
    let all = (0..1u32 << nodes).filter(|set| set.count_ones() as usize == size);
    let turned = |set: u32, by: usize| (set << by | set >> (nodes - by)) & ((1 << nodes) - 1);
    all.filter(|set| (1..nodes).all(|by| *set <= turned(*set, by)))
        .map(|set| (0..nodes).filter(|n| set >> n & 1 == 1).collect())
        .collect()
}

impl Model for RingModel {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let start = |base: &Vec<usize>| {
            let ring: Vec<Peer> = base.iter().map(|n| self.peers[*n]).collect();
            let place = |n| match base.contains(&n) {
                true => Place::Up(Vnode::ideal(&self.rules, self.peers[n], &ring)),
                false => Place::Down,
            };
            World::new((0..self.peers.len()).map(place).collect())
        };
        let worlds = self.bases.iter().map(start);
        match self.turned {
            true => worlds.map(|w| w.upright(&self.peers)).collect(),
            false => worlds.collect(),
        }
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.possible(world, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        self.take(&mut next, step);
        if self.turned {
            next = next.upright(&self.peers);
        }
        // A step that changes nothing is none.
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(INVARIANT, |m: &RingModel, w| m.holds(w, invariant::check)),
            Property::always(ADOPTED_ON_ANSWER, |_, w: &World| w.unanswered.is_none()),
            Property::always(REPAIR_LEADS_HOME, |m, w| m.comes_home(w)),
            Property::always(HOME_IS_STABLE, |m, w| m.stays_home(w)),
        ];
        if self.rules.flaw.is_some() {
            // Each part of the invariant by itself, to name what a mistake breaks.
            all.extend([
                Property::always(ONE_LIVE_SUCCESSOR, |m: &RingModel, w| {
                    m.holds(w, |ring, _| invariant::one_live_successor(ring))
                }),
                Property::always(ONE_ORDERED_RING, |m, w| {
                    m.holds(w, |ring, _| invariant::one_ordered_ring(ring))
                }),
            ]);
        }
        all
    }
}

pub const INVARIANT: &str = "one live successor, enough principals, one ordered ring, appendages that lead into it, lists in order";
pub const ONE_LIVE_SUCCESSOR: &str = "each member's list has a live entry";
pub const ONE_ORDERED_RING: &str =
    "there is one ring, in order, and everybody outside leads into it";
pub const ADOPTED_ON_ANSWER: &str = "a nearer successor is adopted on its own answer only";
pub const REPAIR_LEADS_HOME: &str = "repair alone leads to the ideal ring";
pub const HOME_IS_STABLE: &str = "the ideal ring, once at rest, stays";
