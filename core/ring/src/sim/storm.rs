//! A cluster under a script of faults, seen by the look-ups made meanwhile:
//! partitions that heal, mass failures, whole racks lost, bad networks.

use chord_types::{Ordinal, Token};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::Serialize;

use super::network::Network;
use super::search::Answer;
use super::snapshot::mean_and_p99;
use super::world::{RingState, Tuning, World};
use crate::invariant;

/// One thing that goes wrong, or right again.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This share of the hosts is cut off from the others.
    Cut(f64),
    /// All are connected again.
    Heal,
    /// Every host crashes with this probability.
    Crash(f64),
    /// Hosts stand in `of` racks; `lost` of them crash as a whole.
    Racks {
        /// How many racks there are.
        of: u32,
        /// How many of them crash.
        lost: u32,
    },
    /// All that have crashed start again.
    Restart,
    /// The network behaves like this from now on.
    Network(Network),
}

/// What is to be tried.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Hosts.
    pub nodes: usize,
    /// How the network behaves at first.
    pub network: Network,
    /// How the hosts behave.
    pub tuning: Tuning,
    /// When what happens, in seconds, in order.
    pub script: Vec<(u64, Fault)>,
    /// How long it is watched, in seconds.
    pub seconds: u64,
    /// What is reported together.
    pub window_s: u64,
    /// Look-ups begun in a second.
    pub lookups_per_s: u64,
    /// Whether look-ups make use of the view.
    pub by_view: bool,
    /// One seed gives one run.
    pub seed: u64,
}

/// Some seconds of a storm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Window {
    /// When it ends, in seconds from the start.
    pub until_s: u64,
    /// Hosts that run at its end.
    pub running: usize,
    /// Look-ups begun in this time; those that crashed with their host are not in it.
    pub lookups: u64,
    /// Look-ups that named another than the true successor first.
    pub named_wrong: u64,
    /// Look-ups whose last word was wrong, or that had none.
    pub failed: u64,
    /// Hosts asked for each look-up, in the mean.
    pub hops_mean: f64,
    /// Hosts asked in vain for each look-up, in the mean.
    pub timeouts_mean: f64,
    /// Milliseconds for a look-up, 99th percentile.
    pub ms_p99: u32,
    /// At its end the members that are alive were one ordered ring.
    pub whole: bool,
    /// At its end everyone was in it with the right successors and predecessor.
    pub right: bool,
}

/// What came of a storm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StormFigures {
    /// One after the other.
    pub windows: Vec<Window>,
    /// Digest of all that happened: the same for the same seed.
    pub trace: u64,
}

/// The longest that the last look-ups are waited for.
const LAST_ANSWERS_S: u64 = 400;

/// Runs it.
pub fn storm(what: &Storm) -> StormFigures {
    let (network, tuning) = (what.network.clone(), what.tuning.clone());
    let mut world = World::ideal(what.nodes.max(1), what.seed, network, tuning);
    let mut crashed: Vec<Ordinal> = Vec::new();
    let mut script = what.script.iter().peekable();
    let (mut windows, mut answers) = (Vec::new(), Vec::<Answer>::new());
    let (window_s, lookups) = (what.window_s.max(1), what.lookups_per_s.clamp(1, 1000));
    for second in 0..what.seconds {
        while let Some((_, fault)) = script.next_if(|(at, _)| *at <= second) {
            happen(&mut world, fault, &mut crashed);
        }
        for _ in 0..lookups {
            let id = Token(world.random.random()).id();
            if let Some(from) = world.somebody() {
                world.sim.search(from, id, what.by_view);
            }
            world.sim.run(1000 / lookups);
        }
        world.sim.run(1000 - 1000 / lookups * lookups);
        answers.extend(world.sim.answers());
        if (second + 1) % window_s == 0 {
            windows.push(Window {
                until_s: second + 1,
                running: world.alive.len(),
                lookups: 0,
                named_wrong: 0,
                failed: 0,
                hops_mean: 0.0,
                timeouts_mean: 0.0,
                ms_p99: 0,
                whole: invariant::one_ordered_ring(&world.sim.ring()).is_ok(),
                right: world.state() >= RingState::Listed,
            });
        }
    }
    let trace = world.sim.trace();
    for _ in 0..LAST_ANSWERS_S {
        if world.sim.searches.is_empty() {
            break;
        }
        world.sim.run(1000);
    }
    answers.extend(world.sim.answers());
    for window in &mut windows {
        let span = (window.until_s - window_s) * 1000..window.until_s * 1000;
        let of: Vec<&Answer> = answers
            .iter()
            .filter(|a| span.contains(&a.started))
            .collect();
        let mut hops: Vec<u32> = of.iter().map(|a| a.hops).collect();
        let mut times: Vec<u32> = of.iter().map(|a| (a.ended - a.started) as u32).collect();
        let timeouts: u64 = of.iter().map(|a| u64::from(a.timeouts)).sum();
        window.lookups = of.len() as u64;
        window.named_wrong = of.iter().filter(|a| !a.named_right).count() as u64;
        window.failed = of.iter().filter(|a| !a.right).count() as u64;
        window.hops_mean = mean_and_p99(&mut hops).0;
        window.timeouts_mean = timeouts as f64 / of.len().max(1) as f64;
        window.ms_p99 = mean_and_p99(&mut times).1;
    }
    StormFigures { windows, trace }
}

fn happen(world: &mut World, fault: &Fault, crashed: &mut Vec<Ordinal>) {
    match fault {
        Fault::Cut(share) => {
            let mut hosts = world.alive.clone();
            hosts.shuffle(&mut world.random);
            hosts.truncate((hosts.len() as f64 * share.clamp(0.0, 1.0)) as usize);
            world.sim.cut_off = hosts.into_iter().collect();
        }
        Fault::Heal => world.sim.cut_off.clear(),
        Fault::Crash(share) => crashed.extend(world.crash_share(*share)),
        Fault::Racks { of, lost } => {
            let gone = |o: &Ordinal| o.0 % (*of).max(1) < *lost;
            let (down, up) = world.alive.iter().partition(|o| gone(o));
            world.alive = up;
            let down: Vec<Ordinal> = down;
            down.iter().for_each(|o| world.sim.vanish(*o));
            crashed.extend(down);
        }
        Fault::Restart => {
            let members = world.members();
            for ordinal in crashed.drain(..) {
                world.start(ordinal, &members, false);
            }
        }
        Fault::Network(network) => world.sim.network = network.clone(),
    }
}
