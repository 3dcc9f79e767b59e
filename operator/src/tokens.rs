//! Which tokens the node at each ordinal has.
//!
//! Tokens are chosen so that every member holds the same share of R copies, for
//! every number of members on the way: the tokens of ordinal n depend only on
//! those of the ordinals before it. Therefore a node that joins takes just its
//! share, and a node that leaves undoes its join exactly.
//!
//! The choice is greedy: each token is the best of many candidates, and then
//! tokens are chosen anew one at a time until the shares are even enough. A
//! token changes the owners only of the few ranges before it, so a candidate is
//! judged in time that does not grow with the ring.

use std::collections::HashMap;
use std::sync::Mutex;

use chord_api::{DiskId, Id, Member, Ordinal, Placement, Table, Token};
use serde::Serialize;

/// Candidates for each token.
const CANDIDATES: usize = 24;

/// Passes in which each token may be chosen anew.
const PASSES: usize = 12;

/// How far from even the fullest may be before tokens are chosen anew.
const EVEN_ENOUGH: f64 = 1.025;

const CIRCLE: f64 = 18_446_744_073_709_551_616.0;

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

/// The tokens so far, with the share of copies that each member holds.
struct Ring {
    /// In order.
    tokens: Vec<(u64, u32)>,
    shares: Vec<f64>,
    /// Copies that are counted: R, or fewer while there are too few members.
    copies: usize,
}

/// What putting a token in, or taking it out, does to a share.
type Shift = (u32, f64);

impl Ring {
    fn from_tables(members: &[Vec<Token>], copies: usize) -> Ring {
        let mut tokens: Vec<(u64, u32)> = members
            .iter()
            .enumerate()
            .flat_map(|(m, tokens)| tokens.iter().map(move |t| (t.0, m as u32)))
            .collect();
        tokens.sort_unstable();
        let mut ring = Ring {
            tokens,
            shares: vec![0.0; members.len()],
            copies,
        };
        for at in 0..ring.tokens.len() {
            let width = ring.width_before(at);
            for owner in ring.distinct_from(at, &[]) {
                ring.shares[owner as usize] += width;
            }
        }
        ring
    }

    fn width_before(&self, at: usize) -> f64 {
        let before = if at == 0 {
            self.tokens.len() - 1
        } else {
            at - 1
        };
        if before == at {
            return 1.0;
        }
        self.tokens[at].0.wrapping_sub(self.tokens[before].0) as f64 / CIRCLE
    }

    /// The first members that one meets from `at` on, those of `seen` first, as
    /// many as there are copies.
    fn distinct_from(&self, at: usize, seen: &[u32]) -> Vec<u32> {
        let mut found = seen.to_vec();
        for step in 0..self.tokens.len() {
            if found.len() >= self.copies {
                break;
            }
            let member = self.tokens[(at + step) % self.tokens.len()].1;
            if !found.contains(&member) {
                found.push(member);
            }
        }
        found
    }

    /// What changes when `member` gets a token at `point`, which lies before the
    /// token at index `at`. Only ranges that end at it or shortly before it do.
    fn effect(&self, member: u32, point: u64, at: usize, shifts: &mut Vec<Shift>) {
        shifts.clear();
        let len = self.tokens.len();
        if len == 0 {
            shifts.push((member, 1.0));
            return;
        }
        let at = at % len;
        let previous = (at + len - 1) % len;
        let mut take = |owners: &[u32], width: f64, copies: usize| {
            if owners.contains(&member) {
                return;
            }
            shifts.push((member, width));
            if owners.len() == copies
                && let Some(last) = owners.last()
            {
                shifts.push((*last, -width));
            }
        };
        // From here on the walk is the same for all of them.
        let onward = self.distinct_from(at, &[]);
        let first = point.wrapping_sub(self.tokens[previous].0) as f64 / CIRCLE;
        take(&onward, first, self.copies);
        let mut between: Vec<u32> = Vec::with_capacity(self.copies);
        let mut back = previous;
        for _ in 0..len {
            let owner = self.tokens[back].1;
            if owner == member {
                break;
            }
            if !between.contains(&owner) {
                // Nearest last: the order does not matter, only who is dropped.
                between.push(owner);
            }
            if between.len() >= self.copies {
                break;
            }
            let mut owners = between.clone();
            for next in &onward {
                if owners.len() == self.copies {
                    break;
                }
                if !owners.contains(next) {
                    owners.push(*next);
                }
            }
            take(&owners, self.width_before(back), self.copies);
            back = (back + len - 1) % len;
        }
    }

    fn place_of(&self, point: u64) -> usize {
        self.tokens.partition_point(|(t, _)| *t < point)
    }

    fn insert(&mut self, member: u32, point: u64) {
        let at = self.place_of(point);
        let mut shifts = Vec::new();
        self.effect(member, point, at, &mut shifts);
        self.tokens.insert(at, (point, member));
        for (who, by) in shifts {
            self.shares[who as usize] += by;
        }
    }

    fn remove(&mut self, member: u32, point: u64) {
        let at = self.place_of(point);
        self.tokens.remove(at);
        let mut shifts = Vec::new();
        self.effect(member, point, at, &mut shifts);
        for (who, by) in shifts {
            self.shares[who as usize] -= by;
        }
    }

    /// How much nearer to `aims` (or farther from them) these shifts bring the
    /// shares: the change of the sum of squares.
    fn worth(&self, shifts: &[Shift], aims: &[f64]) -> f64 {
        let mut merged: Vec<Shift> = Vec::with_capacity(shifts.len());
        for (who, by) in shifts {
            match merged.iter_mut().find(|(other, _)| other == who) {
                Some((_, sum)) => *sum += by,
                None => merged.push((*who, *by)),
            }
        }
        merged
            .iter()
            .map(|(who, by)| {
                let off = self.shares[*who as usize] - aims[*who as usize];
                (off + by).powi(2) - off.powi(2)
            })
            .sum()
    }

    /// The best of some candidates for the next token of `member`.
    fn best(&self, member: u32, aims: &[f64], keep: Option<u64>, numbers: &mut Numbers) -> u64 {
        let mut shifts = Vec::new();
        let mut best: Option<(f64, u64)> = None;
        for candidate in 0..=CANDIDATES {
            let point = match (candidate, keep) {
                (0, Some(old)) => old,
                _ => numbers.next(),
            };
            let at = self.place_of(point);
            if self.tokens.get(at).is_some_and(|(t, _)| *t == point) {
                continue;
            }
            self.effect(member, point, at, &mut shifts);
            let worth = self.worth(&shifts, aims);
            if best.is_none_or(|(w, _)| worth < w) {
                best = Some((worth, point));
            }
        }
        // All candidates taken: only in a ring of 2^64 tokens.
        best.map_or_else(|| numbers.next(), |(_, point)| point)
    }

    fn fullest_over_mean(&self) -> f64 {
        let sum: f64 = self.shares.iter().sum();
        self.shares.iter().copied().fold(0.0, f64::max) * self.shares.len() as f64 / sum
    }
}

/// The tokens of one more node, given those of the nodes before it.
fn next_node(before: &[Vec<Token>], tokens_per_node: u32, replication: u8) -> Vec<Token> {
    let member = before.len() as u32;
    let nodes = before.len() + 1;
    // With no more members than copies everybody holds everything, wherever the
    // tokens are; then the first copies are made even.
    let copies = usize::from(replication).min(nodes.saturating_sub(1)).max(1);
    let copies = if nodes <= usize::from(replication) {
        1
    } else {
        copies
    };
    let mut ring = Ring::from_tables(before, copies);
    ring.shares.push(0.0);
    let start = ring.shares.clone();
    let goal = copies as f64 / nodes as f64;
    let mut numbers =
        Numbers(0x6368_6f72_6400 ^ (u64::from(member) << 32) ^ u64::from(tokens_per_node));
    let mut mine: Vec<u64> = Vec::with_capacity(tokens_per_node as usize);
    for placed in 1..=tokens_per_node {
        let progress = f64::from(placed) / f64::from(tokens_per_node);
        let aims: Vec<f64> = start
            .iter()
            .map(|share| share + (goal - share) * progress)
            .collect();
        let point = ring.best(member, &aims, None, &mut numbers);
        ring.insert(member, point);
        mine.push(point);
    }
    let aims = vec![goal; nodes];
    for _ in 0..PASSES {
        if ring.fullest_over_mean() <= EVEN_ENOUGH {
            break;
        }
        for token in &mut mine {
            ring.remove(member, *token);
            *token = ring.best(member, &aims, Some(*token), &mut numbers);
            ring.insert(member, *token);
        }
    }
    mine.sort_unstable();
    mine.into_iter().map(Token).collect()
}

/// The tokens of each ordinal, by tokens a node and replication.
type Known = HashMap<(u32, u8), Vec<Vec<Token>>>;

/// The tokens already worked out.
static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

/// How many combinations are kept: a program meets few.
const KNOWN_AT_MOST: usize = 16;

/// The tokens of the first `nodes` ordinals, each sorted.
///
/// Depends on nothing but its arguments, and `assign(.., n)` is the beginning of
/// `assign(.., n + 1)`. What was worked out once is remembered.
pub fn assign(tokens_per_node: u32, replication: u8, nodes: usize) -> Vec<Vec<Token>> {
    let mut known = KNOWN
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let known = known.get_or_insert_default();
    if known.len() >= KNOWN_AT_MOST && !known.contains_key(&(tokens_per_node, replication)) {
        known.clear();
    }
    let tables = known.entry((tokens_per_node, replication)).or_default();
    while tables.len() < nodes {
        let next = next_node(tables, tokens_per_node, replication);
        tables.push(next);
    }
    tables[..nodes].to_vec()
}

/// The tokens for a node that joins `table` at `ordinal`: those that [`assign`]
/// has for it, as long as the members have theirs; where they have others (the
/// replication was another when they joined) the best beside those.
pub fn for_joiner(
    table: &Table,
    ordinal: Ordinal,
    tokens_per_node: u32,
    replication: u8,
) -> Vec<Token> {
    let highest = table
        .members
        .iter()
        .map(|m| m.ordinal)
        .max()
        .unwrap_or(ordinal)
        .max(ordinal);
    let assigned = assign(tokens_per_node, replication, highest.0 as usize + 1);
    let usual = table
        .members
        .iter()
        .all(|m| assigned.get(m.ordinal.0 as usize) == Some(&m.tokens));
    if usual && let Some(tokens) = assigned.into_iter().nth(ordinal.0 as usize) {
        return tokens;
    }
    let present: Vec<Vec<Token>> = table.members.iter().map(|m| m.tokens.clone()).collect();
    next_node(&present, tokens_per_node, replication)
}

/// What a placement of so many nodes looks like, measured with keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlacementFigures {
    /// Copies kept by the fullest node, over the mean.
    pub fullest_over_mean: f64,
    /// Copies that move when one more node joins, over the least that must.
    pub moved_over_least_join: f64,
    /// Copies that move when the last node leaves, over the least that must:
    /// those that it kept.
    pub moved_over_least_leave: f64,
}

fn table_of(nodes: usize, tokens_per_node: u32, replication: u8) -> Table {
    let members = assign(tokens_per_node, replication, nodes)
        .into_iter()
        .enumerate()
        .map(|(n, tokens)| Member {
            ordinal: Ordinal(n as u32),
            disk: DiskId(uuid::Uuid::from_u128(n as u128 + 1)),
            tokens,
            zone: None,
            out: false,
        })
        .collect();
    Table {
        replication,
        members,
    }
}

/// The share of copies that the fullest of so many nodes keeps, over the mean.
pub fn evenness(nodes: usize, tokens_per_node: u32, replication: u8) -> f64 {
    let shares = Placement::new(&table_of(nodes, tokens_per_node, replication)).shares();
    let sum: f64 = shares.values().sum();
    if sum == 0.0 {
        return 1.0;
    }
    shares.values().copied().fold(0.0, f64::max) * shares.len() as f64 / sum
}

/// Owners of a key that the placement before did not have.
fn gained(before: &Placement, after: &Placement, key: &Id) -> u64 {
    after
        .owners(key)
        .filter(|m| !before.owners(key).any(|b| b.disk == m.disk))
        .count() as u64
}

/// Places `keys` keys and measures the placement of `nodes` nodes.
pub fn simulate(
    nodes: usize,
    tokens_per_node: u32,
    replication: u8,
    keys: u64,
    seed: u64,
) -> PlacementFigures {
    let now = Placement::new(&table_of(nodes, tokens_per_node, replication));
    let joined = Placement::new(&table_of(nodes + 1, tokens_per_node, replication));
    let left = (nodes > usize::from(replication))
        .then(|| Placement::new(&table_of(nodes - 1, tokens_per_node, replication)));
    let mut kept = vec![0u64; nodes];
    let (mut moved_in, mut moved_out) = (0u64, 0u64);
    for key in 0..keys {
        let mut text = [0u8; 16];
        text[..8].copy_from_slice(&seed.to_be_bytes());
        text[8..].copy_from_slice(&key.to_be_bytes());
        let key = Id::hash(&text);
        for owner in now.owners(&key) {
            if let Some(count) = kept.get_mut(owner.ordinal.0 as usize) {
                *count += 1;
            }
        }
        moved_in += gained(&now, &joined, &key);
        if let Some(left) = &left {
            moved_out += gained(&now, left, &key);
        }
    }
    let copies: u64 = kept.iter().sum();
    let over = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
    let fullest = kept.iter().copied().max().unwrap_or(0) as f64;
    PlacementFigures {
        fullest_over_mean: over(fullest * nodes as f64, copies as f64),
        // What an even share of the copies is for the one that joins.
        moved_over_least_join: over(moved_in as f64, copies as f64 / (nodes + 1) as f64),
        // Without enough nodes to leave nothing moves, and nothing must.
        moved_over_least_leave: match left {
            Some(_) => over(moved_out as f64, kept.last().copied().unwrap_or(0) as f64),
            None => 1.0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn fewer_nodes_have_the_tokens_that_they_have_among_more() {
        let nine = assign(16, 3, 9);
        for n in 0..9 {
            assert_eq!(assign(16, 3, n), nine[..n]);
            assert_eq!(
                (0..n)
                    .map(|m| next_node(&nine[..m], 16, 3))
                    .collect::<Vec<_>>(),
                nine[..n]
            );
        }
        let all: BTreeSet<Token> = nine.iter().flatten().copied().collect();
        assert_eq!(all.len(), 9 * 16, "no token twice");
        assert!(nine.iter().all(|tokens| tokens.is_sorted()));
    }

    #[test]
    fn the_shares_kept_on_the_way_are_those_of_the_placement() {
        let tables = assign(16, 3, 7);
        let ring = Ring::from_tables(&tables, 3);
        let mut grown = Ring::from_tables(&tables[..6], 3);
        grown.shares.push(0.0);
        for token in &tables[6] {
            grown.insert(6, token.0);
        }
        let placed = Placement::new(&table_of(7, 16, 3)).shares();
        for (n, share) in placed.values().enumerate() {
            assert!((share - ring.shares[n]).abs() < 1e-9);
            assert!(
                (share - grown.shares[n]).abs() < 1e-9,
                "node {n}: {share} {}",
                grown.shares[n]
            );
        }
        let token = tables[6][3].0;
        grown.remove(6, token);
        grown.insert(6, token);
        assert!(
            placed
                .values()
                .zip(&grown.shares)
                .all(|(a, b)| (a - b).abs() < 1e-9)
        );
    }

    #[test]
    fn shares_are_even() {
        for n in 3..=16 {
            println!("{n} nodes: fullest over mean {:.4}", evenness(n, 64, 3));
        }
        // Measured: at most 1.025, from 3 to 100 nodes; 4 nodes 1.005.
        for n in 3..=16 {
            assert!(evenness(n, 64, 3) <= 1.03, "{n} nodes");
        }
        // Measured: 1.025, 1.054 and 1.082 with fewer tokens, 1.065 with nine copies.
        for (tokens, replication, bound) in
            [(32, 3, 1.03), (16, 3, 1.06), (8, 3, 1.10), (64, 9, 1.08)]
        {
            for n in usize::from(replication)..=24 {
                let even = evenness(n, tokens, replication);
                assert!(
                    even <= bound,
                    "{n} nodes, {tokens} tokens, {replication} copies: {even}"
                );
            }
        }
    }

    #[test]
    fn a_join_moves_its_share_and_a_leave_what_was_kept() {
        for n in [3, 4, 8] {
            let figures = simulate(n, 64, 3, 20_000, 7);
            assert!(figures.fullest_over_mean < 1.05, "{n} nodes: {figures:?}");
            assert!(
                (0.95..1.05).contains(&figures.moved_over_least_join),
                "{n} nodes: {figures:?}"
            );
            assert_eq!(figures.moved_over_least_leave, 1.0, "{n} nodes");
            assert_eq!(figures, simulate(n, 64, 3, 20_000, 7));
        }
    }

    #[test]
    fn a_joiner_gets_the_usual_tokens_or_ones_that_nobody_has() {
        let table = table_of(4, 16, 3);
        assert_eq!(for_joiner(&table, Ordinal(4), 16, 3), assign(16, 3, 5)[4]);
        let mut gap = table.clone();
        let gone = gap.members.remove(1);
        assert_eq!(for_joiner(&gap, Ordinal(1), 16, 3), gone.tokens);
        // Another replication has other tokens, which may be taken.
        let tokens = for_joiner(&table, Ordinal(4), 16, 2);
        assert_eq!(tokens.len(), 16);
        assert!(
            table
                .members
                .iter()
                .all(|m| m.tokens.iter().all(|t| !tokens.contains(t)))
        );
    }
}
