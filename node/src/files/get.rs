//! GET: spans of verified blocks, fetched a little ahead of the client.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chord_api::causes::words;
use chord_types::blocks::BLOCK_BYTES;
use chord_types::manifest::{Body as Contents, PlacedChunk};
use chord_types::{FileName, Manifest};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;

use super::memory::ReadMemory;
use super::{Body, Error};
use crate::answer::Fetcher;
use crate::answer::fetch::{FetchError, Holder, SPAN_BLOCKS};
use crate::notes::readers::Reader;
use crate::notes::{Debts, Readers};
use crate::ring::Ring;
use crate::view::{Identity, ViewKeeper};

/// Spans that are fetched at a time, where there is memory: the one that the client
/// has come to, and those behind it.
const AT_ONCE: usize = 3;

/// A span of one chunk, and the part of it that was asked for.
struct Piece {
    chunk: PlacedChunk,
    blocks: Range<u32>,
    cut: Range<usize>,
}

/// Reads versions for clients.
pub struct Downloader {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) fetcher: Fetcher,
    pub(crate) debts: Arc<Debts>,
    pub(crate) readers: Readers,
    pub(crate) memory: ReadMemory,
}

impl Downloader {
    /// The bytes `range` of a version.
    pub fn read(self: Arc<Self>, name: FileName, manifest: Manifest, range: Range<u64>) -> Body {
        let upload = match &manifest.body {
            Contents::Inline(bytes) => {
                let (from, upto) = (range.start as usize, (range.end as usize).min(bytes.len()));
                let bytes = if from < upto {
                    bytes.slice(from..upto)
                } else {
                    Bytes::new()
                };
                return Box::pin(futures::stream::iter([Ok(bytes)]));
            }
            Contents::Chunks { upload, .. } => *upload,
        };
        let spans = Spans {
            pieces: pieces(&name, &manifest, range).into(),
            _reader: self.readers.begin(upload),
            from: self,
            name,
            begun: false,
            fetched: FuturesOrdered::new(),
        };
        Box::pin(futures::stream::unfold(spans, |mut spans| async {
            Some((spans.next().await?, spans))
        }))
    }

    /// Where a chunk may be: its owners, this node first, those that answered lately
    /// before the others; then every other member, for a chunk on its way.
    fn holders(&self, chunk: &PlacedChunk) -> Vec<Holder> {
        let Some(current) = self.view.current() else {
            return Vec::new();
        };
        let owners = current.placements.owners(&chunk.key);
        let mut found: Vec<Holder> = owners.iter().map(|m| (m.ordinal, Some(m.disk))).collect();
        found.sort_by_key(|(ordinal, disk)| {
            (*disk != Some(self.me.disk), !self.ring.alive(*ordinal))
        });
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

    async fn fetch(&self, name: &FileName, piece: &Piece) -> Result<Bytes, Error> {
        let mut holders = self.holders(&piece.chunk);
        let noted = |holder: &Holder, error: &FetchError| {
            tracing::debug!(%name, chunk = %piece.chunk.id, holder = holder.0.0, error = words(error), "a copy cannot be read");
            self.debts.owe(name);
        };
        let blocks = piece.blocks.clone();
        let gathered = self
            .fetcher
            .gather(&piece.chunk, &mut holders, blocks, noted);
        gathered.await.map_err(|why| Error::Unreadable {
            name: name.clone(),
            part: piece.chunk.id.part,
            why,
        })
    }
}

/// The spans of an answer on their way.
struct Spans {
    from: Arc<Downloader>,
    name: FileName,
    pieces: VecDeque<Piece>,
    /// Keeps the chunks where they are.
    _reader: Reader,
    begun: bool,
    fetched: FuturesOrdered<BoxFuture<'static, Result<Bytes, Error>>>,
}

impl Spans {
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        while self.fetched.len() < AT_ONCE
            && let Some(piece) = self.pieces.front()
        {
            let bytes = piece.blocks.len() * BLOCK_BYTES;
            let memory = &self.from.memory;
            let room = match (self.fetched.is_empty(), self.begun) {
                (true, true) => memory.next(bytes).await,
                (true, false) => memory.first(bytes).await,
                (false, _) => match memory.ahead(bytes) {
                    Some(room) => Ok(room),
                    None => break,
                },
            };
            let room = match room {
                Ok(room) => room,
                Err(error) => return Some(Err(error)),
            };
            self.begun = true;
            if let Some(piece) = self.pieces.pop_front() {
                let (from, name) = (self.from.clone(), self.name.clone());
                self.fetched.push_back(Box::pin(async move {
                    let data = from.fetch(&name, &piece).await?;
                    if data.len() < piece.cut.end {
                        return Err(Error::ShortPiece { name });
                    }
                    Ok(room.hold(data).slice(piece.cut))
                }));
            }
        }
        self.fetched.next().await
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use chord_types::UploadId;
    use chord_types::blocks::Root;
    use chord_types::manifest::ChunkRef;

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
            meta: Default::default(),
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
