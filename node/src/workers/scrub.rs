//! The scrub: reads every chunk on this disk now and then, slowly, and owes what
//! is damaged or gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::notes::{Debts, Progress};
use crate::store::{ChunkError, ChunkMeta, Store, StoreError};
use crate::view::{Interrupted, walk};

const NAME: &str = "scrub";
/// It rests this many times as long as it read, and this long at least.
const REST: u32 = 20;
const LEAST: Duration = Duration::from_millis(50);
/// The pause between two full passes.
const BETWEEN: Duration = Duration::from_secs(3600);
const BATCH: usize = 64;

/// Reads chunks.
pub struct Scrub {
    pub(crate) store: Store,
    pub(crate) debts: Arc<Debts>,
    pub(crate) progress: Arc<Progress>,
}

impl Scrub {
    /// Runs until the node stops.
    pub async fn run(self: Arc<Scrub>) {
        loop {
            self.progress.set(NAME, "working", "reading every chunk");
            match self.pass().await {
                Err(why) => self.progress.set(NAME, "failed", why.to_string()),
                Ok(()) => self.progress.set(NAME, "idle", "every chunk has been read"),
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    async fn pass(&self) -> Result<(), Interrupted> {
        let mut pages = walk::chunks(&self.store, BATCH);
        while let Some(page) = pages.next().await? {
            for chunk in page {
                let began = Instant::now();
                self.check(&chunk).await?;
                tokio::time::sleep((began.elapsed() * REST).max(LEAST)).await;
            }
        }
        Ok(())
    }

    /// Reads one chunk; an error ends the pass.
    async fn check(&self, chunk: &ChunkMeta) -> Result<(), StoreError> {
        let (name, id) = (&chunk.name, chunk.id);
        match self.store.chunk_verify(id).await {
            Ok(_) => self.progress.count(NAME, 1, 0),
            Err(ChunkError::Missing | ChunkError::Damaged(_)) => {
                tracing::warn!(%name, chunk = %id, "a copy is damaged or gone");
                self.progress.count(NAME, 0, 1);
                self.debts.owe(name);
            }
            Err(error) => {
                if let Some(failure) = self.store.failure() {
                    return Err(failure);
                }
                tracing::warn!(%name, chunk = %id, "a copy cannot be looked at: {error}");
                self.progress.count(NAME, 0, 1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::Nodes;

    #[tokio::test]
    async fn one_chunk_that_cannot_be_read_does_not_hide_another() {
        let all = Nodes::start(1).await;
        all.form(1).await;
        let node = &all.nodes[0];
        for name in ["a", "b", "c"] {
            all.put(0, name, vec![7; 100_000]).await.unwrap();
        }
        let chunks = node.store.chunks_after(None, 10).await.unwrap().items;
        let [first, .., last] = &chunks[..] else {
            panic!("{chunks:?}");
        };
        all.faults[0].set_unreadable(Some(first.id.to_string()));
        let name = last.id.to_string();
        let chunks = all.disk(0).join("chunks").join(&name[..2]);
        std::fs::remove_file(chunks.join(&name)).unwrap();
        node.workers.scrub.pass().await.unwrap();
        let debts = [node.debts.next(), node.debts.next(), node.debts.next()];
        let mut owed: Vec<_> = debts.into_iter().flatten().collect();
        owed.sort();
        owed.dedup();
        let mut wanted = vec![first.name.clone(), last.name.clone()];
        wanted.sort();
        wanted.dedup();
        assert_eq!(owed, wanted);
    }
}
