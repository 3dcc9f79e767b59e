//! What the choice of tokens has to know of a node: how much it shall hold, and
//! where it stands.

use chord_placement::spread::Sites;
use chord_types::{Member, Token};

/// Capacities this near to each other count as the same, in percent: file
/// systems of equal volumes differ by a little.
const SAME: f64 = 10.0;

/// How many times more, or fewer, tokens than usual a node gets at most.
const APART_AT_MOST: u32 = 4;

/// The most tokens that a node gets.
const TOKENS_AT_MOST: u32 = 1024;

/// A zone and a machine, each where it is known.
pub type Site<'a> = (Option<&'a str>, Option<&'a str>);

/// A node, before it has tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    /// How many tokens it gets. That is its weight, too: a node with twice the
    /// tokens of another shall hold twice as much. The view records it no other
    /// way.
    pub tokens: u32,
    pub zone: Option<String>,
    pub machine: Option<String>,
}

impl Seat {
    /// A node of which no more is known.
    pub fn plain(tokens: u32) -> Seat {
        Seat {
            tokens,
            zone: None,
            machine: None,
        }
    }

    /// The seat that a member has.
    pub fn of(member: &Member) -> Seat {
        Seat {
            tokens: u32::try_from(member.tokens.len()).unwrap_or(u32::MAX),
            zone: member.zone.clone(),
            machine: member.machine.clone(),
        }
    }

    /// Its zone and its machine, as far as they place copies.
    pub fn site(&self) -> Site<'_> {
        match &self.machine {
            Some(machine) => (self.zone.as_deref(), Some(machine)),
            None => (None, None),
        }
    }
}

/// Where these nodes stand; all of them may own something.
pub fn sites(seats: &[Seat]) -> Sites {
    Sites::new(seats.iter().map(|seat| (seat.site(), true)))
}

/// Tokens of members, each with the seat it was chosen for.
pub type Seated = (Seat, Vec<Token>);

/// How many tokens a node of this capacity gets beside others, given by tokens
/// and capacity: as many for a byte as those have. Where it is not known how much
/// somebody holds, or nearly all hold the same, the usual number.
pub fn tokens_for(capacity: u64, others: &[(u32, u64)], usual: u32) -> u32 {
    let known = others.iter().filter(|(_, capacity)| *capacity > 0);
    let (tokens, bytes) = known.fold((0u64, 0u128), |(tokens, bytes), (t, capacity)| {
        (tokens + u64::from(*t), bytes + u128::from(*capacity))
    });
    if capacity == 0 || bytes == 0 {
        return usual;
    }
    let share = capacity as f64 * tokens as f64 / bytes as f64;
    if (share / f64::from(usual) - 1.0).abs() * 100.0 <= SAME {
        return usual;
    }
    let most = usual.saturating_mul(APART_AT_MOST).min(TOKENS_AT_MOST);
    let least = usual.div_ceil(APART_AT_MOST);
    // A float as an integer stops at the ends of its type.
    (share.round() as u32).clamp(least.min(most), most).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GI: u64 = 1 << 30;

    #[test]
    fn nodes_of_one_size_get_the_usual_number() {
        let same = [(64, 100 * GI), (64, 101 * GI)];
        assert_eq!(tokens_for(99 * GI, &same, 64), 64);
        assert_eq!(tokens_for(99 * GI, &[], 64), 64);
        assert_eq!(tokens_for(0, &same, 64), 64, "not known");
        assert_eq!(tokens_for(GI, &[(64, 0)], 64), 64, "not known");
    }

    #[test]
    fn a_larger_node_gets_more_and_a_smaller_one_fewer() {
        let others = [(64, 100 * GI), (64, 100 * GI)];
        assert_eq!(tokens_for(200 * GI, &others, 64), 128);
        assert_eq!(tokens_for(50 * GI, &others, 64), 32);
        assert_eq!(tokens_for(10_000 * GI, &others, 64), 256, "within bounds");
        assert_eq!(tokens_for(GI, &others, 64), 16, "within bounds");
        assert_eq!(tokens_for(GI, &[(1, 100 * GI)], 1), 1);
    }

    #[test]
    fn volumes_that_have_all_grown_count_as_they_are_now() {
        let grown = [(64, 200 * GI), (64, 200 * GI), (64, 200 * GI)];
        assert_eq!(tokens_for(200 * GI, &grown, 64), 64);
        let not_grown = [(64, 100 * GI), (64, 100 * GI)];
        assert_eq!(tokens_for(200 * GI, &not_grown, 64), 128);
    }
}
