//! Figures of a ring as it stands: path lengths, what is left after many have
//! died, and one hop by the view.

use chord_types::Token;
use rand::Rng;
use serde::Serialize;

use super::network::Network;
use super::world::{RingState, Tuning, World};

/// What look-ups cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RingFigures {
    /// Other hosts asked, dead ones not counted: the path length of the paper.
    pub hops_mean: f64,
    /// The 99th percentile of that.
    pub hops_p99: u32,
    /// Look-ups that found nothing, or not the successor.
    pub failed: u64,
}

/// What look-ups cost while a share of the nodes is dead and nobody knows yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CrashFigures {
    /// What the look-ups cost.
    pub figures: RingFigures,
    /// Dead hosts asked, for each look-up.
    pub timeouts_mean: f64,
}

/// Looks ids up in a ring of `nodes` with one random token each.
///
/// It starts from the ideal ring, as a cluster does with its first view; the
/// fingers are those that a node then computes from the members, not found by
/// look-ups. That look-ups lead to the same fingers is a test of its own.
pub fn simulate(nodes: usize, lookups: usize, seed: u64) -> RingFigures {
    let mut world = World::ideal(nodes.max(1), seed, Network::calm(), Tuning::node());
    look_up_many(&mut world, lookups, false).figures
}

/// As [`simulate`], where every node makes use of its view.
pub fn simulate_by_view(nodes: usize, tokens: usize, lookups: usize, seed: u64) -> RingFigures {
    let tuning = Tuning {
        tokens,
        ..Tuning::node()
    };
    let mut world = World::ideal(nodes.max(1), seed, Network::calm(), tuning);
    look_up_many(&mut world, lookups, true).figures
}

/// As [`simulate`], but a share of the nodes has just died, before anybody
/// noticed. A look-up is right when the first of the successors it found that
/// is alive is the true one. `successors` is the length of the lists.
pub fn simulate_crash(
    nodes: usize,
    successors: usize,
    dead: f64,
    lookups: usize,
    seed: u64,
) -> CrashFigures {
    let mut world = crashed(nodes, successors, dead, seed);
    look_up_many(&mut world, lookups, false)
}

/// What a mass failure does, and what is left of it after the repair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RepairFigures {
    /// Before any repair.
    pub before: CrashFigures,
    /// Once every list and predecessor is right again.
    pub after: CrashFigures,
    /// How long that took in virtual time; None: longer than the simulation.
    pub repaired_s: Option<u64>,
}

/// The longest repair that is waited for.
const MOST_REPAIR_S: u64 = 900;

/// As [`simulate_crash`], and again when the ring has repaired itself.
pub fn simulate_repair(
    nodes: usize,
    successors: usize,
    dead: f64,
    lookups: usize,
    seed: u64,
) -> RepairFigures {
    let mut world = crashed(nodes, successors, dead, seed);
    let before = look_up_many(&mut world, lookups, false);
    let start = world.sim.now();
    let mut repaired_s = None;
    while repaired_s.is_none() && world.sim.now() - start <= MOST_REPAIR_S * 1000 {
        if world.state() >= RingState::Listed {
            repaired_s = Some((world.sim.now() - start) / 1000);
        } else {
            world.sim.run(1000);
        }
    }
    let after = look_up_many(&mut world, lookups, false);
    RepairFigures {
        before,
        after,
        repaired_s,
    }
}

fn crashed(nodes: usize, successors: usize, dead: f64, seed: u64) -> World {
    let tuning = Tuning {
        successors,
        ..Tuning::node()
    };
    let mut world = World::ideal(nodes.max(1), seed, Network::calm(), tuning);
    world.crash_share(dead);
    world
}

/// Look-ups by random hosts, at once, by the pointers as they are.
fn look_up_many(world: &mut World, lookups: usize, by_view: bool) -> CrashFigures {
    let (mut hops, mut failed, mut timeouts) = (Vec::with_capacity(lookups), 0, 0);
    for _ in 0..lookups {
        let id = Token(world.random.random()).id();
        let Some(from) = world.somebody() else {
            failed += 1;
            continue;
        };
        let (found, late) = match by_view {
            true => world.sim.look_up_by_view(from, id),
            false => world.sim.look_up(from, id),
        };
        timeouts += late;
        match found {
            Ok(found) => {
                hops.push(found.path.len().saturating_sub(1) as u32);
                let mut list = std::iter::once(found.successor).chain(found.others);
                let first = list.find(|p| world.sim.host(p.ordinal).is_some());
                failed += u64::from(first != world.sim.true_successor(&id));
            }
            Err(_) => failed += 1,
        }
    }
    let (hops_mean, hops_p99) = mean_and_p99(&mut hops);
    CrashFigures {
        figures: RingFigures {
            hops_mean,
            hops_p99,
            failed,
        },
        timeouts_mean: timeouts as f64 / lookups.max(1) as f64,
    }
}

/// The mean and the 99th percentile.
pub(super) fn mean_and_p99(of: &mut [u32]) -> (f64, u32) {
    of.sort_unstable();
    let count = of.len().max(1);
    let mean = of.iter().map(|n| f64::from(*n)).sum::<f64>() / count as f64;
    let p99 = of.get((of.len() * 99 / 100).min(count - 1));
    (mean, p99.copied().unwrap_or(0))
}
