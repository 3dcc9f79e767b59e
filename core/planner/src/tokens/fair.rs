//! How much each node should hold: by its weight, as far as zones, machines and
//! the rule of one copy a node allow.
//!
//! With fewer zones than copies every zone holds at least one copy of everything,
//! with as many or more it holds at most one; machines likewise, within zones. So
//! the only member of a zone may have to hold more than others. What is left is
//! shared out by weight: water poured into vessels with a floor and a lid.

use std::collections::BTreeMap;

use chord_placement::spread::Sites;

/// Steps of a search by halves; a share is then exact to the last digits.
const HALVINGS: usize = 80;

/// A machine: its members by index and weight, and the least and most it holds.
struct Machine {
    members: Vec<(usize, f64)>,
    bounds: (f64, f64),
}

struct Zone {
    machines: Vec<Machine>,
    bounds: (f64, f64),
}

fn member(level: f64, weight: f64) -> f64 {
    (level * weight).min(1.0)
}

impl Machine {
    fn holds(&self, level: f64) -> f64 {
        self.members.iter().map(|(_, w)| member(level, *w)).sum()
    }
    fn within(&self, level: f64) -> f64 {
        self.holds(level).clamp(self.bounds.0, self.bounds.1)
    }
}

impl Zone {
    fn holds(&self, level: f64) -> f64 {
        self.machines.iter().map(|m| m.within(level)).sum()
    }
    fn within(&self, level: f64) -> f64 {
        self.holds(level).clamp(self.bounds.0, self.bounds.1)
    }
}

/// The level at which `holds`, which grows with it, is `total`; where it stays
/// below, a level at which everything is full.
fn level(total: f64, holds: impl Fn(f64) -> f64) -> f64 {
    let mut high = 1.0;
    for _ in 0..HALVINGS {
        if holds(high) >= total {
            break;
        }
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if holds(middle) < total {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The share of the circle that each node should hold, all copies counted.
pub fn fair(weights: &[f64], sites: &Sites, copies: usize) -> Vec<f64> {
    let mut tree: BTreeMap<u32, BTreeMap<u32, Vec<(usize, f64)>>> = BTreeMap::new();
    for (index, weight) in weights.iter().enumerate() {
        let (zone, machine) = sites.site(index as u32);
        let members = tree.entry(zone).or_default().entry(machine).or_default();
        members.push((index, *weight));
    }
    let bounds = |places: usize, at_most: usize| match places >= copies {
        true => (0.0, 1.0),
        false => (1.0, at_most as f64),
    };
    let zones: Vec<Zone> = tree
        .into_values()
        .map(|machines| {
            let members = machines.values().map(Vec::len).sum();
            Zone {
                bounds: bounds(sites.zones(), members),
                machines: machines
                    .into_values()
                    .map(|members| Machine {
                        bounds: bounds(sites.machines(), members.len()),
                        members,
                    })
                    .collect(),
            }
        })
        .collect();
    let total = copies.min(weights.len()) as f64;
    let mut shares = vec![0.0; weights.len()];
    let at = level(total, |l| zones.iter().map(|z| z.within(l)).sum());
    for zone in &zones {
        let of_zone = zone.within(at);
        let at = level(of_zone, |l| zone.holds(l));
        for machine in &zone.machines {
            let of_machine = machine.within(at);
            let at = level(of_machine, |l| machine.holds(l));
            for (index, weight) in &machine.members {
                shares[*index] = member(at, *weight);
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(nodes: &[(&str, &str, f64)], copies: usize) -> Vec<f64> {
        let sites = Sites::new(nodes.iter().map(|(z, m, _)| ((Some(*z), Some(*m)), true)));
        let weights: Vec<f64> = nodes.iter().map(|n| n.2).collect();
        let shares = fair(&weights, &sites, copies);
        shares.iter().map(|s| (s * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn without_places_weights_decide() {
        let plain = Sites::new((0..4).map(|_| ((None, None), true)));
        let round = |s: Vec<f64>| {
            s.iter()
                .map(|s| (s * 1e6).round() / 1e6)
                .collect::<Vec<_>>()
        };
        assert_eq!(round(fair(&[1.0; 4], &plain, 3)), [0.75; 4]);
        assert_eq!(
            round(fair(&[2.0, 1.0, 1.0, 1.0], &plain, 2)),
            [0.8, 0.4, 0.4, 0.4]
        );
        assert_eq!(
            round(fair(&[9.0, 1.0, 1.0, 1.0], &plain, 2)),
            [1.0, 0.333333, 0.333333, 0.333333],
            "no node holds a copy twice"
        );
        assert_eq!(round(fair(&[1.0; 2], &plain, 3)[..2].to_vec()), [1.0; 2]);
    }

    #[test]
    fn equal_zones_share_equally_and_unequal_ones_as_they_must() {
        let six = ["a", "b", "c", "a", "b", "c"].map(|z| (z, "m", 1.0));
        assert_eq!(shares(&six, 3), [0.5; 6]);
        let four = [
            ("a", "1", 1.0),
            ("b", "2", 1.0),
            ("c", "3", 1.0),
            ("a", "4", 1.0),
        ];
        assert_eq!(
            shares(&four, 3),
            [0.5, 1.0, 1.0, 0.5],
            "one copy in each of three zones"
        );
        let two = [
            ("a", "1", 1.0),
            ("a", "2", 1.0),
            ("a", "3", 1.0),
            ("b", "4", 1.0),
        ];
        assert_eq!(
            shares(&two, 2),
            [0.333333, 0.333333, 0.333333, 1.0],
            "one copy in the zone of one"
        );
    }

    #[test]
    fn machines_bound_what_their_members_hold() {
        let three = [
            ("a", "1", 1.0),
            ("a", "1", 1.0),
            ("a", "2", 1.0),
            ("a", "3", 1.0),
        ];
        assert_eq!(shares(&three, 3), [0.5, 0.5, 1.0, 1.0]);
    }
}
