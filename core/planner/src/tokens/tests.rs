//! What the choice of tokens promises, for every number of nodes: nobody holds
//! much more than its share, a join moves little more than it must, and a leave
//! undoes it.
//!
//! The short form takes every number of nodes for a few settings; with
//! `CHORD_PLACEMENT=long` (`make soak`) it is every setting, and a million keys for
//! every number of nodes.

use std::collections::BTreeSet;

use chord_placement::Placements;
use chord_types::{ClusterUid, DiskId, Member, Ordinal, Table, Token, View};
use proptest::prelude::*;

use super::*;

/// The fullest may hold so many times its fair share.
const FULLEST: f64 = 1.10;
/// A join may move so many times the least that must move.
const MOVED: f64 = 1.05;
/// The same with 16 tokens where zones and sizes differ: then there is less choice.
const FULLEST_16: f64 = 1.20;
/// A join where weights leave hardly a choice.
const MOVED_CRAMPED: f64 = 1.10;

fn long() -> bool {
    std::env::var("CHORD_PLACEMENT").is_ok_and(|v| v == "long")
}

fn joint(from: &Table, to: &Table) -> Placements {
    let first = View::first(ClusterUid("c".into()), from.clone()).unwrap();
    Placements::new(&first.change_to(to.clone()).unwrap())
}

/// The share of the circle that node `n` takes when it joins the nodes before it;
/// that no copy moves between those is checked on the way.
fn taken(setting: &Setting, n: usize) -> f64 {
    let (before, after) = (setting.table(n), setting.table(n + 1));
    let mut taken = 0.0;
    for change in joint(&before, &after).changed() {
        let come: Vec<&&Member> = change
            .to
            .iter()
            .filter(|m| change.from.iter().all(|f| f.disk != m.disk))
            .collect();
        assert!(
            come.len() == 1 && come[0].ordinal == Ordinal(n as u32),
            "{setting:?}: a copy moves between nodes that stay when node {n} joins"
        );
        taken += change.range.share();
    }
    taken
}

/// Whether somebody has to hold nearly everything: one so large beside so few
/// others that the rest has hardly a choice.
fn cramped(fair: &[f64]) -> bool {
    fair.len() > 1 && fair.iter().any(|f| *f > 0.85)
}

/// Checks one number of nodes; returns how far the fullest is above its share and
/// the join of the next node above the least.
fn check(setting: &Setting, nodes: usize) -> (f64, f64) {
    let even = evenness(setting, nodes);
    let (now, next) = (setting.fair(nodes), setting.fair(nodes + 1));
    let plain = setting.weights.is_empty();
    let fullest = match plain || setting.tokens_per_node >= 64 {
        true => FULLEST,
        false => FULLEST_16,
    };
    let least = match !plain && (cramped(&now) || cramped(&next)) {
        true => MOVED_CRAMPED,
        false => MOVED,
    };
    assert!(
        even <= fullest,
        "{setting:?}: with {nodes} nodes the fullest holds {even:.4} of its share"
    );
    let moved = taken(setting, nodes) / next[nodes];
    assert!(
        moved <= least,
        "{setting:?}: the join of node {nodes} moves {moved:.4} of what must move"
    );
    let (before, after) = (setting.table(nodes), setting.table(nodes + 1));
    let mut left = after.clone();
    left.members.pop();
    assert_eq!(left, before, "a leave undoes the join");
    (even, moved)
}

fn check_all(setting: &Setting, upto: usize) {
    let mut worst = (0.0f64, 0.0f64);
    let (mut even_at, mut moved_at) = (0, 0);
    for nodes in usize::from(setting.replication).max(3)..=upto {
        if setting.zones > 1 && nodes % setting.zones as usize != 0 {
            // Zones of different sizes: the share is what it has to be, see below.
            continue;
        }
        let (even, moved) = check(setting, nodes);
        if even > worst.0 {
            (worst.0, even_at) = (even, nodes);
        }
        if moved > worst.1 {
            (worst.1, moved_at) = (moved, nodes);
        }
    }
    println!(
        "R={} T={} zones={} weights={:?}: fullest {:.4} (at {even_at}), join {:.4} (at {moved_at})",
        setting.replication,
        setting.tokens_per_node,
        setting.zones,
        setting.weights,
        worst.0,
        worst.1
    );
}

fn zoned(tokens: u32, replication: u8, zones: u32) -> Setting {
    Setting {
        zones,
        ..Setting::plain(tokens, replication)
    }
}

fn weighted(tokens: u32, replication: u8, weights: &[f64]) -> Setting {
    Setting {
        weights: weights.to_vec(),
        ..Setting::plain(tokens, replication)
    }
}

#[test]
fn every_number_of_nodes_is_even_and_joins_move_little() {
    for replication in [1, 2, 3, 5] {
        for tokens in [16, 64] {
            let upto = match (long(), tokens, replication) {
                (true, ..) | (_, 16, 3) => 100,
                (_, 16, _) => 40,
                _ => 16,
            };
            check_all(&Setting::plain(tokens, replication), upto);
        }
    }
}

#[test]
fn equal_zones_are_as_even() {
    let settings = [(3, 3), (3, 2), (2, 3), (2, 2), (5, 3), (3, 4)];
    let settings = if long() {
        &settings[..]
    } else {
        &settings[..3]
    };
    for (replication, zones) in settings {
        for tokens in [16, 64] {
            let upto = match (long(), tokens) {
                (true, _) => 100,
                (_, 16) => 24,
                _ => 6,
            };
            check_all(&zoned(tokens, *replication, *zones), upto);
        }
    }
}

#[test]
fn nodes_of_different_size_hold_by_their_weight() {
    for weights in [&[1.0, 2.0][..], &[1.0, 1.0, 4.0], &[1.0, 0.5, 3.0, 1.0]] {
        for replication in [1, 2, 3] {
            for tokens in [16, 64].into_iter().filter(|t| long() || *t == 16) {
                let upto = if long() { 100 } else { 12 };
                check_all(&weighted(tokens, replication, weights), upto);
            }
        }
    }
}

#[test]
fn a_million_keys_lie_as_the_arithmetic_says() {
    let sizes: Vec<usize> = if long() {
        (3..=100).collect()
    } else {
        vec![3, 4, 5, 24]
    };
    for nodes in sizes {
        let keys = if long() || nodes == 4 {
            1_000_000
        } else {
            20_000
        };
        let figures = simulate(&Setting::plain(64, 3), nodes, keys, 7);
        println!("{nodes} nodes, {keys} keys: {figures:?}");
        assert!(figures.fullest_over_mean <= FULLEST, "{nodes}: {figures:?}");
        assert!(
            figures.moved_over_least_join <= MOVED,
            "{nodes}: {figures:?}"
        );
        assert_eq!(figures.moved_over_least_leave, 1.0, "{nodes} nodes");
    }
}

#[test]
fn fewer_nodes_have_the_tokens_that_they_have_among_more() {
    let settings = [
        Setting::plain(16, 3),
        zoned(16, 3, 3),
        weighted(16, 3, &[1.0, 2.0]),
    ];
    for setting in settings {
        let nine = assign(3, &setting.seats(9));
        let mut before: Vec<Seated> = Vec::new();
        for (n, seat) in setting.seats(9).into_iter().enumerate() {
            assert_eq!(assign(3, &setting.seats(n)), nine[..n]);
            let tokens = next_node(&before, &seat, 3);
            assert_eq!(tokens, nine[n], "{setting:?}");
            assert_eq!(tokens.len(), seat.tokens as usize);
            before.push((seat, tokens));
        }
        let all: BTreeSet<Token> = nine.iter().flatten().copied().collect();
        let count: usize = nine.iter().map(Vec::len).sum();
        assert_eq!(all.len(), count, "no token twice");
        assert!(nine.iter().all(|tokens| tokens.is_sorted()));
    }
}

#[test]
fn who_comes_back_to_its_place_gets_its_tokens_again() {
    for setting in [Setting::plain(16, 3), zoned(16, 3, 2)] {
        let table = setting.table(5);
        let mut four = table.clone();
        let last = four.members.pop().unwrap();
        assert_eq!(
            for_joiner(&four, last.ordinal, &Seat::of(&last), 3),
            last.tokens
        );
        let mut gap = table.clone();
        let gone = gap.members.remove(1);
        assert_eq!(
            for_joiner(&gap, gone.ordinal, &Seat::of(&gone), 3),
            gone.tokens
        );
    }
}

#[test]
fn beside_other_members_a_joiner_gets_tokens_that_nobody_has() {
    // Members whose tokens were chosen for another replication.
    let mut table = Setting::plain(16, 2).table(6);
    table.replication = 3;
    table.members.remove(2);
    let tokens = for_joiner(&table, Ordinal(2), &Seat::plain(16), 3);
    assert_eq!(tokens.len(), 16);
    assert!(
        table
            .members
            .iter()
            .all(|m| m.tokens.iter().all(|t| !tokens.contains(t)))
    );
}

/// Nodes in the order in which they come, by zone and tokens, each on a machine of its
/// own.
fn seats(nodes: &[(u32, u32)]) -> Vec<Seat> {
    let seats = nodes.iter().enumerate().map(|(n, (zone, tokens))| Seat {
        tokens: *tokens,
        zone: Some(format!("z{zone}")),
        machine: Some(format!("m{n}")),
    });
    seats.collect()
}

/// How far above its share the fullest is, at worst, while these nodes come.
fn fullest_on_the_way(seats: &[Seat], replication: u8) -> f64 {
    let tokens = assign(replication, seats);
    let nodes: Vec<Seated> = seats.iter().cloned().zip(tokens).collect();
    let numbers = usize::from(replication)..=nodes.len();
    let over = numbers.map(|n| figures::fullest_over_fair(&nodes[..n], replication));
    over.fold(0.0, f64::max)
}

/// Zones and sizes in any order, the sizes in units of the usual number of tokens.
fn any_order() -> impl Strategy<Value = Vec<(u32, u32)>> {
    let sizes = prop::sample::select(vec![1u32, 1, 2]);
    (2u32..5).prop_flat_map(move |zones| prop::collection::vec((0..zones, sizes.clone()), 4..11))
}

fn of(tokens: u32, nodes: &[(u32, u32)]) -> Vec<Seat> {
    let nodes: Vec<(u32, u32)> = nodes.iter().map(|(z, size)| (*z, size * tokens)).collect();
    seats(&nodes)
}

/// A zone that has to hold one copy of everything is a ring of its own, whose members
/// were chosen when it had not to: the two large zones held two copies of it before.
#[test]
fn a_zone_is_even_when_another_makes_it_a_ring_of_its_own() {
    let nodes = [
        (2, 32),
        (1, 16),
        (1, 16),
        (1, 16),
        (1, 16),
        (1, 16),
        (0, 16),
    ];
    let over = fullest_on_the_way(&seats(&nodes), 3);
    assert!(over <= FULLEST_16, "{over}");
    // One whose zones reach what they can hold one after the other.
    let hard = [
        (2, 1),
        (3, 2),
        (0, 2),
        (2, 2),
        (1, 1),
        (3, 1),
        (0, 2),
        (3, 1),
        (2, 1),
    ];
    for (tokens, bound) in [(16, FULLEST_16), (64, FULLEST)] {
        let over = fullest_on_the_way(&of(tokens, &hard), 3);
        assert!(over <= bound, "{tokens} tokens: {over}");
    }
}

#[test]
fn machines_that_nodes_share_are_even() {
    // Two machines, and a third that comes last; nothing is known of zones.
    let on = |machine: &str| Seat {
        machine: Some(machine.into()),
        ..Seat::plain(64)
    };
    let seats = ["a", "a", "b", "b", "a", "b", "c", "c"].map(on);
    for replication in [2, 3] {
        let over = fullest_on_the_way(&seats, replication);
        assert!(over <= FULLEST, "{replication} copies: {over}");
    }
}

proptest! {
    #![proptest_config(chord_testing::cases(2000))]

    /// Whatever order zones and sizes come in: nobody is far above what it has to
    /// hold, for every number of nodes on the way.
    #[test]
    fn any_order_of_zones_and_sizes_is_even(nodes in any_order(), replication in 1u8..4) {
        let over = fullest_on_the_way(&of(16, &nodes), replication);
        prop_assert!(over <= FULLEST_16, "{replication} copies, {nodes:?}: {over}");
    }
}

proptest! {
    #![proptest_config(chord_testing::cases(100))]

    #[test]
    fn any_order_is_as_even_as_others_with_the_usual_tokens(
        nodes in any_order(),
        replication in 1u8..4,
    ) {
        let over = fullest_on_the_way(&of(64, &nodes), replication);
        prop_assert!(over <= FULLEST, "{replication} copies, {nodes:?}: {over}");
    }

    /// Copies stand in as many zones as there are, and the last to come goes without
    /// a trace.
    #[test]
    fn any_order_is_spread_and_undone(nodes in any_order(), replication in 1u8..4) {
        let seats = of(16, &nodes);
        let tokens = assign(replication, &seats);
        let last = seats.len() - 1;
        prop_assert_eq!(&assign(replication, &seats[..last]), &tokens[..last]);
        let table = Table {
            replication,
            members: seats
                .into_iter()
                .zip(tokens)
                .enumerate()
                .map(|(n, (seat, tokens))| Member {
                    ordinal: Ordinal(n as u32),
                    disk: DiskId(uuid::Uuid::from_u128(n as u128)),
                    tokens,
                    zone: seat.zone,
                    machine: seat.machine,
                    out: false,
                })
                .collect(),
        };
        let mut fewer = table.clone();
        let gone = fewer.members.pop().unwrap();
        prop_assert_eq!(for_joiner(&fewer, gone.ordinal, &Seat::of(&gone), replication), gone.tokens);
        let zones: BTreeSet<u32> = nodes.iter().map(|n| n.0).collect();
        for (_, owners) in chord_placement::Placement::new(&table).ranges() {
            let held: BTreeSet<&Option<String>> = owners.iter().map(|m| &m.zone).collect();
            prop_assert_eq!(held.len(), zones.len().min(replication.into()));
            prop_assert_eq!(owners.len(), usize::from(replication));
        }
    }
}
