//! Who votes on a key, and counting: a quorum is needed in every table in force.

use std::collections::BTreeSet;

use chord_api::placement::Placements;
use chord_api::{DiskId, Id, Member, Ordinal};

/// A voter: a member's name and disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voter {
    pub ordinal: Ordinal,
    pub disk: DiskId,
}

impl From<&Member> for Voter {
    fn from(member: &Member) -> Voter {
        Voter {
            ordinal: member.ordinal,
            disk: member.disk,
        }
    }
}

/// The owners of a key in each table, with the quorum of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Electorate {
    tables: Vec<(usize, Vec<DiskId>)>,
    voters: Vec<Voter>,
}

impl Electorate {
    /// The owners of `key`.
    pub fn new(placements: &Placements, key: &Id) -> Electorate {
        let tables = placements
            .all()
            .map(|p| (p.table().quorum(), p.owners(key).map(|m| m.disk).collect()))
            .collect();
        let voters = placements
            .owners(key)
            .into_iter()
            .map(Voter::from)
            .collect();
        Electorate { tables, voters }
    }

    /// Every voter once, the primary of the old table first.
    pub fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// Whether a disk has a vote.
    pub fn has(&self, disk: DiskId) -> bool {
        self.voters.iter().any(|v| v.disk == disk)
    }

    /// Whether `yes` holds a quorum of every table.
    pub fn decides(&self, yes: &BTreeSet<DiskId>) -> bool {
        self.tables
            .iter()
            .all(|(quorum, owners)| owners.iter().filter(|d| yes.contains(d)).count() >= *quorum)
    }

    /// Whether a quorum of every table is still possible once `no` have refused.
    pub fn possible_without(&self, no: &BTreeSet<DiskId>) -> bool {
        self.tables
            .iter()
            .all(|(quorum, owners)| owners.iter().filter(|d| !no.contains(d)).count() >= *quorum)
    }
}
