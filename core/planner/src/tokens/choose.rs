//! The tokens of one more node, beside those of the nodes before it.
//!
//! The choice is greedy: each token is the best of many candidates, and then
//! tokens are chosen anew one at a time until the shares are even enough. It has
//! no randomness of its own: the same nodes give the same tokens.

use chord_placement::spread::Sites;
use chord_types::Token;

use super::fair::fair;
use super::ring::{Ring, Scratch, Shift};
use super::seat::{Seat, Seated, sites};

/// Candidates for each token.
const CANDIDATES: usize = 24;

/// Candidates for each token in every other attempt after the first.
const MANY_CANDIDATES: usize = 96;

/// How often the whole choice is tried; the best attempt counts.
const ATTEMPTS: u64 = 8;

/// With nobody further above its share than this, one attempt is enough.
const GOOD: f64 = 1.05;

/// Passes in which each token may be chosen anew.
const PASSES: usize = 12;

/// How far above its fair share the fullest may be before tokens are chosen anew.
const EVEN_ENOUGH: f64 = 1.025;

/// A generator that gives everybody the same numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The search for the tokens of one node.
struct Search<'s> {
    ring: Ring,
    scratch: Scratch<'s>,
    member: u32,
    numbers: Numbers,
    candidates: usize,
    /// What each member should hold in the end.
    goals: &'s [f64],
}

impl Search<'_> {
    /// How much nearer to `aims` (or farther from them) these shifts bring the
    /// shares: the change of the sum of squares, each in relation to its goal.
    fn worth(&self, shifts: &[Shift], aims: &[f64], merged: &mut Vec<Shift>) -> f64 {
        merged.clear();
        for (who, by) in shifts {
            match merged.iter_mut().find(|(other, _)| other == who) {
                Some((_, sum)) => *sum += by,
                None => merged.push((*who, *by)),
            }
        }
        merged
            .iter()
            .map(|(who, by)| {
                let who = *who as usize;
                let off = self.ring.shares[who] - aims[who];
                ((off + by).powi(2) - off.powi(2)) / self.goals[who].max(f64::MIN_POSITIVE)
            })
            .sum()
    }

    /// The best of some candidates for the next token, `keep` among them.
    fn best(&mut self, aims: &[f64], keep: Option<u64>) -> u64 {
        let mut best: Option<(f64, u64)> = None;
        let mut merged = Vec::new();
        for candidate in 0..=self.candidates {
            let point = match (candidate, keep) {
                (0, Some(old)) => old,
                _ => self.numbers.next(),
            };
            if self.ring.taken(point) {
                continue;
            }
            let at = self.ring.place_of(point);
            self.ring.effect(self.member, point, at, &mut self.scratch);
            let worth = self.worth(&self.scratch.shifts, aims, &mut merged);
            if best.is_none_or(|(w, _)| worth < w) {
                best = Some((worth, point));
            }
        }
        // All candidates taken: only in a ring of 2^64 tokens.
        best.map_or_else(|| self.numbers.next(), |(_, point)| point)
    }

    fn put(&mut self, point: u64) {
        self.ring.insert(self.member, point, &mut self.scratch);
    }

    fn fullest_over_fair(&self) -> f64 {
        let over = self.ring.shares.iter().zip(self.goals).map(|(s, g)| s / g);
        over.fold(0.0, f64::max)
    }

    /// The tokens, and how far above its share the fullest is with them.
    fn tokens(mut self, count: u32) -> (Vec<Token>, f64) {
        let start = self.ring.shares.clone();
        let mut mine: Vec<u64> = Vec::with_capacity(count as usize);
        for placed in 1..=count {
            let progress = f64::from(placed) / f64::from(count);
            let aims: Vec<f64> = start
                .iter()
                .zip(self.goals)
                .map(|(share, goal)| share + (goal - share) * progress)
                .collect();
            let point = self.best(&aims, None);
            self.put(point);
            mine.push(point);
        }
        let aims = self.goals;
        for _ in 0..PASSES {
            if self.fullest_over_fair() <= EVEN_ENOUGH {
                break;
            }
            for token in &mut mine {
                self.ring.remove(self.member, *token, &mut self.scratch);
                *token = self.best(aims, Some(*token));
                self.put(*token);
            }
        }
        mine.sort_unstable();
        let fullest = self.fullest_over_fair();
        (mine.into_iter().map(Token).collect(), fullest)
    }
}

/// The tokens of a node at `seat`, given those of the nodes before it.
pub fn next_node(before: &[Seated], seat: &Seat, replication: u8) -> Vec<Token> {
    let nodes = before.len() + 1;
    let mut seats: Vec<Seat> = before.iter().map(|(seat, _)| seat.clone()).collect();
    seats.push(seat.clone());
    // With no more members than copies everybody holds everything, wherever the
    // tokens are; then the first copies are made even.
    let everything = nodes <= usize::from(replication);
    let (sites, copies): (Sites, usize) = match everything {
        true => (Sites::new(seats.iter().map(|_| ((None, None), true))), 1),
        false => (sites(&seats), usize::from(replication)),
    };
    let weights: Vec<f64> = seats.iter().map(|s| f64::from(s.tokens)).collect();
    let mut tables: Vec<&[Token]> = before.iter().map(|(_, tokens)| tokens.as_slice()).collect();
    tables.push(&[]);
    let member = before.len() as u32;
    let goals = fair(&weights, &sites, copies);
    let ring = Ring::new(&tables, &sites, copies);
    let mut best: Option<(Vec<Token>, f64)> = None;
    for attempt in 0..ATTEMPTS {
        let start = (u64::from(member) << 32) ^ u64::from(seat.tokens) ^ (attempt << 56);
        let search = Search {
            ring: ring.clone(),
            scratch: Scratch::new(&sites, copies),
            member,
            numbers: Numbers(0x6368_6f72_6400 ^ start),
            candidates: match attempt % 2 {
                0 => CANDIDATES,
                _ => MANY_CANDIDATES,
            },
            goals: &goals,
        };
        let found = search.tokens(seat.tokens);
        if best.as_ref().is_none_or(|(_, fullest)| found.1 < *fullest) {
            best = Some(found);
        }
        if best.as_ref().is_some_and(|(_, fullest)| *fullest <= GOOD) {
            break;
        }
    }
    best.map(|(tokens, _)| tokens).unwrap_or_default()
}
