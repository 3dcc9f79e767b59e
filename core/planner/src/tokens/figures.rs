//! What a placement looks like, measured with keys: for tests and for
//! `chord sim placement`.

use chord_placement::Placement;
use chord_types::{DiskId, Id, Member, Ordinal, Table};
use serde::Serialize;

use super::assign;
use super::fair::fair;
use super::ring::Ring;
use super::scenario::Scenario;
use super::seat::{Seat, Seated, sites};

/// Nodes as the simulator makes them up.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Of a node of weight 1.
    pub tokens_per_node: u32,
    pub replication: u8,
    /// Node n stands in zone n modulo this; 0: zones are not known.
    pub zones: u32,
    /// Node n has weight n modulo the number of these; none: all weigh 1.
    pub weights: Vec<f64>,
}

impl Setting {
    /// Nodes of one size of which no place is known.
    pub fn plain(tokens_per_node: u32, replication: u8) -> Setting {
        Setting {
            tokens_per_node,
            replication,
            zones: 0,
            weights: Vec::new(),
        }
    }

    /// The first nodes.
    pub fn seats(&self, nodes: usize) -> Vec<Seat> {
        let seat = |n: usize| {
            let weight = match self.weights.len() {
                0 => 1.0,
                many => self.weights[n % many],
            };
            let tokens = (f64::from(self.tokens_per_node) * weight).round() as u32;
            let zone = (self.zones > 0).then(|| format!("zone-{}", n as u32 % self.zones));
            Seat {
                tokens: tokens.max(1),
                machine: zone.is_some().then(|| format!("machine-{n}")),
                zone,
            }
        };
        (0..nodes).map(seat).collect()
    }

    /// The table of the first nodes.
    pub fn table(&self, nodes: usize) -> Table {
        let seats = self.seats(nodes);
        let tokens = assign(self.replication, &seats);
        let members = seats.into_iter().zip(tokens).enumerate();
        Table {
            replication: self.replication,
            members: members
                .map(|(n, (seat, tokens))| Member {
                    ordinal: Ordinal(n as u32),
                    disk: DiskId(uuid::Uuid::from_u128(n as u128 + 1)),
                    tokens,
                    zone: seat.zone,
                    machine: seat.machine,
                    out: false,
                })
                .collect(),
        }
    }

    /// What each of the first nodes should hold, as a share of one copy.
    pub fn fair(&self, nodes: usize) -> Vec<f64> {
        let seats = self.seats(nodes);
        fair(&weights(&seats), &sites(&seats), self.replication.into())
    }
}

fn weights(seats: &[Seat]) -> Vec<f64> {
    seats.iter().map(|s| f64::from(s.tokens)).collect()
}

/// How far above its fair share the fullest of these nodes is.
pub fn fullest_over_fair(nodes: &[Seated], replication: u8) -> f64 {
    let seats: Vec<Seat> = nodes.iter().map(|(seat, _)| seat.clone()).collect();
    let sites = sites(&seats);
    let copies = usize::from(replication);
    let tokens: Vec<&[_]> = nodes.iter().map(|(_, tokens)| tokens.as_slice()).collect();
    let fair = fair(&weights(&seats), &sites, copies);
    let now = Scenario {
        sites,
        first: Vec::new(),
        copies,
        limits: fair,
    };
    let shares = Ring::new(&tokens).shares(&now);
    let over = shares.iter().zip(&now.limits).map(|(s, f)| s / f);
    over.fold(0.0, f64::max)
}

/// How far above its fair share the fullest of so many nodes is, by arithmetic.
/// The fair share is the mean where all nodes are alike.
pub fn evenness(setting: &Setting, nodes: usize) -> f64 {
    let shares = Placement::new(&setting.table(nodes)).shares();
    let fair = setting.fair(nodes);
    let over = shares.values().zip(&fair).map(|(s, f)| s / f);
    over.fold(0.0, f64::max)
}

/// What a placement of so many nodes looks like, measured with keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlacementFigures {
    /// Copies kept by the fullest node for its weight, over the mean.
    pub fullest_over_mean: f64,
    /// The same over what the node should hold: where zones differ in size, those
    /// in small ones have to hold more than the mean.
    pub fullest_over_fair: f64,
    /// Copies that move when one more node joins, over the least that must: its
    /// fair share.
    pub moved_over_least_join: f64,
    /// Copies that move when the last node leaves, over the least that must:
    /// those that it kept.
    pub moved_over_least_leave: f64,
}

/// How full each node is for its weight, over the mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Load {
    pub nodes: usize,
    pub over_mean: Vec<f64>,
}

fn keys_of(keys: u64, seed: u64) -> impl Iterator<Item = Id> {
    (0..keys).map(move |key| {
        let mut text = [0u8; 16];
        text[..8].copy_from_slice(&seed.to_be_bytes());
        text[8..].copy_from_slice(&key.to_be_bytes());
        Id::hash(&text)
    })
}

/// Copies over their mean, each divided by the weight of its node.
fn over_mean(kept: &[u64], weights: &[f64]) -> Vec<f64> {
    let copies: u64 = kept.iter().sum();
    let mean = copies as f64 / weights.iter().sum::<f64>();
    let over = kept.iter().zip(weights).map(|(k, w)| *k as f64 / w / mean);
    over.map(|o| if o.is_finite() { o } else { 1.0 }).collect()
}

/// Places `keys` keys on so many nodes and counts the copies of each.
pub fn loads(setting: &Setting, nodes: usize, keys: u64, seed: u64) -> Load {
    let placement = Placement::new(&setting.table(nodes));
    let mut kept = vec![0u64; nodes];
    for key in keys_of(keys, seed) {
        count(&placement, &key, &mut kept);
    }
    Load {
        nodes,
        over_mean: over_mean(&kept, &weights(&setting.seats(nodes))),
    }
}

fn count(placement: &Placement, key: &Id, kept: &mut [u64]) {
    for owner in placement.owners(key) {
        if let Some(count) = kept.get_mut(owner.ordinal.0 as usize) {
            *count += 1;
        }
    }
}

/// Owners of a key that the placement before did not have.
fn gained(before: &Placement, after: &Placement, key: &Id) -> u64 {
    after
        .owners(key)
        .filter(|m| !before.owners(key).any(|b| b.disk == m.disk))
        .count() as u64
}

/// Places `keys` keys and measures the placement of `nodes` nodes.
pub fn simulate(setting: &Setting, nodes: usize, keys: u64, seed: u64) -> PlacementFigures {
    let now = Placement::new(&setting.table(nodes));
    let joined = Placement::new(&setting.table(nodes + 1));
    let left = (nodes > usize::from(setting.replication))
        .then(|| Placement::new(&setting.table(nodes - 1)));
    let mut kept = vec![0u64; nodes];
    let (mut moved_in, mut moved_out) = (0u64, 0u64);
    for key in keys_of(keys, seed) {
        count(&now, &key, &mut kept);
        moved_in += gained(&now, &joined, &key);
        if let Some(left) = &left {
            moved_out += gained(&now, left, &key);
        }
    }
    let over = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
    let most = |all: Vec<f64>| all.into_iter().fold(0.0, f64::max);
    let fair = setting.fair(nodes);
    let of_joiner = setting.fair(nodes + 1).last().copied().unwrap_or(0.0);
    PlacementFigures {
        fullest_over_mean: most(over_mean(&kept, &weights(&setting.seats(nodes)))),
        fullest_over_fair: most(
            kept.iter()
                .zip(&fair)
                .map(|(k, f)| over(*k as f64, f * keys as f64))
                .collect(),
        ),
        moved_over_least_join: over(moved_in as f64, of_joiner * keys as f64),
        // Without enough nodes to leave nothing moves, and nothing must.
        moved_over_least_leave: match &left {
            Some(_) => over(moved_out as f64, kept.last().copied().unwrap_or(0) as f64),
            None => 1.0,
        },
    }
}
