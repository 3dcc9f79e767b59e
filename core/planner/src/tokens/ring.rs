//! The shares of members under a set of tokens, kept up to date while tokens come
//! and go.
//!
//! A token changes the owners only of the few ranges before it, so what a
//! candidate would do is found in time that does not grow with the ring. The
//! owners are found by the very rule of the placement.

use chord_placement::spread::{Sites, Walk};
use chord_types::Token;

const CIRCLE: f64 = 18_446_744_073_709_551_616.0;

/// The tokens so far, with the share of copies that each member holds.
#[derive(Clone)]
pub struct Ring {
    /// In order.
    tokens: Vec<(u64, u32)>,
    pub shares: Vec<f64>,
}

/// What putting a token in does to the share of a member.
pub type Shift = (u32, f64);

/// Room to work in, used again and again.
pub struct Scratch<'s> {
    onward: Walk<'s>,
    with: Walk<'s>,
    without: Walk<'s>,
    between: Vec<u32>,
    owners_with: Vec<u32>,
    owners_without: Vec<u32>,
    pub shifts: Vec<Shift>,
}

impl<'s> Scratch<'s> {
    pub fn new(sites: &'s Sites, copies: usize) -> Scratch<'s> {
        Scratch {
            onward: Walk::new(sites, copies),
            with: Walk::new(sites, copies),
            without: Walk::new(sites, copies),
            between: Vec::new(),
            owners_with: Vec::new(),
            owners_without: Vec::new(),
            shifts: Vec::new(),
        }
    }
}

fn arc(after: u64, upto: u64) -> f64 {
    upto.wrapping_sub(after) as f64 / CIRCLE
}

impl Ring {
    /// The ring of members that have these tokens; one may have none yet.
    pub fn new(members: &[&[Token]], sites: &Sites, copies: usize) -> Ring {
        let mut tokens: Vec<(u64, u32)> = members
            .iter()
            .enumerate()
            .flat_map(|(m, tokens)| tokens.iter().map(move |t| (t.0, m as u32)))
            .collect();
        tokens.sort_unstable();
        let mut ring = Ring {
            tokens,
            shares: vec![0.0; members.len()],
        };
        let (mut walk, mut owners) = (Walk::new(sites, copies), Vec::new());
        for at in 0..ring.tokens.len() {
            ring.meet_from(at, &mut walk);
            walk.owners(&mut owners);
            let width = ring.width_before(at);
            for owner in &owners {
                ring.shares[*owner as usize] += width;
            }
        }
        ring
    }

    fn width_before(&self, at: usize) -> f64 {
        let before = (at + self.tokens.len() - 1) % self.tokens.len();
        match before == at {
            true => 1.0,
            false => arc(self.tokens[before].0, self.tokens[at].0),
        }
    }

    fn meet_from(&self, at: usize, walk: &mut Walk) {
        walk.restart();
        for (_, member) in self.tokens[at..].iter().chain(&self.tokens[..at]) {
            if walk.settled() {
                break;
            }
            walk.meet(*member);
        }
    }

    /// What changes when `member` gets a token at `point`, which lies before the
    /// token at index `at`: for the range that ends at the point, then for one
    /// range after the other before it, until members on the way to the point
    /// settle who owns.
    pub fn effect(&self, member: u32, point: u64, at: usize, scratch: &mut Scratch) {
        let s = scratch;
        s.shifts.clear();
        s.between.clear();
        let len = self.tokens.len();
        if len == 0 {
            s.shifts.push((member, 1.0));
            return;
        }
        let at = at % len;
        // From the point on the way is the same for all of them.
        self.meet_from(at, &mut s.onward);
        let mut back = (at + len - 1) % len;
        let mut width = arc(self.tokens[back].0, point);
        for range in 0..=len {
            s.without.restart();
            for between in &s.between {
                s.without.meet(*between);
            }
            if s.without.settled() {
                break;
            }
            s.with.restart();
            for between in &s.between {
                s.with.meet(*between);
            }
            s.with.meet(member);
            for next in s.onward.met() {
                s.without.meet(*next);
                s.with.meet(*next);
            }
            s.without.owners(&mut s.owners_without);
            s.with.owners(&mut s.owners_with);
            for owner in &s.owners_with {
                if !s.owners_without.contains(owner) {
                    s.shifts.push((*owner, width));
                }
            }
            for owner in &s.owners_without {
                if !s.owners_with.contains(owner) {
                    s.shifts.push((*owner, -width));
                }
            }
            let owner = self.tokens[back].1;
            if owner == member || range == len {
                break;
            }
            // Who was met later on the way back is met earlier on the way to the point.
            if let Some(known) = s.between.iter().position(|m| *m == owner) {
                s.between.remove(known);
            }
            s.between.insert(0, owner);
            width = match back == at {
                true => arc(point, self.tokens[at].0),
                false => self.width_before(back),
            };
            back = (back + len - 1) % len;
        }
    }

    /// The index of the first token at a point or after it.
    pub fn place_of(&self, point: u64) -> usize {
        self.tokens.partition_point(|(t, _)| *t < point)
    }

    /// Whether somebody has this token.
    pub fn taken(&self, point: u64) -> bool {
        let at = self.place_of(point);
        self.tokens.get(at).is_some_and(|(t, _)| *t == point)
    }

    pub fn insert(&mut self, member: u32, point: u64, scratch: &mut Scratch) {
        let at = self.place_of(point);
        self.effect(member, point, at, scratch);
        self.tokens.insert(at, (point, member));
        for (who, by) in &scratch.shifts {
            self.shares[*who as usize] += by;
        }
    }

    pub fn remove(&mut self, member: u32, point: u64, scratch: &mut Scratch) {
        let at = self.place_of(point);
        self.tokens.remove(at);
        self.effect(member, point, at, scratch);
        for (who, by) in &scratch.shifts {
            self.shares[*who as usize] -= by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        /// Shares that were kept up to date are those counted afresh, wherever the
        /// members stand.
        #[test]
        fn the_shares_kept_on_the_way_are_those_of_the_whole(
            places in prop::collection::vec((0usize..3, 0usize..4), 1..8),
            known in any::<bool>(),
            copies in 1usize..5,
            points in prop::collection::btree_set(any::<u64>(), 8..60),
        ) {
            let sites = Sites::new(places.iter().map(|(z, m)| match known {
                true => ((Some(NAMES[*z]), Some(["1", "2", "3", "4"][*m])), true),
                false => ((None, None), true),
            }));
            let mut tables: Vec<Vec<Token>> = vec![Vec::new(); places.len()];
            let points: Vec<u64> = points.into_iter().collect();
            for (n, point) in points.iter().enumerate() {
                let mixed = point.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                let whose = if n < places.len() { n } else { mixed as usize % places.len() };
                tables[whose].push(Token(*point));
            }
            let all: Vec<&[Token]> = tables.iter().map(Vec::as_slice).collect();
            let whole = Ring::new(&all, &sites, copies);
            let mut scratch = Scratch::new(&sites, copies);
            let nobody: Vec<&[Token]> = vec![&[]; places.len()];
            let mut grown = Ring::new(&nobody, &sites, copies);
            for (m, tokens) in tables.iter().enumerate().rev() {
                for token in tokens {
                    grown.insert(m as u32, token.0, &mut scratch);
                }
            }
            let same = |a: &Ring, b: &Ring| {
                a.tokens == b.tokens && a.shares.iter().zip(&b.shares).all(|(a, b)| (a - b).abs() < 1e-9)
            };
            prop_assert!(same(&whole, &grown), "{:?} {:?}", whole.shares, grown.shares);
            for (m, tokens) in tables.iter().enumerate() {
                for token in tokens.iter().step_by(2) {
                    grown.remove(m as u32, token.0, &mut scratch);
                    grown.insert(m as u32, token.0, &mut scratch);
                }
            }
            prop_assert!(same(&whole, &grown), "{:?} {:?}", whole.shares, grown.shares);
        }
    }
}
