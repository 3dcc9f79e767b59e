//! How a host that is in no ring gets into one.
//!
//! After a start nothing a host knew still counts: it asks the members of the
//! view ("hails" them) whether there is a ring, and joins it. When a majority
//! of them, itself included, is in no ring either, the whole cluster has been
//! down: all of them start from the ideal ring of the members, as with the first
//! view, since a ring must never grow from a single node. One that hears of
//! such a start in time takes part in it. Until a host knows which it is, it
//! answers `Busy`, so that nobody takes it for gone.
//!
//! A majority that forms a ring while a minority still has one makes two; hints
//! from the view bring them together again.

use std::collections::BTreeMap;

use chord_types::Ordinal;

use super::members::Members;
use crate::message::{Peer, Standing};

/// Hosts hailed in one round.
const HAILS: usize = 32;

/// What a host in no ring has heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outside {
    heard: BTreeMap<Ordinal, Standing>,
    cursor: usize,
}

/// What to make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not known yet.
    Wait,
    /// There is a ring: join it at one of these hosts.
    Join(Vec<Peer>),
    /// There is none: start from the ideal ring.
    Form,
}

impl Outside {
    /// The hosts to hail now.
    pub fn hail(&mut self, own: Ordinal, members: &Members) -> Vec<Peer> {
        let hosts = members.hosts();
        let count = hosts.len().min(HAILS);
        let from = self.cursor;
        self.cursor = (from + count) % hosts.len().max(1);
        hosts
            .iter()
            .cycle()
            .skip(from)
            .take(count)
            .filter(|p| p.ordinal != own)
            .copied()
            .collect()
    }

    /// A host answered.
    pub fn heard(&mut self, from: Ordinal, standing: Standing, members: &Members) {
        if members.has(from) {
            self.heard.insert(from, standing);
        }
    }

    /// A host does not answer.
    pub fn lost(&mut self, ordinal: Ordinal) {
        self.heard.remove(&ordinal);
    }

    /// Whether there is a ring somewhere.
    pub fn knows_a_ring(&self) -> bool {
        self.heard.values().any(|s| *s != Standing::Outside)
    }

    /// What to do.
    pub fn verdict(&self, members: &Members) -> Verdict {
        let ours = Standing::Forming {
            members: members.digest(),
        };
        if self.heard.values().any(|s| *s == ours) {
            return Verdict::Form;
        }
        if self.knows_a_ring() {
            let inside = |p: &&Peer| {
                self.heard
                    .get(&p.ordinal)
                    .is_some_and(|s| *s != Standing::Outside)
            };
            return Verdict::Join(members.hosts().iter().filter(inside).copied().collect());
        }
        // Everyone heard is outside; one more is this host.
        if (self.heard.len() + 1) * 2 > members.hosts().len() {
            Verdict::Form
        } else {
            Verdict::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_types::Id;

    fn members(n: u32) -> Members {
        Members::new(
            (0..n)
                .map(|i| Peer {
                    id: Id::hash(&i.to_be_bytes()),
                    ordinal: Ordinal(i),
                })
                .collect(),
        )
    }

    #[test]
    fn only_a_majority_outside_forms_a_ring() {
        let five = members(5);
        let mut outside = Outside::default();
        outside.heard(Ordinal(1), Standing::Outside, &five);
        outside.heard(Ordinal(9), Standing::Outside, &five);
        assert_eq!(
            outside.verdict(&five),
            Verdict::Wait,
            "a stranger does not count"
        );
        outside.heard(Ordinal(2), Standing::Outside, &five);
        assert_eq!(outside.verdict(&five), Verdict::Form);
        outside.heard(Ordinal(3), Standing::Member, &five);
        assert!(matches!(outside.verdict(&five), Verdict::Join(at) if at.len() == 1));
        outside.lost(Ordinal(3));
        assert_eq!(outside.verdict(&five), Verdict::Form);
    }

    #[test]
    fn who_hears_of_a_start_takes_part_if_it_is_of_the_same_members() {
        let five = members(5);
        let mut outside = Outside::default();
        outside.heard(
            Ordinal(1),
            Standing::Forming {
                members: members(4).digest(),
            },
            &five,
        );
        assert!(matches!(outside.verdict(&five), Verdict::Join(_)));
        outside.heard(
            Ordinal(2),
            Standing::Forming {
                members: five.digest(),
            },
            &five,
        );
        assert_eq!(outside.verdict(&five), Verdict::Form);
    }

    #[test]
    fn every_host_is_hailed_in_turn() {
        let many = members(100);
        let mut outside = Outside::default();
        let mut hailed: Vec<u32> = Vec::new();
        for _ in 0..4 {
            hailed.extend(outside.hail(Ordinal(0), &many).iter().map(|p| p.ordinal.0));
        }
        hailed.sort_unstable();
        hailed.dedup();
        assert_eq!(hailed, (1..100).collect::<Vec<_>>());
    }
}
