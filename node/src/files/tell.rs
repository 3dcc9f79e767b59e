//! What members are told of an upload and need not answer: that its chunks belong
//! to a version now, or to none any more. Who misses it finds out by asking.

use std::sync::Arc;

use chord_types::manifest::{Body as Contents, PlacedChunk};
use chord_types::{ChunkId, FileName, Manifest};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::place::Acks;
use crate::node::Node;
use crate::peer::wire::Request;

/// Tells every member something that needs no answer.
pub async fn tell(node: &Arc<Node>, request: impl Fn(&chord_types::Member) -> Request) {
    let Some(current) = node.current() else {
        return;
    };
    let mut asked: FuturesUnordered<_> = current
        .view
        .members()
        .into_iter()
        .map(|m| node.ask(&current, m.ordinal, m.disk, request(m)))
        .collect();
    while asked.next().await.is_some() {}
}

/// The chunks of a version that was replaced or deleted may be garbage now.
pub fn tell_reapers(node: &Arc<Node>, name: &FileName, manifest: &Manifest) {
    let Contents::Chunks { upload, .. } = manifest.body else {
        return;
    };
    let (owner, name) = (node.clone(), name.clone());
    node.workers.background(async move {
        tell(&owner, |_| Request::Reap {
            name: name.clone(),
            upload,
        })
        .await;
    });
}

/// The chunks belong to a version now, for what nodes say they hold.
pub fn tell_committed(node: &Arc<Node>, chunks: &[(PlacedChunk, Acks)]) {
    if chunks.is_empty() {
        return;
    }
    let ids: Vec<ChunkId> = chunks.iter().map(|(c, _)| c.id).collect();
    let owner = node.clone();
    node.workers.background(async move {
        for batch in ids.chunks(1000) {
            tell(&owner, |_| Request::Committed {
                chunks: batch.to_vec(),
            })
            .await;
        }
    });
}
