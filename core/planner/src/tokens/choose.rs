//! The tokens of one more node, beside those of the nodes before it.
//!
//! The choice is greedy: each token goes where it costs least in all [`scenarios`]
//! together, and then tokens are chosen anew one at a time for as long as that helps.
//! Within a gap between two tokens shares change in proportion to the way into it, so
//! the best place there is found exactly; which gaps are looked at is drawn. It has no
//! randomness of its own: the same nodes give the same tokens.

use chord_types::Token;

use super::ring::{Effect, Ring};
use super::scenario::{Scenario, scenarios};
use super::seat::{Seat, Seated};

/// Gaps that are looked at for each token.
const GAPS: usize = 24;

/// How near to the ends of a gap a token may come, as a part of the gap. Tokens that
/// stand together give always the same order of members, and later nodes no choice.
const MARGIN: f64 = 0.1;

/// Steps in the search for the best place within a gap, by halves.
const HALVINGS: usize = 14;

/// Passes in which each token may be chosen anew.
const PASSES: usize = 12;

/// A pass that makes the cost smaller by less than this part of it is the last.
const GAIN: f64 = 0.03;

/// How often the whole choice is tried, the best attempt counts: as often as so many
/// tokens go into it, up to [`ATTEMPTS`]. With many tokens the attempts are alike.
const TRIED_TOKENS: u64 = 64;

/// The most attempts.
const ATTEMPTS: u64 = 4;

/// With nobody further above its limit than this, one attempt is enough.
const GOOD: f64 = 1.03;

/// How much more the fullest member counts than those that are a little too full.
const FULLEST: f64 = 3000.0;

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

/// What it costs that somebody is `over` its limit, as a part of the limit.
fn cost(limit: f64, over: f64) -> f64 {
    match over > 0.0 {
        true => limit * over * over * (1.0 + FULLEST * over * over),
        false => 0.0,
    }
}

/// How fast [`cost`] grows with `over`, up to a factor of two.
fn steepness(limit: f64, over: f64) -> f64 {
    match over > 0.0 {
        true => limit * over * (1.0 + 2.0 * FULLEST * over * over),
        false => 0.0,
    }
}

/// A scenario, with the shares of its members under the tokens so far.
struct Outlook<'s> {
    scenario: &'s Scenario,
    effect: Effect<'s>,
    shares: Vec<f64>,
    /// How much each member may hold by now, while not all tokens are placed.
    aims: Vec<f64>,
    /// Somebody held too much at some time. Where nobody does, it costs nothing: tokens
    /// of a joiner make the others hold less only.
    counts: bool,
}

impl<'s> Outlook<'s> {
    fn new(scenario: &'s Scenario, ring: &Ring) -> Outlook<'s> {
        Outlook {
            scenario,
            effect: Effect::new(scenario),
            shares: ring.shares(scenario),
            aims: scenario.limits.clone(),
            counts: false,
        }
    }

    fn fullest(&self) -> f64 {
        let limits = self.scenario.limits.iter();
        let over = self.shares.iter().zip(limits).map(|(s, l)| s / l);
        over.fold(0.0, f64::max)
    }

    fn cost(&self) -> f64 {
        let limits = self.scenario.limits.iter();
        let costs = self
            .shares
            .iter()
            .zip(limits)
            .map(|(s, l)| cost(*l, s / l - 1.0));
        costs.sum()
    }
}

/// What a token in some gap does to one member in one scenario: how far above its aim
/// it is with the token at the beginning of the gap, and how that changes on the way
/// through the gap, both as parts of its limit.
struct Part {
    limit: f64,
    over: f64,
    slope: f64,
}

/// The search for the tokens of one node.
struct Search<'s> {
    ring: Ring,
    outlooks: Vec<Outlook<'s>>,
    member: u32,
    numbers: Numbers,
    parts: Vec<Part>,
}

impl<'s> Search<'s> {
    fn new(ring: Ring, scenarios: &'s [Scenario], member: u32, seed: u64) -> Search<'s> {
        Search {
            outlooks: scenarios.iter().map(|s| Outlook::new(s, &ring)).collect(),
            ring,
            member,
            numbers: Numbers(seed),
            parts: Vec::new(),
        }
    }

    /// The best way into the gap before the token at index `at`, and the change of the
    /// cost with a token there.
    fn weigh(&mut self, at: usize) -> (f64, f64) {
        self.parts.clear();
        let mut before = 0.0;
        for outlook in self.outlooks.iter_mut().filter(|o| o.counts) {
            let limits = &outlook.scenario.limits;
            for shift in outlook.effect.of(&self.ring, self.member, at) {
                let who = shift.member as usize;
                let Some(limit) = limits.get(who).copied() else {
                    continue; // one that is met first
                };
                let over = (outlook.shares[who] - outlook.aims[who]) / limit;
                before += cost(limit, over);
                self.parts.push(Part {
                    limit,
                    over: over + shift.fixed / limit,
                    slope: shift.slope / limit,
                });
            }
        }
        let steepness = |way: f64| -> f64 {
            let parts = self.parts.iter();
            parts
                .map(|p| p.slope * steepness(p.limit, p.over + p.slope * way))
                .sum()
        };
        let gap = self.ring.gap(at);
        let (low, high) = match (steepness(0.0) < 0.0, steepness(gap) > 0.0) {
            // The cost is convex, so it is the same everywhere: in the middle.
            (false, false) => (0.0, gap),
            (false, true) => (0.0, 0.0),
            (true, false) => (gap, gap),
            (true, true) => {
                let (mut low, mut high) = (0.0, gap);
                for _ in 0..HALVINGS {
                    let middle = (low + high) / 2.0;
                    match steepness(middle) < 0.0 {
                        true => low = middle,
                        false => high = middle,
                    }
                }
                (low, high)
            }
        };
        let way = ((low + high) / 2.0).clamp(gap * MARGIN, gap * (1.0 - MARGIN));
        let parts = self.parts.iter();
        let after: f64 = parts.map(|p| cost(p.limit, p.over + p.slope * way)).sum();
        (way, after - before)
    }

    /// The best place for a token in some gaps; the gap before the token at index `known`
    /// is one of them.
    fn best(&mut self, known: Option<usize>) -> u64 {
        let gaps = self.ring.gaps();
        // The first node finds all gaps equally good, and takes the first one again and
        // again. So its tokens stand at many different distances. Even distances left
        // later nodes less choice: 1.13 of a share rather than 1.10 in the hardest order.
        let mut best: Option<(f64, u64)> = None;
        for n in 0..GAPS.min(gaps) {
            let at = match known {
                _ if gaps <= GAPS => n,
                Some(known) if n == 0 => known,
                _ => self.ring.gap_around(self.numbers.next()),
            };
            let (way, worth) = self.weigh(at);
            if best.is_some_and(|(least, _)| worth >= least) {
                continue;
            }
            if let Some(point) = self.ring.point(at, way) {
                best = Some((worth, point));
            }
        }
        // No room in any of the gaps: only in a ring of 2^64 tokens.
        best.map_or_else(|| self.numbers.next(), |(_, point)| point)
    }

    /// Puts a token into the ring (`sign` 1) or takes it out (-1).
    fn shift(&mut self, sign: f64, point: u64) {
        let at = self.ring.gap_around(point);
        let way = self.ring.way_to(at, point);
        for outlook in self.outlooks.iter_mut().filter(|o| o.counts) {
            for shift in outlook.effect.of(&self.ring, self.member, at) {
                let by = shift.fixed + shift.slope * way;
                outlook.shares[shift.member as usize] += sign * by;
            }
        }
    }

    fn put(&mut self, point: u64) {
        self.shift(1.0, point);
        self.ring.insert(self.member, point);
    }

    fn take(&mut self, point: u64) {
        self.ring.remove(point);
        self.shift(-1.0, point);
    }

    /// Counts, from now on, the scenarios in which somebody holds too much.
    fn count_overfull(&mut self) {
        for outlook in self.outlooks.iter_mut().filter(|o| !o.counts) {
            outlook.shares = self.ring.shares(outlook.scenario);
            outlook.counts = outlook.fullest() > 1.0;
        }
    }

    fn cost(&self) -> f64 {
        self.outlooks.iter().map(Outlook::cost).sum()
    }

    /// The tokens, and how far above its limit the fullest is with them.
    fn tokens(mut self, count: u32) -> (Vec<Token>, f64) {
        self.count_overfull();
        let start: Vec<Vec<f64>> = self.outlooks.iter().map(|o| o.shares.clone()).collect();
        let mut mine: Vec<u64> = Vec::with_capacity(count as usize);
        for placed in 1..=count {
            let progress = f64::from(placed) / f64::from(count);
            for (outlook, start) in self.outlooks.iter_mut().zip(&start) {
                let limits = start.iter().zip(&outlook.scenario.limits);
                let aims = limits.map(|(s, limit)| (s + (limit - s) * progress).max(*limit));
                outlook.aims = aims.collect();
            }
            let point = self.best(None);
            self.put(point);
            mine.push(point);
        }
        let mut cost = f64::INFINITY;
        for _ in 0..PASSES {
            self.count_overfull();
            let now = self.cost();
            if now == 0.0 || now > cost * (1.0 - GAIN) {
                break;
            }
            cost = now;
            for token in &mut mine {
                self.take(*token);
                *token = self.best(Some(self.ring.gap_around(*token)));
                self.put(*token);
            }
        }
        self.count_overfull();
        mine.sort_unstable();
        let fullest = self.outlooks.iter().map(Outlook::fullest);
        let fullest = fullest.fold(0.0, f64::max);
        (mine.into_iter().map(Token).collect(), fullest)
    }
}

/// The tokens of a node at `seat`, given those of the nodes before it.
pub fn next_node(before: &[Seated], seat: &Seat, replication: u8) -> Vec<Token> {
    let mut seats: Vec<Seat> = before.iter().map(|(seat, _)| seat.clone()).collect();
    seats.push(seat.clone());
    let scenarios = scenarios(&seats, replication.into());
    let tables: Vec<&[Token]> = before.iter().map(|(_, tokens)| tokens.as_slice()).collect();
    let ring = Ring::new(&tables);
    let member = before.len() as u32;
    let mut best: Option<(Vec<Token>, f64)> = None;
    let attempts = TRIED_TOKENS / u64::from(seat.tokens.max(1));
    for attempt in 0..attempts.clamp(1, ATTEMPTS) {
        let seed = 0x6368_6f72_6400 ^ (u64::from(member) << 32) ^ u64::from(seat.tokens);
        let search = Search::new(ring.clone(), &scenarios, member, seed ^ (attempt << 56));
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
