//! What the owners of a name say of its ballot, and what that proves: that a
//! register is decided and everywhere, that a leftover may go, that a copy is
//! missing.

use super::ballot::Ballot;
use super::electorate::{Electorate, Voter};

/// What the owners of one name said of the ballot that they have accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    electorate: Electorate,
    answers: Vec<(Voter, Said)>,
}

/// What one owner said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It holds this ballot, or no register at all.
    Holds(Option<Ballot>),
    /// It did not answer.
    Nothing,
}

/// An owner that has not what it should have, as far as one look tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It answered, and holds nothing or an older ballot.
    Behind(Voter),
    /// It did not answer.
    Silent(Voter),
}

/// How the answers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// All answered alike.
    All(Option<Ballot>),
    /// All answered, not alike.
    Differ,
    /// Some did not answer.
    Silent,
}

impl Agreement {
    /// One ballot at all owners is decided and everywhere: nothing is left to do
    /// for this register in this view.
    pub fn is_settled(self) -> bool {
        matches!(self, Agreement::All(Some(_)))
    }

    /// Whether a leftover with this ballot may go: all owners hold a decided value
    /// that is not older.
    pub fn covers(self, leftover: Ballot) -> bool {
        matches!(self, Agreement::All(Some(held)) if held >= leftover)
    }
}

impl Look {
    /// What these owners said; of an owner that is not among the answers nothing
    /// is known.
    pub fn new(electorate: Electorate, answers: Vec<(Voter, Said)>) -> Look {
        Look {
            electorate,
            answers,
        }
    }

    /// How the answers compare.
    pub fn agreement(&self) -> Agreement {
        let mut held = Vec::new();
        for (_, said) in &self.answers {
            match said {
                Said::Holds(ballot) => held.push(*ballot),
                Said::Nothing => return Agreement::Silent,
            }
        }
        match held.split_first() {
            None => Agreement::Silent,
            Some((first, rest)) if rest.iter().all(|b| b == first) => Agreement::All(*first),
            Some(_) => Agreement::Differ,
        }
    }

    /// The ballot that every owner should have, or a later one: the highest that
    /// enough of them have reached for nothing older to be decided any more. Where
    /// so many have lost it that none has a quorum, the highest that is left.
    ///
    /// A ballot above it may be one that a writer is bringing to the owners now.
    pub fn due(&self) -> Option<Ballot> {
        let ballots = || {
            self.answers.iter().filter_map(|(voter, said)| match said {
                Said::Holds(Some(ballot)) => Some((voter.disk, *ballot)),
                _ => None,
            })
        };
        let reached = |least: Ballot| {
            let disks = ballots().filter(|(_, b)| *b >= least).map(|(d, _)| d);
            self.electorate.decides(&disks.collect())
        };
        let decided = ballots().map(|(_, b)| b).filter(|b| reached(*b)).max();
        decided.or_else(|| ballots().map(|(_, b)| b).max())
    }

    /// Owners that lack `due`, an earlier look's [`due`](Look::due), still.
    ///
    /// Two looks are needed: while a name changes its owners are apart at every
    /// moment, and none of them lacks anything for long.
    pub fn still_lack(&self, due: Option<Ballot>) -> Vec<Lack> {
        let lack = |(voter, said): &(Voter, Said)| match said {
            Said::Nothing => Some(Lack::Silent(*voter)),
            Said::Holds(held) if *held < due => Some(Lack::Behind(*voter)),
            Said::Holds(_) => None,
        };
        self.answers.iter().filter_map(lack).collect()
    }
}

#[cfg(test)]
mod tests {
    use chord_placement::Placements;
    use chord_types::{ClusterUid, DiskId, Epoch, Id, Member, Ordinal, Table, Token, View};

    use super::*;

    fn ballot(counter: u64) -> Option<Ballot> {
        Some(Ballot {
            epoch: Epoch(1),
            counter,
            member: Ordinal(0),
            boot: 1,
        })
    }

    /// What three owners of three say.
    fn look_of(said: [Said; 3]) -> Look {
        let member = |n: u32| Member {
            ordinal: Ordinal(n),
            disk: DiskId(uuid::Uuid::from_u128(u128::from(n) + 1)),
            tokens: vec![Token(u64::from(n) * 1000 + 1)],
            zone: None,
            machine: None,
            out: false,
        };
        let table = Table {
            replication: 3,
            members: (0..3).map(member).collect(),
        };
        let view = View::first(ClusterUid("test".into()), table).unwrap();
        let electorate = Electorate::new(&Placements::new(&view), &Id([0; 20]));
        let mut voters = electorate.voters().to_vec();
        voters.sort();
        let answers = voters.into_iter().zip(said).collect();
        Look::new(electorate, answers)
    }

    fn held(counters: [u64; 3]) -> Look {
        look_of(counters.map(|c| Said::Holds(ballot(c))))
    }

    #[test]
    fn only_one_ballot_at_all_owners_settles() {
        assert!(held([4, 4, 4]).agreement().is_settled());
        assert_eq!(held([4, 4, 3]).agreement(), Agreement::Differ);
        let none = look_of([Said::Holds(None); 3]).agreement();
        assert!(none == Agreement::All(None) && !none.is_settled());
        let silent = look_of([
            Said::Holds(ballot(4)),
            Said::Nothing,
            Said::Holds(ballot(4)),
        ]);
        assert_eq!(silent.agreement(), Agreement::Silent);
    }

    #[test]
    fn a_leftover_goes_only_under_what_is_decided_and_not_older() {
        let leftover = ballot(4).unwrap();
        assert!(held([4, 4, 4]).agreement().covers(leftover));
        assert!(!held([3, 3, 3]).agreement().covers(leftover));
        assert!(!held([5, 5, 6]).agreement().covers(leftover));
        assert!(!look_of([Said::Holds(None); 3]).agreement().covers(leftover));
    }

    #[test]
    fn an_owner_that_a_newer_version_is_on_its_way_to_lacks_nothing() {
        // A writer has reached one owner, then two; the third is two behind.
        assert_eq!(held([5, 4, 4]).due(), ballot(4));
        assert_eq!(held([6, 6, 4]).due(), ballot(6));
        let later = held([8, 8, 7]);
        assert_eq!(later.still_lack(held([6, 6, 4]).due()), []);
    }

    #[test]
    fn an_owner_that_does_not_move_is_missing_its_copy() {
        let first = look_of([
            Said::Holds(ballot(6)),
            Said::Holds(ballot(6)),
            Said::Holds(None),
        ]);
        let second = look_of([
            Said::Holds(ballot(9)),
            Said::Holds(ballot(8)),
            Said::Holds(None),
        ]);
        let lack = second.still_lack(first.due());
        assert!(matches!(lack[..], [Lack::Behind(v)] if v.ordinal == Ordinal(2)));
        let behind = held([9, 9, 5]).still_lack(first.due());
        assert!(matches!(behind[..], [Lack::Behind(v)] if v.ordinal == Ordinal(2)));
    }

    #[test]
    fn what_most_owners_have_lost_is_not_forgotten() {
        let one_left = look_of([Said::Holds(None), Said::Holds(ballot(6)), Said::Holds(None)]);
        assert_eq!(one_left.due(), ballot(6));
        assert_eq!(one_left.still_lack(one_left.due()).len(), 2);
    }

    #[test]
    fn an_owner_that_says_nothing_is_not_taken_to_have_anything() {
        let silent = look_of([
            Said::Holds(ballot(6)),
            Said::Holds(ballot(6)),
            Said::Nothing,
        ]);
        assert!(matches!(
            silent.still_lack(silent.due())[..],
            [Lack::Silent(_)]
        ));
    }
}
