//! Who the members are, as the view says: hints for the ring, never its truth.

use std::sync::Arc;

use chord_types::{Id, Ordinal, View};

use crate::message::Peer;

/// The virtual nodes of all members. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Members(Arc<Inner>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Inner {
    /// In order of their ids.
    peers: Vec<Peer>,
    /// One of each host, in order of their ordinals.
    hosts: Vec<Peer>,
    digest: u64,
}

impl Members {
    /// From their virtual nodes, in any order.
    pub fn new(mut peers: Vec<Peer>) -> Members {
        peers.sort_unstable();
        peers.dedup_by_key(|p| p.id);
        let mut hosts = peers.clone();
        hosts.sort_by_key(|p| (p.ordinal, p.id));
        hosts.dedup_by_key(|p| p.ordinal);
        let mut bytes = Vec::with_capacity(peers.len() * 24);
        for peer in &peers {
            bytes.extend_from_slice(&peer.id.0);
            bytes.extend_from_slice(&peer.ordinal.0.to_be_bytes());
        }
        let digest = Id::hash(&bytes).prefix();
        Members(Arc::new(Inner {
            peers,
            hosts,
            digest,
        }))
    }

    /// The virtual nodes of all members of a view that are not given up.
    pub fn of_view(view: &View) -> Members {
        use chord_types::Tables;
        let tables = match &view.tables {
            Tables::Stable(one) => vec![one],
            Tables::Joint(old, new) => vec![old, new],
        };
        let members = tables.into_iter().flat_map(|t| t.live());
        Members::new(
            members
                .flat_map(|m| {
                    m.tokens.iter().map(|t| Peer {
                        id: t.id(),
                        ordinal: m.ordinal,
                    })
                })
                .collect(),
        )
    }

    /// In order of their ids.
    pub fn peers(&self) -> &[Peer] {
        &self.0.peers
    }

    /// One virtual node of each host, in order of their ordinals.
    pub fn hosts(&self) -> &[Peer] {
        &self.0.hosts
    }

    /// Whether a host is among them.
    pub fn has(&self, ordinal: Ordinal) -> bool {
        self.0
            .hosts
            .binary_search_by_key(&ordinal, |p| p.ordinal)
            .is_ok()
    }

    /// The same for the same members.
    pub fn digest(&self) -> u64 {
        self.0.digest
    }

    /// All of them, going back from `id`: the nearest before it first.
    pub fn before<'a>(&'a self, id: &Id) -> impl Iterator<Item = Peer> + use<'a> {
        let at = self.peers().partition_point(|p| p.id < *id);
        let (earlier, later) = self.peers().split_at(at);
        earlier.iter().rev().chain(later.iter().rev()).copied()
    }

    /// Those that stand strictly between `after` and `before`, clockwise.
    pub fn between<'a>(&'a self, after: &'a Id, before: &'a Id) -> impl Iterator<Item = Peer> + 'a {
        let (earlier, later) = self
            .peers()
            .split_at(self.peers().partition_point(|p| p.id <= *after));
        later
            .iter()
            .chain(earlier)
            .take_while(|p| p.id.between(after, before))
            .copied()
    }
}
