//! How long a ring takes to take in many new hosts, and what it costs to keep
//! when nothing happens.

use serde::Serialize;

use super::network::Network;
use super::world::{RingState, Tuning, World};

/// How long half a ring takes to join the other half.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct JoinFigures {
    /// After the join.
    pub nodes: usize,
    /// Seconds until every successor and predecessor was right.
    pub ring_s: Option<f64>,
    /// Until every successor list was.
    pub lists_s: Option<f64>,
    /// Until every finger was.
    pub fingers_s: Option<f64>,
}

/// The longest that is waited for.
const MOST_S: u64 = 1_800;
/// How often one looks, in milliseconds.
const LOOK_EVERY_MS: u64 = 500;

/// `nodes / 2` hosts join a ring of as many at one moment. `by_view`: everyone is
/// told the new members, as in a cluster; else the new ones know four others, and
/// the old ones are told nothing.
pub fn simulate_join(nodes: usize, by_view: bool, seed: u64) -> JoinFigures {
    let half = (nodes / 2).max(1);
    let mut world = World::ideal(half, seed, Network::wide(), Tuning::node());
    world.sim.run(60_000);
    if by_view {
        let old = world.alive.clone();
        let new: Vec<_> = (half..nodes).map(|_| world.draw()).collect();
        let members = world.members();
        old.iter().for_each(|o| world.give_members(*o, &members));
        new.iter().for_each(|o| world.start(*o, &members, false));
    } else {
        for _ in half..nodes {
            world.join();
        }
    }
    let start = world.sim.now();
    let mut reached = [None; 3];
    while reached[2].is_none() && world.sim.now() - start <= MOST_S * 1000 {
        let seconds = (world.sim.now() - start) as f64 / 1000.0;
        let state = world.state();
        let steps = [RingState::Closed, RingState::Listed, RingState::Ideal];
        for (at, step) in reached.iter_mut().zip(steps) {
            if state >= step {
                at.get_or_insert(seconds);
            }
        }
        // The fingers take long, and looking at them does, too.
        let pause = if reached[1].is_some() { 4 } else { 1 };
        world.sim.run(LOOK_EVERY_MS * pause);
    }
    JoinFigures {
        nodes,
        ring_s: reached[0],
        lists_s: reached[1],
        fingers_s: reached[2],
    }
}

/// What one host sends in a second, for the ring's upkeep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct UpkeepFigures {
    /// Hosts.
    pub nodes: usize,
    /// Virtual nodes on each.
    pub tokens: usize,
    /// Bytes of bodies, of requests and responses.
    pub bytes_per_s: f64,
    /// Bodies in a second.
    pub bodies_per_s: f64,
    /// Messages in a second.
    pub messages_per_s: f64,
    /// Events simulated, for how fast that goes.
    pub steps: u64,
    /// Digest of all that happened: the same for the same seed.
    pub trace: u64,
}

/// A ring in which nothing happens, over `seconds`, after a minute to settle.
pub fn simulate_idle(nodes: usize, tokens: usize, seconds: u64, seed: u64) -> UpkeepFigures {
    let tuning = Tuning {
        tokens,
        ..Tuning::node()
    };
    let mut world = World::ideal(nodes, seed, Network::wide(), tuning);
    world.sim.run(60_000);
    world.sim.measure();
    world.sim.run(seconds * 1000);
    let traffic = world.sim.traffic();
    let each = |n: u64| n as f64 / nodes.max(1) as f64 / seconds.max(1) as f64;
    UpkeepFigures {
        nodes,
        tokens,
        bytes_per_s: each(traffic.bytes),
        bodies_per_s: each(traffic.bodies),
        messages_per_s: each(traffic.messages),
        steps: world.sim.steps(),
        trace: world.sim.trace(),
    }
}
