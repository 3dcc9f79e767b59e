//! The tokens of members on the circle, what each member holds with them, and what one
//! token more would change.
//!
//! A token changes the owners only of the ranges before it, as far back as its member is
//! met among the first: a few, or more where a zone is rare. The owners are found by the
//! very rule of the placement.

use chord_placement::spread::Walk;
use chord_types::Token;

use super::scenario::Scenario;

const CIRCLE: f64 = 18_446_744_073_709_551_616.0;

/// The tokens so far, in order, each with its member.
#[derive(Clone, Debug, PartialEq)]
pub struct Ring {
    tokens: Vec<(u64, u32)>,
}

/// What a token in a gap does to the share of one member: `fixed`, and `slope` times the
/// way from the beginning of the gap to the token.
#[derive(Clone, Copy, Debug)]
pub struct Shift {
    pub member: u32,
    pub fixed: f64,
    pub slope: f64,
}

/// Finds what tokens do in one scenario; made once and used for many.
pub struct Effect<'s> {
    scenario: &'s Scenario,
    onward: Walk<'s>,
    with: Walk<'s>,
    without: Walk<'s>,
    between: Vec<u32>,
    owners_with: Vec<u32>,
    owners_without: Vec<u32>,
    shifts: Vec<Shift>,
}

/// Begins a walk, with those that are met first.
fn begin(walk: &mut Walk, scenario: &Scenario) {
    walk.restart();
    for member in &scenario.first {
        walk.meet(*member);
    }
}

fn arc(after: u64, upto: u64) -> f64 {
    upto.wrapping_sub(after) as f64 / CIRCLE
}

impl Ring {
    /// The ring of members that have these tokens; some may have none yet.
    pub fn new(members: &[&[Token]]) -> Ring {
        let mut tokens: Vec<(u64, u32)> = members
            .iter()
            .enumerate()
            .flat_map(|(m, tokens)| tokens.iter().map(move |t| (t.0, m as u32)))
            .collect();
        tokens.sort_unstable();
        Ring { tokens }
    }

    /// How much of the circle each member holds, all copies counted.
    pub fn shares(&self, scenario: &Scenario) -> Vec<f64> {
        let mut shares = vec![0.0; scenario.limits.len() + scenario.first.len()];
        let mut walk = Walk::new(&scenario.sites, scenario.copies);
        let mut owners = Vec::new();
        for at in 0..self.tokens.len() {
            begin(&mut walk, scenario);
            self.meet_from(at, &mut walk);
            walk.owners(&mut owners);
            let width = self.gap(at);
            for owner in &owners {
                shares[*owner as usize] += width;
            }
        }
        shares
    }

    /// How many gaps there are between tokens: each ends at the token of its index. A
    /// ring without tokens is one gap.
    pub fn gaps(&self) -> usize {
        self.tokens.len().max(1)
    }

    /// The width of the gap before the token at this index.
    pub fn gap(&self, at: usize) -> f64 {
        match self.before(at) {
            Some((before, token)) if before != token => arc(before, token),
            _ => 1.0,
        }
    }

    /// The token at an index and the one before it.
    fn before(&self, at: usize) -> Option<(u64, u64)> {
        let len = self.tokens.len();
        let token = self.tokens.get(at)?.0;
        Some((self.tokens[(at + len - 1) % len].0, token))
    }

    /// The gap in which a point lies, by its index.
    pub fn gap_around(&self, point: u64) -> usize {
        let at = self.tokens.partition_point(|(t, _)| *t < point);
        if at == self.tokens.len() { 0 } else { at }
    }

    /// How far into a gap a point is.
    pub fn way_to(&self, at: usize, point: u64) -> f64 {
        self.before(at)
            .map_or(0.0, |(before, _)| arc(before, point))
    }

    /// The point so far into a gap, if nobody has a token there.
    pub fn point(&self, at: usize, way: f64) -> Option<u64> {
        let by = (way * CIRCLE) as u64;
        let Some((before, token)) = self.before(at) else {
            return Some(by);
        };
        let point = before.wrapping_add(by);
        (by != 0 && point != token).then_some(point)
    }

    /// Puts in a token that nobody has.
    pub fn insert(&mut self, member: u32, point: u64) {
        let at = self.tokens.partition_point(|(t, _)| *t < point);
        self.tokens.insert(at, (point, member));
    }

    /// Takes a token out.
    pub fn remove(&mut self, point: u64) {
        self.tokens.retain(|(t, _)| *t != point);
    }

    fn meet_from(&self, at: usize, walk: &mut Walk) {
        for (_, member) in self.tokens[at..].iter().chain(&self.tokens[..at]) {
            if walk.settled() {
                break;
            }
            walk.meet(*member);
        }
    }
}

impl<'s> Effect<'s> {
    pub fn new(scenario: &'s Scenario) -> Effect<'s> {
        let walk = || Walk::new(&scenario.sites, scenario.copies);
        Effect {
            scenario,
            onward: walk(),
            with: walk(),
            without: walk(),
            between: Vec::new(),
            owners_with: Vec::new(),
            owners_without: Vec::new(),
            shifts: Vec::new(),
        }
    }

    /// What changes when `member` gets a token in the gap before the token at index
    /// `at`: for the range that ends at the new token, then for one range after the
    /// other before it, until members on the way to the new token settle who owns.
    pub fn of(&mut self, ring: &Ring, member: u32, at: usize) -> &[Shift] {
        self.shifts.clear();
        self.between.clear();
        let tokens = &ring.tokens;
        let len = tokens.len();
        if len == 0 {
            begin(&mut self.with, self.scenario);
            self.with.meet(member);
            self.with.owners(&mut self.owners_with);
            if self.owners_with.contains(&member) {
                self.shift(member, 1.0, 0.0);
            }
            return &self.shifts;
        }
        // From the new token on the way is the same for all of them.
        begin(&mut self.onward, self.scenario);
        ring.meet_from(at, &mut self.onward);
        let mut back = (at + len - 1) % len;
        // The range that ends at the new token is as wide as the way to it.
        let (mut fixed, mut slope) = (0.0, 1.0);
        for range in 0..=len {
            if !self.range(member, fixed, slope) {
                break;
            }
            let owner = tokens[back].1;
            if owner == member || range == len {
                break;
            }
            // Who was met later on the way back is met earlier on the way to the token.
            if let Some(known) = self.between.iter().position(|m| *m == owner) {
                self.between.remove(known);
            }
            self.between.insert(0, owner);
            (fixed, slope) = match back == at {
                // All the way round: what the new token leaves of its gap.
                true => (ring.gap(at), -1.0),
                false => (ring.gap(back), 0.0),
            };
            back = (back + len - 1) % len;
        }
        &self.shifts
    }

    /// Who comes and who goes as an owner of one range, which is so wide; `false` if
    /// those met before the new token settle it.
    fn range(&mut self, member: u32, fixed: f64, slope: f64) -> bool {
        begin(&mut self.without, self.scenario);
        for between in &self.between {
            self.without.meet(*between);
        }
        if self.without.settled() {
            return false;
        }
        begin(&mut self.with, self.scenario);
        for between in &self.between {
            self.with.meet(*between);
        }
        self.with.meet(member);
        for next in self.onward.met() {
            self.without.meet(*next);
            self.with.meet(*next);
        }
        let mut with = std::mem::take(&mut self.owners_with);
        let mut without = std::mem::take(&mut self.owners_without);
        self.with.owners(&mut with);
        self.without.owners(&mut without);
        for owner in with.iter().filter(|o| !without.contains(o)) {
            self.shift(*owner, fixed, slope);
        }
        for owner in without.iter().filter(|o| !with.contains(o)) {
            self.shift(*owner, -fixed, -slope);
        }
        (self.owners_with, self.owners_without) = (with, without);
        true
    }

    fn shift(&mut self, member: u32, fixed: f64, slope: f64) {
        match self.shifts.iter_mut().find(|s| s.member == member) {
            Some(shift) => {
                shift.fixed += fixed;
                shift.slope += slope;
            }
            None => self.shifts.push(Shift {
                member,
                fixed,
                slope,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_placement::spread::Sites;
    use proptest::prelude::*;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        /// Shares that were kept up to date are those counted afresh, wherever the
        /// members stand, whoever is met first, and wherever in its gap a token is.
        #[test]
        fn the_shares_kept_on_the_way_are_those_of_the_whole(
            places in prop::collection::vec((0usize..3, 0usize..4), 2..8),
            known in any::<bool>(),
            ahead in 0usize..2,
            copies in 1usize..5,
            points in prop::collection::btree_set(any::<u64>(), 8..60),
        ) {
            let scenario = Scenario {
                sites: Sites::new(places.iter().map(|(z, m)| match known {
                    true => ((Some(NAMES[*z]), Some(["1", "2", "3", "4"][*m])), true),
                    false => ((None, None), true),
                })),
                first: (places.len() - ahead..places.len()).map(|m| m as u32).collect(),
                copies,
                limits: vec![1.0; places.len() - ahead],
            };
            let members = places.len() - ahead;
            let mut tables: Vec<Vec<Token>> = vec![Vec::new(); members];
            for (n, point) in points.iter().enumerate() {
                let mixed = point.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                let whose = if n < members { n } else { mixed as usize % members };
                tables[whose].push(Token(*point));
            }
            let all: Vec<&[Token]> = tables.iter().map(Vec::as_slice).collect();
            let whole = Ring::new(&all);
            let mut effect = Effect::new(&scenario);
            let mut ring = Ring::new(&[]);
            let mut shares = vec![0.0; places.len()];
            let mut shift = |ring: &Ring, member: u32, point: u64, sign: f64| {
                let at = ring.gap_around(point);
                let way = ring.way_to(at, point);
                for s in effect.of(ring, member, at) {
                    shares[s.member as usize] += sign * (s.fixed + s.slope * way);
                }
            };
            let tokens = || tables.iter().enumerate().rev().flat_map(|(m, tokens)| {
                tokens.iter().map(move |t| (m as u32, t.0))
            });
            // Without a token nobody holds anything; with the first, those that are met
            // first hold something, too, which no shift tells.
            for (member, point) in tokens() {
                shift(&ring, member, point, 1.0);
                ring.insert(member, point);
            }
            for (member, point) in tokens().step_by(2) {
                ring.remove(point);
                shift(&ring, member, point, -1.0);
                shift(&ring, member, point, 1.0);
                ring.insert(member, point);
            }
            prop_assert_eq!(&ring, &whole);
            let afresh = whole.shares(&scenario);
            let same = (0..members).all(|m| (shares[m] - afresh[m]).abs() < 1e-9);
            prop_assert!(same, "{:?} {:?}", shares, afresh);
        }
    }
}
