//! The census: counts the files of which this node is the primary, for reports.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chord_types::{FileName, Id};

use crate::node::{Current, Node};

/// It rests at least this long, and this many times as long as it counted.
const LEAST: Duration = Duration::from_secs(2);
const REST: u32 = 50;
const BATCH: usize = 1000;

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    loop {
        let began = Instant::now();
        if let Some(current) = node.current()
            && let Ok(files) = count(&node, &current).await
        {
            node.primary_files.store(files, Ordering::Relaxed);
        }
        tokio::time::sleep((began.elapsed() * REST).max(LEAST)).await;
    }
}

async fn count(node: &Arc<Node>, current: &Arc<Current>) -> Result<u64, crate::store::StoreError> {
    let me = node.disk();
    let (mut files, mut after) = (0, None);
    loop {
        let from = after.clone();
        let page = node
            .store
            .read(move |txn| txn.list("", from.as_ref().map(FileName::as_str), BATCH))
            .await?;
        let target = current.placements.target();
        files += page
            .items
            .iter()
            .filter(|l| l.current.is_some())
            .filter(|l| {
                target
                    .owners(&Id::of_file(&l.name))
                    .next()
                    .is_some_and(|m| m.disk == me)
            })
            .count() as u64;
        after = page.next;
        if after.is_none() {
            return Ok(files);
        }
    }
}
