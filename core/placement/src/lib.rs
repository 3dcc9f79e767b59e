//! Which members own a key, and what a change of tables moves.
//!
//! The owners of a key are R distinct members, not given up, that one meets
//! clockwise from the key: those that stand in as many zones, then on as many
//! machines, as there are, and of these the nearest (see [`spread`]). The first of
//! them, the successor, is the primary. A pure function of a [`Table`].

#![warn(missing_docs)]

pub mod spread;

use std::collections::BTreeMap;

use self::spread::{Sites, Walk};
use chord_types::id::{Id, Token};
use chord_types::view::{Member, Ordinal, Table, Tables, View};

/// A table made ready for look-ups.
#[derive(Clone, Debug)]
pub struct Placement {
    table: Table,
    /// Every token with its index in `table.members`, in order.
    ring: Vec<(Token, u32)>,
    /// The owners of the range that ends at `ring[i]`, as indices of members.
    owners: Vec<Vec<u32>>,
}

/// The arc from `after` (without it) to `upto` (with it), clockwise. When both
/// are the same it is the whole circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it begins: this id itself is not in it.
    pub after: Id,
    /// Where it ends: this id is in it.
    pub upto: Id,
}

impl Range {
    /// Whether a key lies in this range.
    pub fn contains(&self, key: &Id) -> bool {
        *key == self.upto || key.between(&self.after, &self.upto)
    }

    /// Its share of the circle, from 0 to 1.
    pub fn share(&self) -> f64 {
        if self.after == self.upto {
            return 1.0;
        }
        self.upto.prefix().wrapping_sub(self.after.prefix()) as f64 / 2f64.powi(64)
    }
}

impl Placement {
    /// Prepares a table.
    pub fn new(table: &Table) -> Placement {
        let mut ring: Vec<(Token, u32)> = table
            .members
            .iter()
            .enumerate()
            .flat_map(|(index, member)| member.tokens.iter().map(move |t| (*t, index as u32)))
            .collect();
        ring.sort_unstable();
        let sites = Sites::of(&table.members);
        let mut walk = Walk::new(&sites, usize::from(table.replication));
        let owners = (0..ring.len())
            .map(|start| {
                walk.restart();
                for (_, member) in ring[start..].iter().chain(&ring[..start]) {
                    if walk.settled() {
                        break;
                    }
                    walk.meet(*member);
                }
                let mut found = Vec::with_capacity(usize::from(table.replication));
                walk.owners(&mut found);
                found
            })
            .collect();
        Placement {
            table: table.clone(),
            ring,
            owners,
        }
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    fn slot(&self, key: &Id) -> usize {
        let at = self.ring.partition_point(|(token, _)| token.id() < *key);
        if at == self.ring.len() { 0 } else { at }
    }

    /// The owners of a key, the primary first. Fewer than R only where so many
    /// members have been given up.
    pub fn owners(&self, key: &Id) -> impl Iterator<Item = &Member> {
        self.owners
            .get(self.slot(key))
            .into_iter()
            .flatten()
            .map(|index| &self.table.members[*index as usize])
    }

    /// The virtual node that is the successor of a key, given up or not.
    pub fn successor(&self, key: &Id) -> Option<(Token, &Member)> {
        self.ring
            .get(self.slot(key))
            .map(|(t, m)| (*t, &self.table.members[*m as usize]))
    }

    /// Whether the member at `ordinal` owns a key.
    pub fn owns(&self, ordinal: Ordinal, key: &Id) -> bool {
        self.owners(key).any(|m| m.ordinal == ordinal)
    }

    /// Every range with its owners, the primary first.
    pub fn ranges(&self) -> impl Iterator<Item = (Range, Vec<&Member>)> {
        (0..self.ring.len()).map(|i| {
            let before = if i == 0 { self.ring.len() - 1 } else { i - 1 };
            let range = Range {
                after: self.ring[before].0.id(),
                upto: self.ring[i].0.id(),
            };
            (
                range,
                self.owners[i]
                    .iter()
                    .map(|m| &self.table.members[*m as usize])
                    .collect(),
            )
        })
    }

    /// The share of the circle, times R, that each member holds: 1.0 is the mean
    /// times the number of members.
    pub fn shares(&self) -> BTreeMap<Ordinal, f64> {
        let mut shares: BTreeMap<Ordinal, f64> = self
            .table
            .members
            .iter()
            .map(|m| (m.ordinal, 0.0))
            .collect();
        for (range, owners) in self.ranges() {
            for owner in owners {
                *shares.entry(owner.ordinal).or_default() += range.share();
            }
        }
        shares
    }
}

/// The one or two placements of a view.
#[derive(Clone, Debug)]
pub struct Placements {
    /// By the table in force before a change, or the only one.
    pub old: Placement,
    /// The table a joint view leads to.
    pub new: Option<Placement>,
}

impl Placements {
    /// Prepares the tables of a view.
    pub fn new(view: &View) -> Placements {
        match &view.tables {
            Tables::Stable(t) => Placements {
                old: Placement::new(t),
                new: None,
            },
            Tables::Joint(t, u) => Placements {
                old: Placement::new(t),
                new: Some(Placement::new(u)),
            },
        }
    }

    /// The placement that the view leads to.
    pub fn target(&self) -> &Placement {
        self.new.as_ref().unwrap_or(&self.old)
    }

    /// Both placements, or the one.
    pub fn all(&self) -> impl Iterator<Item = &Placement> {
        std::iter::once(&self.old).chain(self.new.as_ref())
    }

    /// Owners in either table, each disk once, those of the old table first.
    pub fn owners(&self, key: &Id) -> Vec<&Member> {
        let mut found: Vec<&Member> = self.old.owners(key).collect();
        if let Some(new) = &self.new {
            for member in new.owners(key) {
                if !found.iter().any(|m| m.disk == member.disk) {
                    found.push(member);
                }
            }
        }
        found
    }

    /// The pieces of the circle whose owners (as disks) differ between the two
    /// tables, with the old owners and the new. Empty for a stable view.
    pub fn changed(&self) -> Vec<Change<'_>> {
        let Some(new) = &self.new else {
            return Vec::new();
        };
        let mut cuts: Vec<Token> = self
            .old
            .ring
            .iter()
            .chain(&new.ring)
            .map(|(t, _)| *t)
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut changes = Vec::new();
        for (i, upto) in cuts.iter().enumerate() {
            let before = if i == 0 {
                cuts[cuts.len() - 1]
            } else {
                cuts[i - 1]
            };
            let range = Range {
                after: before.id(),
                upto: upto.id(),
            };
            let from: Vec<&Member> = self.old.owners(&range.upto).collect();
            let to: Vec<&Member> = new.owners(&range.upto).collect();
            let same =
                from.len() == to.len() && from.iter().all(|m| to.iter().any(|n| n.disk == m.disk));
            if !same || self.old.table.replication != new.table.replication {
                changes.push(Change { range, from, to });
            }
        }
        changes
    }

    /// Whether the owners of this key change.
    pub fn changes(&self, key: &Id) -> bool {
        let Some(new) = &self.new else { return false };
        let from: Vec<_> = self.old.owners(key).map(|m| m.disk).collect();
        let to: Vec<_> = new.owners(key).map(|m| m.disk).collect();
        self.old.table.replication != new.table.replication
            || from.len() != to.len()
            || from.iter().any(|d| !to.contains(d))
    }
}

/// A piece of the circle that gets other owners.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The keys that change hands.
    pub range: Range,
    /// Who must hold them by the old table.
    pub from: Vec<&'a Member>,
    /// Who must hold them by the new table.
    pub to: Vec<&'a Member>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_types::view::{ClusterUid, DiskId};
    use proptest::prelude::*;

    fn table(replication: u8, tokens: &[&[u64]]) -> Table {
        let members = tokens
            .iter()
            .enumerate()
            .map(|(n, tokens)| Member {
                ordinal: Ordinal(n as u32),
                disk: DiskId(uuid::Uuid::from_u128(n as u128)),
                tokens: tokens.iter().map(|t| Token(*t)).collect(),
                zone: None,
                machine: None,
                out: false,
            })
            .collect();
        Table {
            replication,
            members,
        }
    }

    fn ordinals<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<u32> {
        members.map(|m| m.ordinal.0).collect()
    }

    #[test]
    fn owners_are_the_next_distinct_members_clockwise() {
        let placement = Placement::new(&table(2, &[&[10, 20], &[30], &[40]]));
        assert_eq!(
            ordinals(placement.owners(&Token(10).id())),
            [0, 1],
            "20 is the same member again"
        );
        assert_eq!(ordinals(placement.owners(&Token(11).id())), [0, 1]);
        assert_eq!(ordinals(placement.owners(&Token(31).id())), [2, 0]);
        assert_eq!(
            ordinals(placement.owners(&Token(41).id())),
            [0, 1],
            "past the last token it wraps"
        );
    }

    #[test]
    fn a_member_given_up_owns_nothing_and_moves_no_token() {
        let mut t = table(2, &[&[10], &[20], &[30]]);
        t.members[1].out = true;
        let placement = Placement::new(&t);
        assert_eq!(ordinals(placement.owners(&Token(15).id())), [2, 0]);
        assert_eq!(
            placement.successor(&Token(15).id()).unwrap().1.ordinal,
            Ordinal(1)
        );
    }

    #[test]
    fn owners_stand_in_as_many_zones_as_there_are() {
        let mut t = table(2, &[&[10], &[20], &[30], &[40]]);
        for (member, zone) in t.members.iter_mut().zip(["a", "a", "b", "b"]) {
            member.zone = Some(zone.into());
            member.machine = Some(format!("m{}", member.ordinal));
        }
        let placement = Placement::new(&t);
        assert_eq!(ordinals(placement.owners(&Token(5).id())), [0, 2]);
        assert_eq!(ordinals(placement.owners(&Token(25).id())), [2, 0]);
        t.members[2].out = true;
        let placement = Placement::new(&t);
        assert_eq!(ordinals(placement.owners(&Token(25).id())), [3, 0]);
        t.members[3].out = true;
        let placement = Placement::new(&t);
        assert_eq!(
            ordinals(placement.owners(&Token(25).id())),
            [0, 1],
            "no other zone is left"
        );
    }

    #[test]
    fn a_zone_without_a_machine_places_nothing() {
        // Views of format 1 may have such zones; their owners must stay the same.
        let mut t = table(2, &[&[10], &[20], &[30]]);
        let plain = Placement::new(&t);
        for (member, zone) in t.members.iter_mut().zip(["a", "a", "b"]) {
            member.zone = Some(zone.into());
        }
        let zoned = Placement::new(&t);
        for at in [5, 15, 25, 35] {
            let key = Token(at).id();
            assert_eq!(ordinals(zoned.owners(&key)), ordinals(plain.owners(&key)));
        }
    }

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        #[test]
        fn changed_ranges_are_just_where_owners_differ(
            a in prop::collection::btree_set(1u64.., 3..40),
            extra in prop::collection::btree_set(1u64.., 1..10),
            probes in prop::collection::vec(any::<u64>(), 50),
        ) {
            let a: Vec<u64> = a.into_iter().collect();
            let extra: Vec<u64> = extra.into_iter().filter(|t| !a.contains(t)).collect();
            prop_assume!(!extra.is_empty());
            let mut three: Vec<Vec<u64>> = vec![vec![], vec![], vec![]];
            for (i, t) in a.iter().enumerate() { three[i % 3].push(*t); }
            let from = table(3, &three.iter().map(|v| v.as_slice()).collect::<Vec<_>>());
            let mut four = three.clone();
            four.push(extra);
            let to = table(3, &four.iter().map(|v| v.as_slice()).collect::<Vec<_>>());
            let view = View::first(ClusterUid("c".into()), from).unwrap().change_to(to).unwrap();
            let placements = Placements::new(&view);
            let changed = placements.changed();
            for probe in probes {
                let key = Token(probe).id();
                let hit = changed.iter().any(|c| c.range.contains(&key));
                prop_assert_eq!(hit, placements.changes(&key));
            }
            let total: f64 = Placement::new(view.new_table()).shares().values().sum();
            prop_assert!((total - 3.0).abs() < 1e-6);
        }
    }
}
