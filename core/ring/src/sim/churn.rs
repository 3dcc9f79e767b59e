//! Look-ups while hosts come and go all the time.
//!
//! Nobody has a view here: the ring is on its own, as in the Chord paper. A host
//! that leaves crashes without a word, which is harder than the leave that hands
//! its place over.

use chord_types::Token;
use rand::Rng;
use serde::Serialize;

use super::network::Network;
use super::search::Answer;
use super::snapshot::mean_and_p99;
use super::world::{Tuning, World};
use crate::invariant;

/// What is to be tried.
#[derive(Clone, Debug)]
pub struct Churn {
    /// Hosts at the start.
    pub nodes: usize,
    /// Joins a second, and as many crashes, each a Poisson process.
    pub rate: f64,
    /// Look-ups that are answered before it ends.
    pub lookups: usize,
    /// Look-ups begun in a second: a Poisson process too.
    pub lookup_rate: f64,
    /// How the network behaves.
    pub network: Network,
    /// How the hosts behave.
    pub tuning: Tuning,
    /// Whether what upkeep sends is counted, which takes its time.
    pub measure: bool,
    /// One seed gives one run.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChurnFigures {
    /// Joins, and as many crashes, in a second.
    pub rate: f64,
    /// Look-ups that ended.
    pub lookups: u64,
    /// Hosts asked for each look-up, in the mean.
    pub hops_mean: f64,
    /// The 99th percentile of that.
    pub hops_p99: u32,
    /// Hosts asked that did not answer, for each look-up.
    pub timeouts_mean: f64,
    /// Milliseconds for each look-up, in the mean.
    pub ms_mean: f64,
    /// The 99th percentile of that.
    pub ms_p99: u32,
    /// The ring named a successor that was not the true one at that moment.
    pub named_wrong: u64,
    /// The one that then confirmed was not the true one, or nobody did.
    pub failed: u64,
    /// Hosts that joined.
    pub joins: u64,
    /// Hosts that crashed.
    pub crashes: u64,
    /// Moments at which the members formed one ordered ring, of those looked at.
    pub whole: u64,
    /// Moments looked at.
    pub looked_at: u64,
    /// Of one host, in a second, for upkeep, if measured: bytes of bodies, bodies,
    /// messages.
    pub bytes_per_s: f64,
    /// Bodies sent by one host in a second.
    pub bodies_per_s: f64,
    /// Messages sent by one host in a second.
    pub messages_per_s: f64,
    /// A hash of all that happened: two runs of one seed have the same.
    pub trace: u64,
}

/// How often the whole ring is looked at.
const LOOK_EVERY_MS: u64 = 50_000;

/// Runs it.
pub fn churn(what: &Churn) -> ChurnFigures {
    let (network, tuning) = (what.network.clone(), what.tuning.clone());
    let mut world = World::grown(what.nodes, what.seed, network, tuning);
    if what.measure {
        world.sim.measure();
    }
    let start = world.sim.now();
    let mut answers: Vec<Answer> = Vec::with_capacity(what.lookups);
    let (mut joins, mut crashes, mut whole, mut looked_at) = (0, 0, 0, 0);
    // A join, a crash, a look-up, a look at the whole ring: when each is next.
    let rates = [what.rate, what.rate, what.lookup_rate];
    let first = rates.map(|rate| start + world.wait(rate));
    let mut at = [first[0], first[1], first[2], start];
    // Hosts and seconds, for what each of them sends.
    let mut host_ms = 0u64;
    let most_ms = (what.lookups as f64 / what.lookup_rate.max(1e-6) * 4000.0) as u64 + 600_000;
    while answers.len() < what.lookups && world.sim.now() - start < most_ms {
        let Some((which, when)) = at.iter().copied().enumerate().min_by_key(|(_, t)| *t) else {
            break;
        };
        let passes = when.saturating_sub(world.sim.now());
        host_ms += passes * world.alive.len() as u64;
        world.sim.run(passes);
        match which {
            0 => {
                world.join();
                joins += 1;
            }
            1 => {
                world.crash_one();
                crashes += 1;
            }
            2 => {
                let id = Token(world.random.random()).id();
                if let Some(from) = world.somebody() {
                    world.sim.search(from, id, false);
                }
            }
            _ => {
                looked_at += 1;
                whole += u64::from(invariant::one_ordered_ring(&world.sim.ring()).is_ok());
            }
        }
        at[which] = when
            + match which {
                3 => LOOK_EVERY_MS,
                _ => world.wait(rates[which]).max(1),
            };
        answers.extend(world.sim.answers());
    }
    answers.truncate(what.lookups);
    let counts = Counts {
        joins,
        crashes,
        whole,
        looked_at,
        host_ms,
    };
    figures(what, &world, &answers, counts)
}

/// What was counted on the way.
struct Counts {
    joins: u64,
    crashes: u64,
    /// Looks that found one ordered ring, of all looks.
    whole: u64,
    looked_at: u64,
    /// Hosts times milliseconds, for what each of them sends.
    host_ms: u64,
}

fn figures(what: &Churn, world: &World, answers: &[Answer], counts: Counts) -> ChurnFigures {
    let mut hops: Vec<u32> = answers.iter().map(|a| a.hops).collect();
    let mut times: Vec<u32> = answers
        .iter()
        .map(|a| (a.ended - a.started) as u32)
        .collect();
    let (hops_mean, hops_p99) = mean_and_p99(&mut hops);
    let (ms_mean, ms_p99) = mean_and_p99(&mut times);
    let timeouts: u64 = answers.iter().map(|a| u64::from(a.timeouts)).sum();
    let traffic = world.sim.traffic();
    let each = |n: u64| n as f64 * 1000.0 / counts.host_ms.max(1) as f64;
    ChurnFigures {
        rate: what.rate,
        lookups: answers.len() as u64,
        hops_mean,
        hops_p99,
        timeouts_mean: timeouts as f64 / answers.len().max(1) as f64,
        ms_mean,
        ms_p99,
        named_wrong: answers.iter().filter(|a| !a.named_right).count() as u64,
        failed: answers.iter().filter(|a| !a.right).count() as u64,
        joins: counts.joins,
        crashes: counts.crashes,
        whole: counts.whole,
        looked_at: counts.looked_at,
        bytes_per_s: each(traffic.bytes),
        bodies_per_s: each(traffic.bodies),
        messages_per_s: each(traffic.messages),
        trace: world.sim.trace(),
    }
}
