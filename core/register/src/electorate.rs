//! Who votes on a key, and counting: a quorum is needed in every table in force.
//!
//! One proposal needs less: the one by which an owner settles its own register in
//! a joint view. Of the old table it has to hear so many owners that every quorum
//! is met (R − q + 1, one less than a quorum where R is even): then it takes over
//! whatever may have been decided there, and the new table's quorum keeps it. So
//! a change can be completed where half of an even number of copies are lost. It
//! decides nothing for the old table: all else, reads too, goes by quorums, and
//! a change given up loses no decision.

use std::collections::BTreeSet;

use chord_placement::Placements;
use chord_types::{DiskId, Id, Member, Ordinal};

/// A voter: a member's name and disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voter {
    /// Its place in the cluster.
    pub ordinal: Ordinal,
    /// Its disk: who votes is the disk, not the name.
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
    /// How many of the owners are needed in each table.
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

    /// The same for settling a register of the old table in the new one.
    pub fn settling(placements: &Placements, key: &Id) -> Electorate {
        let mut electorate = Electorate::new(placements, key);
        if let (Some(_), Some((needed, _))) = (&placements.new, electorate.tables.first_mut()) {
            *needed = placements.old.table().blocking();
        }
        electorate
    }

    /// Every voter once, the primary of the old table first.
    pub fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// Whether a disk has a vote.
    pub fn has(&self, disk: DiskId) -> bool {
        self.voters.iter().any(|v| v.disk == disk)
    }

    /// Whether `yes` holds enough of every table.
    pub fn decides(&self, yes: &BTreeSet<DiskId>) -> bool {
        self.tables
            .iter()
            .all(|(quorum, owners)| owners.iter().filter(|d| yes.contains(d)).count() >= *quorum)
    }

    /// Whether enough of every table are left once `no` have refused.
    pub fn possible_without(&self, no: &BTreeSet<DiskId>) -> bool {
        self.tables
            .iter()
            .all(|(quorum, owners)| owners.iter().filter(|d| !no.contains(d)).count() >= *quorum)
    }
}
