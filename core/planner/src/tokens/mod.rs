//! Which tokens each node has.
//!
//! Tokens are chosen so that every member holds its share of R copies, for every
//! number of members on the way: the tokens of a node depend only on the nodes
//! before it. Therefore a node that joins takes just its share, and a node that
//! leaves undoes its join exactly. `seat` says what is known of a node, `fair` how
//! much each should hold, `ring` how much each does, `choose` finds the tokens, and
//! `figures` measures it for people.

mod choose;
mod fair;
mod figures;
mod ring;
mod scenario;
mod seat;

#[cfg(test)]
mod tests;

use std::sync::Mutex;

use chord_types::{Member, Ordinal, Table, Token};

use self::choose::next_node;
pub use self::figures::{Load, PlacementFigures, Setting, evenness, loads, simulate};
use self::seat::Seated;
pub use self::seat::{Seat, tokens_for};

/// Tokens already worked out for a list of nodes.
struct Known {
    replication: u8,
    nodes: Vec<Seated>,
}

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// How many lists are kept: a program meets few.
const KNOWN_AT_MOST: usize = 16;

/// The tokens of nodes that come one after the other, each sorted.
///
/// Depends on nothing but its arguments, and those of fewer nodes are the
/// beginning of those of more. What was worked out once is remembered.
pub fn assign(replication: u8, seats: &[Seat]) -> Vec<Vec<Token>> {
    let mut known = KNOWN
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let alike = |k: &Known| {
        k.replication == replication && k.nodes.iter().zip(seats).all(|((seat, _), s)| seat == s)
    };
    let mut found = match known.iter().position(alike) {
        Some(at) => known.remove(at),
        None => Known {
            replication,
            nodes: Vec::new(),
        },
    };
    for seat in seats.iter().skip(found.nodes.len()) {
        let tokens = next_node(&found.nodes, seat, replication);
        found.nodes.push((seat.clone(), tokens));
    }
    let tokens = found.nodes.iter().take(seats.len());
    let tokens = tokens.map(|(_, tokens)| tokens.clone()).collect();
    known.insert(0, found);
    known.truncate(KNOWN_AT_MOST);
    tokens
}

/// Tokens already worked out for one node beside others: a plan asks for them again in
/// each round until its view is written.
struct Choice {
    replication: u8,
    before: Vec<Seated>,
    seat: Seat,
    tokens: Vec<Token>,
}

static CHOICES: Mutex<Vec<Choice>> = Mutex::new(Vec::new());

/// How many of them are kept: two for each node that joins at once.
const CHOICES_AT_MOST: usize = 64;

/// The tokens of a node beside these; what was worked out once is remembered.
fn beside(before: Vec<Seated>, seat: &Seat, replication: u8) -> Vec<Token> {
    let mut choices = CHOICES
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let alike = |c: &&Choice| c.replication == replication && c.seat == *seat && c.before == before;
    if let Some(known) = choices.iter().find(alike) {
        return known.tokens.clone();
    }
    let tokens = next_node(&before, seat, replication);
    choices.insert(
        0,
        Choice {
            replication,
            before,
            seat: seat.clone(),
            tokens: tokens.clone(),
        },
    );
    choices.truncate(CHOICES_AT_MOST);
    tokens
}

fn seated(members: impl Iterator<Item = Member>) -> Vec<Seated> {
    members.map(|m| (Seat::of(&m), m.tokens)).collect()
}

/// The tokens for a node that joins `table` at `ordinal`.
///
/// Those that [`assign`] gives it after the members below it, so that one that
/// comes back to its place gets the tokens that it had; unless they are taken or
/// would leave somebody too full beside the members above it: then the best beside
/// all of them.
pub fn for_joiner(table: &Table, ordinal: Ordinal, seat: &Seat, replication: u8) -> Vec<Token> {
    let members = || {
        table
            .members
            .iter()
            .filter(|m| m.ordinal != ordinal)
            .cloned()
    };
    let below = seated(members().filter(|m| m.ordinal < ordinal));
    let all = seated(members());
    let alone = below.len() == all.len();
    let first = beside(below, seat, replication);
    if alone {
        return first;
    }
    let fullest = |tokens: &[Token]| {
        let mut nodes = all.clone();
        nodes.push((seat.clone(), tokens.to_vec()));
        figures::fullest_over_fair(&nodes, replication)
    };
    let taken = all
        .iter()
        .any(|(_, tokens)| tokens.iter().any(|t| first.contains(t)));
    if !taken && fullest(&first) <= EVEN {
        return first;
    }
    let best = beside(all.clone(), seat, replication);
    match !taken && fullest(&first) <= fullest(&best) {
        true => first,
        false => best,
    }
}

/// How far above its fair share the fullest member may be.
pub const EVEN: f64 = 1.10;
