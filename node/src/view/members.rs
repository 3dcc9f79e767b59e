//! Who may speak on the ring: the members of a view and their virtual nodes, made
//! ready for quick answers.

use std::collections::BTreeSet;

use chord_ring::Peer;
use chord_types::{DiskId, Id, Ordinal, Tables, View};

/// The members of a view and their virtual nodes, for quick answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberIndex {
    disks: BTreeSet<(Ordinal, DiskId)>,
    peers: BTreeSet<(Id, Ordinal)>,
    hosts: usize,
}

/// Where the view has an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Where it says.
    Here,
    /// It is another node's.
    Elsewhere,
    /// In no table.
    Nowhere,
}

impl MemberIndex {
    /// Of all members in either table, those given up too.
    pub fn of(view: &View) -> MemberIndex {
        let tables = match &view.tables {
            Tables::Stable(one) => vec![one],
            Tables::Joint(old, new) => vec![old, new],
        };
        let members = || tables.iter().flat_map(|t| &t.members);
        let hosts: BTreeSet<Ordinal> = members().map(|m| m.ordinal).collect();
        MemberIndex {
            disks: members().map(|m| (m.ordinal, m.disk)).collect(),
            peers: members()
                .flat_map(|m| m.tokens.iter().map(|t| (t.id(), m.ordinal)))
                .collect(),
            hosts: hosts.len(),
        }
    }

    /// Whether this name with this disk is a member.
    pub fn has(&self, ordinal: Ordinal, disk: DiskId) -> bool {
        self.disks.contains(&(ordinal, disk))
    }

    /// Whether a virtual node is where it says.
    pub fn knows(&self, peer: &Peer) -> bool {
        self.peers.contains(&(peer.id, peer.ordinal))
    }

    /// How many names are members.
    pub fn hosts(&self) -> usize {
        self.hosts
    }

    /// Whether this name is a member, with whichever disk.
    pub fn named(&self, ordinal: Ordinal) -> bool {
        let lowest = DiskId(uuid::Uuid::nil());
        self.disks
            .range((ordinal, lowest)..)
            .next()
            .is_some_and(|(o, _)| *o == ordinal)
    }

    /// Where the view has the id of a virtual node.
    pub fn stands(&self, peer: &Peer) -> Stands {
        if self.knows(peer) {
            return Stands::Here;
        }
        let elsewhere = self
            .peers
            .range((peer.id, Ordinal(0))..)
            .next()
            .is_some_and(|(id, _)| *id == peer.id);
        if elsewhere {
            Stands::Elsewhere
        } else {
            Stands::Nowhere
        }
    }
}
