//! The scrub: reads every chunk on this disk now and then, slowly, and owes what
//! is damaged or gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::store::ChunkError;

const NAME: &str = "scrub";
/// It rests this many times as long as it read.
const REST: u32 = 20;
/// The pause between two full passes.
const BETWEEN: Duration = Duration::from_secs(3600);

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    loop {
        node.workers.say(NAME, "working", "reading every chunk");
        if let Err(why) = pass(&node).await {
            node.workers.say(NAME, "failed", why);
        } else {
            node.workers.say(NAME, "idle", "every chunk has been read");
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

async fn pass(node: &Arc<Node>) -> Result<(), String> {
    let mut after = None;
    loop {
        let page = node
            .store
            .chunks_after(after, 64)
            .await
            .map_err(|e| e.to_string())?;
        for chunk in page.items {
            let began = Instant::now();
            match node.store.chunk_verify(chunk.id).await {
                Ok(_) => node.workers.count(NAME, 1, 0),
                Err(ChunkError::Missing | ChunkError::Damaged(_)) => {
                    tracing::warn!(name = %chunk.name, chunk = %chunk.id, "a copy is damaged or gone");
                    node.workers.count(NAME, 0, 1);
                    node.owe(&chunk.name);
                }
                Err(error) if node.store.failure().is_some() => return Err(error.to_string()),
                Err(error) => {
                    tracing::warn!(name = %chunk.name, chunk = %chunk.id, "a copy cannot be looked at: {error}");
                    node.workers.count(NAME, 0, 1);
                }
            }
            tokio::time::sleep((began.elapsed() * REST).max(Duration::from_millis(50))).await;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Nodes;

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
        let chunks = node.args.data.join("chunks").join(&name[..2]);
        std::fs::remove_file(chunks.join(&name)).unwrap();
        pass(node).await.unwrap();
        let debts = [node.next_debt(), node.next_debt(), node.next_debt()];
        let mut owed: Vec<_> = debts.into_iter().flatten().collect();
        owed.sort();
        owed.dedup();
        let mut wanted = vec![first.name.clone(), last.name.clone()];
        wanted.sort();
        wanted.dedup();
        assert_eq!(owed, wanted);
    }
}
