//! Rings to experiment with: hosts with random tokens, given whole or grown by
//! joins, and the random joins and crashes that happen to them.

use chord_types::{Ordinal, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::engine::Sim;
use super::network::Network;
use crate::host::{Config, Members};
use crate::invariant;
use crate::message::Peer;

/// How the hosts of an experiment behave.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Milliseconds between two rounds of a busy ring.
    pub stabilize_ms: u64,
    /// How many times rarer the rounds of a quiet ring become.
    pub backoff: u64,
    /// How long a host may be silent before it counts as dead, in milliseconds.
    pub dead_after_ms: u64,
    /// r, how many other hosts a successor list reaches.
    pub successors: usize,
    /// Virtual nodes on each host.
    pub tokens: usize,
}

impl Tuning {
    /// As a node runs, but for the number of tokens.
    pub fn node() -> Tuning {
        let config = Config::new(0, 1000);
        Tuning {
            stabilize_ms: config.stabilize_ms,
            backoff: config.backoff,
            dead_after_ms: config.dead_after_ms,
            successors: config.rules.successors,
            tokens: 1,
        }
    }

    /// As in the Chord paper: rounds every 30 s, lists of 20. In the paper one
    /// request without an answer is death; here it takes two, 2 s apart.
    pub fn paper() -> Tuning {
        Tuning {
            stabilize_ms: 30_000,
            backoff: 1,
            dead_after_ms: 2_000,
            successors: 20,
            tokens: 1,
        }
    }

    pub(super) fn apply(&self, config: &mut Config) {
        *config = Config::new(config.rules.boot, self.stabilize_ms);
        config.backoff = self.backoff;
        config.dead_after_ms = self.dead_after_ms;
        config.rules.successors = self.successors.max(1);
        config.rules.list_cap = config.rules.list_cap.max(self.successors);
    }
}

/// Members that a host knows when it joins a ring without a view.
const CONTACTS: usize = 4;
/// Rounds, in pairs, that a wave of joins may take to settle.
const MOST_ROUNDS: usize = 60;
/// Hosts that a ring without a view begins with.
const FOUNDERS: usize = 8;

/// A ring, and what the experiment knows of it.
pub struct World {
    /// The hosts and what is under way between them.
    pub sim: Sim,
    /// What the experiment draws from.
    pub random: StdRng,
    /// How the hosts behave.
    pub tuning: Tuning,
    /// Hosts that run.
    pub alive: Vec<Ordinal>,
    /// The virtual nodes of all hosts that were ever given one, by ordinal.
    peers: Vec<Vec<Peer>>,
}

impl World {
    fn empty(seed: u64, network: Network, tuning: Tuning) -> World {
        World {
            sim: Sim::new(seed, network),
            random: StdRng::seed_from_u64(seed),
            tuning,
            alive: Vec::new(),
            peers: Vec::new(),
        }
    }

    /// `nodes` hosts that all start together in the ideal ring, as a cluster does
    /// with its first view; all of them have the view.
    pub fn ideal(nodes: usize, seed: u64, network: Network, tuning: Tuning) -> World {
        let mut world = World::empty(seed, network, tuning);
        world.found(nodes);
        world
    }

    /// `nodes` hosts in a ring that grew by joins. None has a view: a host knows
    /// of a few others when it joins, and everything else from the ring.
    pub fn grown(nodes: usize, seed: u64, network: Network, tuning: Tuning) -> World {
        let mut world = World::empty(seed, network, tuning);
        world.found(nodes.min(FOUNDERS));
        let period = world.tuning.stabilize_ms;
        while world.alive.len() < nodes {
            let wave = (world.alive.len() / 4).max(1);
            for _ in 0..wave.min(nodes - world.alive.len()) {
                world.join();
            }
            // Joins into a ring that has not taken in the last ones yet lead to
            // members far off their place, which come back a node a round.
            for _ in 0..MOST_ROUNDS {
                world.sim.run(period * 2);
                if world.state() >= RingState::Listed {
                    break;
                }
            }
        }
        world.sim.run(period * 10);
        world
    }

    fn found(&mut self, nodes: usize) {
        let hosts: Vec<Ordinal> = (0..nodes).map(|_| self.draw()).collect();
        let members = self.members();
        hosts.iter().for_each(|o| self.start(*o, &members, true));
    }

    /// The next host, with its tokens; it does not run yet.
    pub fn draw(&mut self) -> Ordinal {
        let ordinal = Ordinal(self.peers.len() as u32);
        let peer = |token: Token| Peer {
            id: token.id(),
            ordinal,
        };
        let tokens = 0..self.tuning.tokens.max(1);
        let peers = tokens.map(|_| peer(Token(self.random.random()))).collect();
        self.peers.push(peers);
        ordinal
    }

    /// A view of all hosts there ever were; crashed ones stay in it.
    pub fn members(&self) -> Members {
        Members::new(self.peers.iter().flatten().copied().collect())
    }

    fn tokens(&self, ordinal: Ordinal) -> Vec<Token> {
        let peers = self.peers.get(ordinal.0 as usize).into_iter().flatten();
        peers.map(|p| Token(p.id.prefix())).collect()
    }

    /// Starts a host, or starts it again.
    pub fn start(&mut self, ordinal: Ordinal, members: &Members, first: bool) {
        let (tokens, tuning) = (self.tokens(ordinal), self.tuning.clone());
        self.sim
            .start(ordinal, &tokens, members, first, |c| tuning.apply(c));
        if first || !self.alive.contains(&ordinal) {
            self.alive.push(ordinal);
        }
    }

    /// Gives a host that runs another view.
    pub fn give_members(&mut self, ordinal: Ordinal, members: &Members) {
        let tokens = self.tokens(ordinal);
        self.sim.adopt(ordinal, &tokens, members, false);
    }

    /// A new host joins, knowing of a few others.
    pub fn join(&mut self) -> Ordinal {
        let mut known: Vec<Peer> = Vec::new();
        for _ in 0..CONTACTS.min(self.alive.len()) {
            let one = self.alive[self.random.random_range(0..self.alive.len())];
            known.extend(self.peers[one.0 as usize].first());
        }
        let new = self.draw();
        known.extend(&self.peers[new.0 as usize]);
        self.start(new, &Members::new(known), false);
        new
    }

    /// One host, drawn at random, is gone without a word.
    pub fn crash_one(&mut self) {
        if self.alive.len() > 1 {
            let at = self.random.random_range(0..self.alive.len());
            let gone = self.alive.swap_remove(at);
            self.sim.crash(gone);
        }
    }

    /// Every host is gone with this probability; answers which.
    pub fn crash_share(&mut self, share: f64) -> Vec<Ordinal> {
        let share = share.clamp(0.0, 1.0);
        let random = &mut self.random;
        let gone: Vec<Ordinal> = std::mem::take(&mut self.alive)
            .into_iter()
            .filter(|o| {
                let dies = random.random_bool(share);
                if !dies {
                    self.alive.push(*o);
                }
                dies
            })
            .collect();
        gone.iter().for_each(|o| self.sim.crash(*o));
        gone
    }

    /// Some host that is in the ring.
    pub fn somebody(&mut self) -> Option<Ordinal> {
        for _ in 0..1000 {
            let at = self.random.random_range(0..self.alive.len().max(1));
            let one = *self.alive.get(at)?;
            if self.sim.host(one).is_some_and(|h| h.is_inside()) {
                return Some(one);
            }
        }
        None
    }

    /// The time to the next event of a Poisson process, in milliseconds.
    pub fn wait(&mut self, per_second: f64) -> u64 {
        if per_second <= 0.0 {
            return u64::MAX / 4;
        }
        let drawn: f64 = self.random.random();
        (-(1.0 - drawn).ln() / per_second * 1000.0) as u64
    }

    /// How far the ring is repaired.
    pub fn state(&self) -> RingState {
        let ring = self.sim.ring();
        if !self.sim.all_inside() || ring.is_empty() {
            return RingState::Broken;
        }
        let pairs = ring.values().zip(ring.values().cycle().skip(1));
        let alone = ring.len() == 1;
        let closed = pairs.into_iter().all(|(one, next)| {
            alone || one.successors().first() == Some(&next.me()) && next.pred() == Some(one.me())
        });
        let mut config = Config::new(0, 1000);
        self.tuning.apply(&mut config);
        if !closed {
            RingState::Broken
        } else if invariant::ideal(&ring, &config.rules).is_err() {
            RingState::Closed
        } else if invariant::ideal_fingers(&ring, &config.rules).is_err() {
            RingState::Listed
        } else {
            RingState::Ideal
        }
    }
}

/// How near a ring is to the ideal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RingState {
    /// Somebody is outside, or has a wrong successor or predecessor.
    Broken,
    /// Every successor and every predecessor is right.
    Closed,
    /// And every list.
    Listed,
    /// And every finger.
    Ideal,
}
