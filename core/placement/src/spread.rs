//! How the copies of a range are spread: in as many zones as there are, then on
//! as many machines, then over members, and always the nearest clockwise.
//!
//! One rule for everybody: [`super::Placement`] owns by it, and the operator's
//! choice of tokens is judged by it. Where no member has a place on record it is
//! the plain rule of Chord, the next distinct members.
//!
//! Machines lie within zones, so putting one member in anywhere takes at most one
//! copy of a range away from one other member, and moves no copy between others.
//! That is what keeps a join from moving more than the joiner's own share.

use chord_types::view::Member;

/// Where each member stands, in small numbers.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    /// Zone, machine, and whether it may own anything, of each member.
    of: Vec<(u32, u32, bool)>,
    zones: usize,
    machines: usize,
    members: usize,
    /// No place tells two members apart: the next distinct members it is.
    plain: bool,
}

impl Sites {
    /// The sites of a table's members; those given up count for nothing.
    pub fn of(members: &[Member]) -> Sites {
        Sites::new(members.iter().map(|m| (m.site(), !m.out)))
    }

    /// The sites of members given by zone and machine, and whether each may own.
    pub fn new<'a>(
        members: impl IntoIterator<Item = ((Option<&'a str>, Option<&'a str>), bool)>,
    ) -> Sites {
        let mut zones: Vec<Option<&str>> = Vec::new();
        let mut machines: Vec<(Option<&str>, Option<&str>)> = Vec::new();
        let mut of = Vec::new();
        for ((zone, machine), counts) in members {
            of.push((
                number(&mut zones, zone),
                number(&mut machines, (zone, machine)),
                counts,
            ));
        }
        let counting = || of.iter().filter(|(.., counts)| *counts);
        let count = |what: fn(&(u32, u32, bool)) -> u32| {
            let mut all: Vec<u32> = counting().map(what).collect();
            all.sort_unstable();
            all.dedup();
            all.len()
        };
        let (zones, machines, members) = (count(|s| s.0), count(|s| s.1), counting().count());
        Sites {
            zones,
            machines,
            members,
            plain: zones <= 1 && (machines <= 1 || machines == members),
            of,
        }
    }

    /// Zones in which a member may own something.
    pub fn zones(&self) -> usize {
        self.zones
    }

    /// Machines on which a member may own something.
    pub fn machines(&self) -> usize {
        self.machines
    }

    /// Members that may own something.
    pub fn members(&self) -> usize {
        self.members
    }

    /// The zone and the machine of a member, as numbers.
    pub fn site(&self, member: u32) -> (u32, u32) {
        self.of
            .get(member as usize)
            .map_or((u32::MAX, u32::MAX), |(zone, machine, _)| (*zone, *machine))
    }

    /// The owners among members in the order in which one meets them, kept in
    /// that order; `chosen` is emptied first.
    pub fn choose(&self, copies: usize, met: &[u32], chosen: &mut Vec<u32>) {
        chosen.clear();
        if self.plain {
            chosen.extend(met.iter().take(copies));
            return;
        }
        // Places in `met`; at most nine copies, so short lists are sets enough.
        let mut places: Vec<usize> = Vec::with_capacity(copies);
        for round in 0..3 {
            for (place, member) in met.iter().enumerate() {
                if places.len() >= copies {
                    break;
                }
                let (zone, machine) = self.site(*member);
                let mut others = places.iter().map(|p| self.site(met[*p]));
                let taken = match round {
                    0 => others.any(|(z, _)| z == zone),
                    1 => others.any(|(_, m)| m == machine),
                    _ => places.contains(&place),
                };
                if !taken {
                    places.push(place);
                }
            }
        }
        places.sort_unstable();
        chosen.extend(places.iter().map(|p| met[*p]));
    }
}

fn number<T: PartialEq>(known: &mut Vec<T>, one: T) -> u32 {
    let at = known.iter().position(|k| *k == one).unwrap_or_else(|| {
        known.push(one);
        known.len() - 1
    });
    at as u32
}

/// The distinct members that one meets on the way round, until they settle who
/// the owners are. Made once and used for many ranges.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    sites: &'a Sites,
    copies: usize,
    met: Vec<u32>,
    zones: usize,
    machines: usize,
    /// In which walk each member, zone and machine was met last.
    members_seen: Vec<u32>,
    zones_seen: Vec<u32>,
    machines_seen: Vec<u32>,
    walk: u32,
}

impl<'a> Walk<'a> {
    /// A walk for so many copies.
    pub fn new(sites: &'a Sites, copies: usize) -> Walk<'a> {
        let len = sites.of.len();
        Walk {
            sites,
            copies,
            met: Vec::with_capacity(16),
            zones: 0,
            machines: 0,
            members_seen: vec![0; len],
            zones_seen: vec![0; len],
            machines_seen: vec![0; len],
            walk: 1,
        }
    }

    /// Begins anew.
    pub fn restart(&mut self) {
        self.met.clear();
        (self.zones, self.machines) = (0, 0);
        self.walk = self.walk.wrapping_add(1).max(1);
    }

    /// Meets the next member; once more is nothing new. One that may own nothing
    /// is passed by.
    pub fn meet(&mut self, member: u32) {
        let Some((zone, machine, true)) = self.sites.of.get(member as usize).copied() else {
            return;
        };
        let fresh = |seen: &mut [u32], at: u32| {
            seen.get_mut(at as usize)
                .is_some_and(|last| std::mem::replace(last, self.walk) != self.walk)
        };
        if fresh(&mut self.members_seen, member) {
            self.met.push(member);
            self.zones += usize::from(fresh(&mut self.zones_seen, zone));
            self.machines += usize::from(fresh(&mut self.machines_seen, machine));
        }
    }

    /// Whether nobody who is met from here on can become an owner.
    pub fn settled(&self) -> bool {
        let reached = |met: usize, there_are: usize| met >= there_are.min(self.copies);
        reached(self.met.len(), self.sites.members)
            && reached(self.zones, self.sites.zones)
            && reached(self.machines, self.sites.machines)
    }

    /// The members met, in order.
    pub fn met(&self) -> &[u32] {
        &self.met
    }

    /// The owners among those met.
    pub fn owners(&self, chosen: &mut Vec<u32>) {
        self.sites.choose(self.copies, &self.met, chosen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sites(places: &[(&'static str, &'static str)]) -> Sites {
        Sites::new(places.iter().map(|(z, m)| ((Some(*z), Some(*m)), true)))
    }

    fn owners(sites: &Sites, copies: usize, met: &[u32]) -> Vec<u32> {
        let mut chosen = Vec::new();
        sites.choose(copies, met, &mut chosen);
        chosen
    }

    #[test]
    fn zones_come_first_then_machines_then_the_nearest() {
        let s = sites(&[("a", "1"), ("a", "1"), ("a", "2"), ("b", "3"), ("b", "3")]);
        assert_eq!(owners(&s, 2, &[0, 1, 2, 3, 4]), [0, 3], "another zone");
        assert_eq!(
            owners(&s, 3, &[0, 1, 2, 3, 4]),
            [0, 2, 3],
            "then another machine"
        );
        assert_eq!(
            owners(&s, 4, &[0, 1, 2, 3, 4]),
            [0, 1, 2, 3],
            "then the nearest"
        );
        assert_eq!(owners(&s, 9, &[4, 3, 2, 1, 0]), [4, 3, 2, 1, 0]);
    }

    #[test]
    fn where_nothing_is_known_it_is_the_next_members() {
        let s = Sites::new((0..4).map(|_| ((None, None), true)));
        assert_eq!(owners(&s, 3, &[2, 0, 3, 1]), [2, 0, 3]);
    }

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        /// As many zones as there are, then machines, whatever the order; and a
        /// member more takes at most one copy from one other.
        #[test]
        fn copies_are_spread_as_far_as_there_are_places(
            places in prop::collection::vec((0usize..4, 0usize..4), 1..9),
            order in Just((0u32..9).collect::<Vec<_>>()).prop_shuffle(),
            copies in 1usize..6,
            joiner in 0usize..9,
        ) {
            let s = Sites::new(places.iter().map(|(z, m)| ((Some(NAMES[*z]), Some(NAMES[*m])), true)));
            let met: Vec<u32> = order.into_iter().filter(|m| (*m as usize) < places.len()).collect();
            let chosen = owners(&s, copies, &met);
            let distinct = |f: fn((u32, u32)) -> u32| {
                chosen.iter().map(|m| f(s.site(*m))).collect::<BTreeSet<_>>().len()
            };
            prop_assert_eq!(chosen.len(), copies.min(places.len()));
            prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
            prop_assert_eq!(distinct(|site| site.0), copies.min(s.zones()));
            prop_assert_eq!(distinct(|site| site.1), copies.min(s.machines()));
            prop_assert_eq!(chosen[0], met[0], "the successor is the primary");

            let joiner = met[joiner % met.len()];
            let others: Vec<u32> = met.iter().copied().filter(|m| *m != joiner).collect();
            let before = owners(&s, copies, &others);
            let gone = before.iter().filter(|m| !chosen.contains(m)).count();
            let come: Vec<&u32> = chosen.iter().filter(|m| !before.contains(m)).collect();
            prop_assert!(gone <= 1 && come.iter().all(|m| **m == joiner), "{before:?} {chosen:?}");
        }

        /// A walk may stop as soon as it says so.
        #[test]
        fn who_is_met_after_the_owners_are_settled_changes_nothing(
            places in prop::collection::vec((0usize..3, 0usize..3, prop::bool::weighted(0.9)), 1..9),
            tokens in prop::collection::vec(0u32..9, 1..40),
            copies in 1usize..6,
        ) {
            let s = Sites::new(places.iter().map(|(z, m, counts)| ((Some(NAMES[*z]), Some(NAMES[*m])), *counts)));
            let (mut short, mut long) = (Walk::new(&s, copies), Walk::new(&s, copies));
            for used_before in [true, false] {
                short.restart();
                long.restart();
                for token in tokens.iter().filter(|t| used_before || **t > 0) {
                    if !short.settled() {
                        short.meet(*token);
                    }
                    long.meet(*token);
                }
                let (mut a, mut b) = (Vec::new(), Vec::new());
                short.owners(&mut a);
                long.owners(&mut b);
                prop_assert_eq!(&a, &b);
                prop_assert!(a.iter().all(|m| places[*m as usize].2), "one that was given up");
            }
        }
    }
}
