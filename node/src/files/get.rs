//! GET: spans of verified blocks, fetched a little ahead of the client.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chord_api::manifest::{BLOCK_BYTES, Body as Contents, PlacedChunk};
use chord_api::problem::{Kind, Problem};
use chord_api::{DiskId, FileName, Manifest, Ordinal};
use futures::StreamExt;

use super::Body;
use crate::node::Node;
use crate::peer::fetch::{SPAN_BLOCKS, span};

/// Spans that are fetched before the client has taken them.
const AHEAD: usize = 3;

/// A span of one chunk, and the part of it that was asked for.
struct Piece {
    chunk: PlacedChunk,
    blocks: Range<u32>,
    cut: Range<usize>,
}

/// The bytes `range` of a version.
pub fn read(node: Arc<Node>, name: FileName, manifest: Manifest, range: Range<u64>) -> Body {
    if let Contents::Inline(bytes) = &manifest.body {
        let (from, upto) = (range.start as usize, (range.end as usize).min(bytes.len()));
        let bytes = if from < upto {
            bytes.slice(from..upto)
        } else {
            Bytes::new()
        };
        return Box::pin(futures::stream::iter([Ok(bytes)]));
    }
    let pieces = pieces(&name, &manifest, range);
    let fetched = futures::stream::iter(pieces).map(move |piece| {
        let (node, name) = (node.clone(), name.clone());
        async move {
            let data = fetch(&node, &name, &piece).await?;
            if data.len() < piece.cut.end {
                return Err(broken(&name, "a holder sent less than its chunk has"));
            }
            Ok(data.slice(piece.cut))
        }
    });
    Box::pin(fetched.buffered(AHEAD))
}

fn pieces(name: &FileName, manifest: &Manifest, range: Range<u64>) -> Vec<Piece> {
    let block = BLOCK_BYTES as u64;
    let mut pieces = Vec::new();
    let mut start = 0u64;
    for chunk in manifest.chunks(name) {
        let end = start + u64::from(chunk.size);
        let (from, upto) = (range.start.max(start), range.end.min(end));
        if from < upto {
            let (from, upto) = (from - start, upto - start);
            let mut first = (from / block) as u32;
            let last = upto.div_ceil(block) as u32;
            while first < last {
                let next = (first + SPAN_BLOCKS).min(last);
                let base = u64::from(first) * block;
                let cut = (from.max(base) - base) as usize
                    ..(upto.min(u64::from(next) * block) - base) as usize;
                pieces.push(Piece {
                    chunk,
                    blocks: first..next,
                    cut,
                });
                first = next;
            }
        }
        start = end;
    }
    pieces
}

fn broken(name: &FileName, why: &str) -> Problem {
    Problem::new(
        Kind::NoQuorum,
        format!("cannot read {name:?} to its end: {why}"),
    )
}

/// Where a chunk may be: its owners, this node first, those that answered lately
/// before the others; then every other member, for a chunk on its way.
fn holders(node: &Node, chunk: &PlacedChunk) -> Vec<(Ordinal, Option<DiskId>)> {
    let Some(current) = node.current() else {
        return Vec::new();
    };
    let me = node.disk();
    let owners = current.placements.owners(&chunk.key);
    let mut found: Vec<(Ordinal, Option<DiskId>)> =
        owners.iter().map(|m| (m.ordinal, Some(m.disk))).collect();
    let alive = |ordinal: Ordinal| {
        node.ring
            .lock()
            .unwrap_or_else(|p| p.into_inner())
            .alive(ordinal)
    };
    found.sort_by_key(|(ordinal, disk)| (*disk != Some(me), !alive(*ordinal)));
    let others: Vec<_> = current
        .view
        .members()
        .into_iter()
        .filter(|m| !found.iter().any(|(_, disk)| *disk == Some(m.disk)))
        .map(|m| (m.ordinal, Some(m.disk)))
        .collect();
    found.extend(others);
    found
}

async fn fetch(node: &Arc<Node>, name: &FileName, piece: &Piece) -> Result<Bytes, Problem> {
    let mut why = String::from("no node holds it");
    for holder in holders(node, &piece.chunk) {
        match span(node, &piece.chunk, holder, piece.blocks.clone()).await {
            Ok(data) => return Ok(data),
            Err(error) => {
                tracing::debug!(%name, chunk = %piece.chunk.id, holder = holder.0.0, %error, "a copy cannot be read");
                node.owe(name);
                why = error;
            }
        }
    }
    Err(broken(
        name,
        &format!("no copy of part {} can be read: {why}", piece.chunk.id.part),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_api::UploadId;
    use chord_api::manifest::{ChunkRef, Root};

    fn manifest(sizes: &[u32]) -> Manifest {
        let chunks: Vec<ChunkRef> = sizes
            .iter()
            .map(|size| ChunkRef {
                size: *size,
                root: Root([0; 32]),
            })
            .collect();
        Manifest {
            version: 1,
            etag: "e".into(),
            size: sizes.iter().map(|s| u64::from(*s)).sum(),
            modified_ms: 0,
            content_type: None,
            meta: vec![],
            body: Contents::Chunks {
                upload: UploadId::from_bytes([1; 16]),
                chunks,
            },
        }
    }

    #[test]
    fn every_range_is_cut_out_of_whole_blocks() {
        let name: FileName = "f".parse().unwrap();
        let m = manifest(&[4 << 20, 4 << 20, 100]);
        for range in [
            0..m.size,
            0..1,
            (4 << 20) - 1..(4 << 20) + 1,
            65_535..65_537,
            m.size - 1..m.size,
            7..7,
        ] {
            let pieces = pieces(&name, &m, range.clone());
            let total: u64 = pieces.iter().map(|p| p.cut.len() as u64).sum();
            assert_eq!(total, range.end - range.start, "{range:?}");
            for piece in &pieces {
                assert!(piece.blocks.len() as u32 <= SPAN_BLOCKS && !piece.blocks.is_empty());
                assert!(piece.cut.end <= piece.blocks.len() * BLOCK_BYTES);
            }
        }
    }
}
