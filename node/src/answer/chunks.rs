//! Receipts for chunks: what is said to be held is on the disk, under the view that
//! it was asked in.

use std::error::Error;

use bytes::Bytes;
use chord_api::causes;
use chord_types::manifest::PlacedChunk;
use chord_types::{ChunkId, FileName, Ordinal};
use futures::{Stream, StreamExt};

use super::fetch::SPAN_BLOCKS;
use super::{Responder, check_batch, entered_under, failed};
use crate::peer::Failure;
use crate::peer::wire::{Answer, ChunkHeader, Refusal, Reply};
use crate::store::{ChunkError, ChunkMeta, ChunkWriter, MAX_CHUNK_BYTES, StoreError, Tier};
use crate::view::Current;

/// The chunk's entry on disk.
pub fn meta_of(name: FileName, chunk: &PlacedChunk, committed: bool) -> ChunkMeta {
    ChunkMeta {
        id: chunk.id,
        name,
        key: chunk.key,
        size: chunk.size,
        root: chunk.root,
        committed,
    }
}

/// Tells the sender what was wrong with a chunk.
pub fn chunk_failed(error: ChunkError) -> Refusal {
    match error {
        ChunkError::Store(StoreError::Full(_)) => Refusal::Full,
        other => Refusal::Failed(Failure::of(other)),
    }
}

impl Responder {
    /// Takes a chunk that comes piece by piece; `Ok` is a receipt of the view that it
    /// was sent under. Something that breaks off leaves nothing.
    pub async fn take_chunk<E: Error + Send + Sync + 'static>(
        &self,
        head: ChunkHeader,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), Refusal> {
        let Some(current) = self.admit(&head.header, false)? else {
            return Err(Refusal::OtherView(None));
        };
        self.check_key(&current, &head.chunk.key)?;
        if head.chunk.size > MAX_CHUNK_BYTES {
            return Err(Refusal::Failed("the chunk is too large".into()));
        }
        let meta = meta_of(head.name, &head.chunk, head.committed);
        self.store_chunk(&current, meta, Tier::Clients, body).await
    }

    async fn store_chunk<E: Error + Send + Sync + 'static>(
        &self,
        current: &Current,
        meta: ChunkMeta,
        tier: Tier,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), Refusal> {
        let mut writer = self.store.chunk_writer(meta, tier).map_err(chunk_failed)?;
        while let Some(piece) = body.next().await {
            let piece =
                piece.map_err(|e| Refusal::Failed(Failure::new("the chunk broke off", e)))?;
            writer.write(piece).await.map_err(chunk_failed)?;
        }
        self.finish_chunk(current, writer).await
    }

    /// Enters a chunk whose bytes are all there, if the view is still the same.
    async fn finish_chunk(&self, current: &Current, writer: ChunkWriter) -> Result<(), Refusal> {
        match writer.finish_if(entered_under(current)).await {
            Ok(()) => Ok(()),
            Err(error) if self.view.holds(current) => Err(chunk_failed(error)),
            Err(_) => Err(Refusal::OtherView(self.view.reference())),
        }
    }

    /// A disk that is damaged gives out what it still has, and vouches for nothing.
    fn takes_part(&self) -> Result<(), Refusal> {
        match self.store.failure() {
            Some(failure) => Err(Refusal::Failed(Failure::of(failure))),
            None => Ok(()),
        }
    }

    pub(super) async fn committed(&self, chunks: Vec<ChunkId>) -> Reply {
        check_batch(chunks.len(), "chunks")?;
        let noted = self.store.chunk_set_committed(chunks).await;
        noted.map_err(failed)?;
        Ok(Answer::Done)
    }

    pub(super) async fn has_chunks(&self, current: &Current, chunks: Vec<ChunkId>) -> Reply {
        check_batch(chunks.len(), "chunks")?;
        if !current.view.has(self.me.ordinal, self.me.disk) {
            return Err(Refusal::NotOwner);
        }
        self.takes_part()?;
        let mut has = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            has.push(self.store.chunk_has(chunk).await.map_err(failed)?.is_some());
        }
        Ok(Answer::Has(has))
    }

    pub(super) async fn ensure(
        &self,
        current: &Current,
        name: FileName,
        chunk: PlacedChunk,
        committed: bool,
        sources: &[Ordinal],
    ) -> Reply {
        self.check_key(current, &chunk.key)?;
        self.takes_part()?;
        let held = self.store.chunk_has(chunk.id).await.map_err(failed)?;
        if held.is_some() {
            if committed {
                return self.committed(vec![chunk.id]).await;
            }
            return Ok(Answer::Done);
        }
        self.pull(current, meta_of(name, &chunk, committed), sources)
            .await?;
        Ok(Answer::Done)
    }

    /// Brings a chunk onto this disk, each part from whichever of `sources` has it
    /// right. A damaged copy here is one of them.
    async fn pull(
        &self,
        current: &Current,
        meta: ChunkMeta,
        sources: &[Ordinal],
    ) -> Result<(), Refusal> {
        let _turn = self
            .pulls
            .acquire()
            .await
            .map_err(|_| Refusal::Failed("the node is stopping".into()))?;
        // Somebody else may have brought it meanwhile.
        let held = self.store.chunk_has(meta.id).await;
        if held.is_ok_and(|has| has.is_some()) {
            return Ok(());
        }
        let chunk = meta.placed();
        let blocks = meta.blocks();
        let mut holders = self.fetcher.holders(sources);
        let writer = self.store.chunk_writer(meta, Tier::Moves);
        let mut writer = writer.map_err(chunk_failed)?;
        let mut from = 0;
        while from < blocks {
            let upto = (from + SPAN_BLOCKS).min(blocks);
            let data = self
                .fetcher
                .gather(&chunk, &mut holders, from..upto, |_, _| {});
            let data = data.await.map_err(|why| {
                let words = format!(
                    "no member that answers has all of it ({}); should it stay so, store the file again or delete it",
                    causes::words(&why)
                );
                Refusal::Failed(Failure::in_words(words, why))
            })?;
            writer.write(data).await.map_err(chunk_failed)?;
            from = upto;
        }
        self.finish_chunk(current, writer).await
    }
}

#[cfg(test)]
mod tests {
    use chord_types::UploadId;
    use chord_types::blocks::Root;
    use chord_types::manifest::chunk_key;

    use super::*;
    use crate::node::testing::{Nodes, file};
    use crate::peer::wire::{Call, Header, Request};

    #[tokio::test]
    async fn a_chunk_that_comes_while_the_view_changes_is_not_entered() {
        let all = Nodes::start(3).await;
        let view = all.form(1).await;
        let node = &all.nodes[2];
        let held = node.view.current().unwrap();
        let payload = Bytes::from_static(b"the only copy");
        let name = file("a");
        let meta = (1..)
            .map(|part| {
                let upload = UploadId::from_bytes([7; 16]);
                let id = ChunkId { upload, part };
                ChunkMeta {
                    id,
                    name: name.clone(),
                    key: chunk_key(&name, id, false),
                    size: payload.len() as u32,
                    root: Root::of(&payload).0,
                    committed: false,
                }
            })
            .find(|meta| held.owns(node.me.disk, &meta.key))
            .unwrap();
        let joint = view.change_to(all.table(1, &[0, 1])).unwrap();
        let done = joint.complete().unwrap();
        // The body is on its way when the node is drained.
        let (drained, reference) = (node.view.clone(), done.reference());
        let body = futures::stream::once(async move {
            drained.adopt(joint).await.unwrap();
            drained.adopt(done).await.unwrap();
            Ok::<_, std::convert::Infallible>(payload)
        });
        let answers = &node.responder;
        let stored = answers
            .store_chunk(&held, meta.clone(), Tier::Clients, Box::pin(body))
            .await;
        assert_eq!(stored, Err(Refusal::OtherView(Some(reference))));
        assert!(node.reporter.report().inventory.is_empty());
        assert!(node.store.chunk_has(meta.id).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_damaged_disk_vouches_for_no_chunk() {
        let all = Nodes::start(1).await;
        let view = all.form(1).await;
        let node = &all.nodes[0];
        all.put(0, "a", vec![7; 100_000]).await.unwrap();
        let meta = node.store.chunks_after(None, 1).await.unwrap().items;
        let (id, key) = (meta[0].id, meta[0].key);
        let ask = async |request| {
            let header = Header {
                cluster: node.me.cluster.clone(),
                view: view.reference(),
                to: node.me.disk,
                from: node.me.ordinal,
            };
            node.responder.handle(Call { header, request }).await
        };
        let has = || Request::HasChunks { chunks: vec![id] };
        assert!(matches!(ask(has()).await, Ok(Answer::Has(has)) if has == [true]));
        let torn = || Err::<(), _>(StoreError::Damaged("a record is torn".into()));
        node.store.transact(move |_| torn()).await.unwrap_err();
        assert!(matches!(ask(has()).await, Err(Refusal::Failed(_))));
        let ensure = Request::Ensure {
            name: file("a"),
            chunk: PlacedChunk {
                id,
                key,
                size: meta[0].size,
                root: meta[0].root,
            },
            committed: true,
            sources: vec![],
        };
        assert!(matches!(ask(ensure).await, Err(Refusal::Failed(_))));
        // What it still has right is given out: it may be the last.
        assert!(node.store.chunk_read(id, 0..1).await.is_ok());
    }
}
