//! What the ring and the view say of places: successors, pointers, owners.

use std::sync::Arc;

use chord_api::http::{PlacedPiece, RingPeer, RingState, Successor, VnodeState, Where};
use chord_api::problem::{Kind, Problem};
use chord_ring::{Host, Peer, Vnode};
use chord_types::{Epoch, FileName, Id, Ordinal};

use crate::quorum::Quorum;
use crate::ring::Ring;
use crate::view::{Identity, ViewKeeper};

/// Finds places.
pub struct Finder {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) quorum: Arc<Quorum>,
}

/// The ring's pointers as `GET /ring` shows them.
fn pointers(
    ring: &Host,
    node: Ordinal,
    epoch: Option<Epoch>,
    name: impl Fn(Ordinal) -> String,
) -> RingState {
    let peer = |p: &Peer| RingPeer {
        id: p.id.to_string(),
        node: name(p.ordinal),
    };
    let vnode = |v: &Vnode| VnodeState {
        id: v.me().id.to_string(),
        state: if v.is_member() { "member" } else { "joining" }.to_string(),
        predecessor: v.pred().as_ref().map(peer),
        successors: v.successors().iter().map(peer).collect(),
        fingers: v.fingers().map(peer).collect(),
    };
    RingState {
        node: name(node),
        epoch,
        vnodes: ring.vnodes().map(vnode).collect(),
    }
}

impl Finder {
    /// The successor of an id, as the ring finds it now.
    pub async fn successor(&self, id: Id) -> Result<Successor, Problem> {
        let Some(current) = self.view.current() else {
            return Err(Problem::new(
                Kind::NoQuorum,
                "this node has no view yet, and so no ring",
            ));
        };
        let mut path: Vec<Ordinal> = vec![self.me.ordinal];
        // What the view says is in `owners`. Given out as the successor it would be
        // taken for what the ring found, be it dead or given up.
        let found = self.ring.lookup(id).await.map_err(|error| {
            Problem::new(
                Kind::NoQuorum,
                format!(
                    "{} cannot find the successor of {id} on the ring: {error}; try again, or ask another node",
                    self.me.name
                ),
            )
        })?;
        path.extend(found.path.iter().map(|p| p.ordinal));
        let stops = found.path.iter().chain([&found.successor]);
        let hops = stops.map(|p| RingPeer {
            id: p.id.to_string(),
            node: self.me.name_of(p.ordinal),
        });
        let hops = hops.collect();
        let successor = found.successor.ordinal;
        path.push(successor);
        path.dedup();
        Ok(Successor {
            id: id.to_string(),
            successor: self.me.name_of(successor),
            owners: current
                .placements
                .target()
                .owners(&id)
                .map(|m| self.me.name_of(m.ordinal))
                .collect(),
            path: path.into_iter().map(|o| self.me.name_of(o)).collect(),
            hops,
            epoch: current.reference.epoch,
        })
    }

    /// This node's pointers.
    pub fn pointers(&self) -> RingState {
        let epoch = self.view.current().map(|c| c.reference.epoch);
        self.ring.read_host(|host| {
            pointers(host, self.me.ordinal, epoch, |ordinal| {
                self.me.name_of(ordinal)
            })
        })
    }

    /// Where each piece of a file is kept, by the view.
    pub async fn place(&self, name: &FileName) -> Result<Where, Problem> {
        let value = self.quorum.read(name).await?;
        let (Some(manifest), Some(current)) = (value.and_then(|v| v.current), self.view.current())
        else {
            return Err(Problem::new(
                Kind::NotFound,
                format!("there is no file {name:?}"),
            ));
        };
        let owners = |key: &Id| -> Vec<String> {
            current
                .placements
                .target()
                .owners(key)
                .map(|m| self.me.name_of(m.ordinal))
                .collect()
        };
        let mut pieces = vec![PlacedPiece {
            piece: name.as_str().into(),
            size: manifest.size,
            owners: owners(&Id::of_file(name)),
        }];
        let chunks: Vec<_> = manifest.chunks(name).collect();
        if chunks.len() > 1 {
            pieces.extend(chunks.iter().map(|c| PlacedPiece {
                piece: name.part(c.id.part),
                size: u64::from(c.size),
                owners: owners(&c.key),
            }));
        }
        Ok(Where {
            name: name.as_str().into(),
            version: manifest.version,
            pieces,
        })
    }
}
