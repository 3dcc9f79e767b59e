//! What the tokens of a node have to be good for: the cluster as it is with that node,
//! and as it may be when more have come.
//!
//! Tokens stay once they are chosen, so they decide how even later rings can be. A node
//! that joins only takes from others. It takes most if it owns every range: what a member
//! holds even then, no later joiner can take from it. So there is a scenario for every
//! place where nodes may come next. In it the nodes that come own every range, and no
//! other member may hold more than its share beside them. With more copies, nodes may
//! come to several places at once. An example: beside a zone that holds one copy of
//! everything, the other zones are a ring of their own with one copy less.

use chord_placement::spread::Sites;

use super::fair::fair;
use super::seat::{Seat, Site};

/// How far above its fair share a member may be before it costs anything. More would be
/// won for today, and lost for later.
const SLACK: f64 = 0.02;

/// The same today where no place tells members apart: then little has to be traded.
const PLAIN_SLACK: f64 = 0.002;

/// A place may get so much new weight, in nodes of the least weight, doubled again and
/// again.
const DOUBLINGS: i32 = 4;

/// With three copies or more, how much further above its share a member may be for
/// each of those doublings: what is farther off counts for less. With two copies there
/// is room for all of it.
const LATER: f64 = 0.03;

/// To how many places nodes are expected to come: where nobody is yet, and to the
/// heaviest zones, which are the ones that reach what a zone can hold.
const MANY_PLACES: usize = 6;

/// The same with more than three copies, where nodes may come to many places at once.
const FEW_PLACES: usize = 4;

/// Names of zones and machines that are new, one for each that comes: names that no
/// label of Kubernetes can have.
const NEW: [&str; 4] = ["\u{1}", "\u{2}", "\u{3}", "\u{4}"];

/// A cluster in which shares are looked at.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub sites: Sites,
    /// Members that one meets before all others on every way.
    pub first: Vec<u32>,
    pub copies: usize,
    /// How much of the circle each member should hold at most, all copies counted.
    /// Those that one meets first have none.
    pub limits: Vec<f64>,
}

impl Scenario {
    /// The cluster as it is. Where there are no more members than copies everybody
    /// holds everything, and `None` is to be looked at.
    fn now(sites: &[Site], weights: &[f64], copies: usize) -> Option<Scenario> {
        if weights.len() <= copies {
            return None;
        }
        let all = Sites::new(sites.iter().map(|site| (*site, true)));
        let fair = fair(weights, &all, copies);
        let slack = match places(sites, weights, NEW[0]).len() {
            0 | 1 => PLAIN_SLACK,
            _ => SLACK,
        };
        Some(Scenario {
            first: Vec::new(),
            copies,
            limits: fair.iter().map(|f| f * (1.0 + slack)).collect(),
            sites: all,
        })
    }

    /// The cluster when nodes have come to these places; `None` if nobody can hold too
    /// much there.
    fn with(sites: &[Site], weights: &[f64], copies: usize, come: &[Site]) -> Option<Scenario> {
        let members = weights.len();
        let all = Sites::new(sites.iter().chain(come).map(|site| (*site, true)));
        let lightest = weights.iter().copied().fold(f64::INFINITY, f64::min);
        let mut limits = vec![f64::INFINITY; members];
        let mut growth = lightest;
        for doublings in 0..=DOUBLINGS {
            let mut weights = weights.to_vec();
            weights.resize(members + come.len(), growth);
            let later = match copies {
                0..=2 => 0.0,
                _ => LATER * f64::from(doublings),
            };
            for (limit, fair) in limits.iter_mut().zip(fair(&weights, &all, copies)) {
                *limit = limit.min(fair * (1.0 + SLACK + later));
            }
            growth *= 2.0;
        }
        let nobody = limits.iter().all(|limit| *limit >= 1.0);
        (!nobody).then(|| Scenario {
            sites: all,
            first: (members..members + come.len()).map(|m| m as u32).collect(),
            copies,
            limits,
        })
    }
}

/// Where nodes may come next: where nobody is yet, and to the heaviest zones that there
/// are, or machines if zones are not known and some nodes share one. `name` is that of
/// a zone and a machine which nobody is on.
fn places<'a>(sites: &[Site<'a>], weights: &[f64], name: &'a str) -> Vec<Site<'a>> {
    let zoned = sites.iter().any(|(zone, _)| zone.is_some());
    let machine = sites.iter().any(|(_, machine)| machine.is_some());
    let machine = machine.then_some(name);
    let mut heavy: Vec<(Site, f64)> = Vec::new();
    for ((zone, on), weight) in sites.iter().zip(weights) {
        let place = match zoned {
            true => (*zone, machine),
            false => (None, *on),
        };
        match heavy.iter_mut().find(|(known, _)| *known == place) {
            Some((_, sum)) => *sum += weight,
            None => heavy.push((place, *weight)),
        }
    }
    if !zoned && (machine.is_none() || heavy.len() == sites.len()) {
        heavy.clear(); // No place tells members apart.
    }
    heavy.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let new = (zoned.then_some(name), machine);
    let heavy = heavy.into_iter().map(|(place, _)| place);
    std::iter::once(new).chain(heavy).collect()
}

/// Every choice of up to `most` of so many places, one more than once too; each in order.
fn choices(places: usize, most: usize) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = vec![Vec::new()];
    let mut at = 0;
    while let Some(choice) = found.get(at).cloned() {
        let least = choice.last().copied().unwrap_or(0);
        for next in (least..places).filter(|_| choice.len() < most) {
            found.push([choice.as_slice(), &[next]].concat());
        }
        at += 1;
    }
    found.remove(0);
    found
}

/// The scenarios for which the tokens of the last of these nodes are chosen.
pub fn scenarios(seats: &[Seat], copies: usize) -> Vec<Scenario> {
    let sites: Vec<Site> = seats.iter().map(Seat::site).collect();
    let weights: Vec<f64> = seats.iter().map(|seat| f64::from(seat.tokens)).collect();
    let places = NEW.map(|name| places(&sites, &weights, name));
    let most = match copies {
        0..=3 => MANY_PLACES,
        _ => FEW_PLACES,
    };
    // Who is met first holds a copy of everything; somebody else has to hold one, too.
    let choices = choices(
        places[0].len().min(most),
        copies.saturating_sub(1).min(NEW.len()),
    );
    let later = choices.iter().filter_map(|choice| {
        let come = choice.iter().zip(&places).map(|(at, places)| places[*at]);
        let come: Vec<Site> = come.collect();
        Scenario::with(&sites, &weights, copies, &come)
    });
    let now = Scenario::now(&sites, &weights, copies);
    now.into_iter().chain(later).collect()
}
