//! Copies that this node no longer owes: hints of registers, and chunks of
//! ranges that belong to others. They go only on receipts from all R owners of
//! the present stable view, and not before their time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chord_types::FileName;
use chord_types::manifest::PlacedChunk;

use super::copies::{Agreement, ballots_agree, target_owners, who_has};
use super::migrator::NAME;
use crate::answer::owns;
use crate::node::{Current, Node};
use crate::quorum::drive;

const BATCH: usize = 128;
/// Between two steps of what is in no hurry.
const PAUSE: Duration = Duration::from_millis(20);

/// How long this process has known the view in force.
fn held_for(node: &Node, current: &Current) -> Duration {
    let mut since = node.view_since.lock().unwrap_or_else(|p| p.into_inner());
    match *since {
        Some((view, at)) if view == current.reference => at.elapsed(),
        _ => {
            *since = Some((current.reference, Instant::now()));
            Duration::ZERO
        }
    }
}

/// Clears what may go. A node outside the view clears at once: it is to leave.
pub async fn clear(node: &Arc<Node>, current: &Arc<Current>) {
    let held = held_for(node, current);
    let due = held >= Duration::from_millis(node.args.drop_redundant_after_ms) || !node.is_member();
    if !due {
        return;
    }
    // Chunks first: while a hint is left, the operator sees that this disk is
    // fuller than it will be.
    match clear_chunks(node, current).await {
        Ok(left) if still(node, current) => node.foreign_chunks.store(left, Ordering::Relaxed),
        Ok(_) => {}
        Err(why) => node.workers.say(NAME, "waiting", why),
    }
    if let Err(why) = clear_hints(node, current).await {
        node.workers.say(NAME, "waiting", why);
    }
}

fn still(node: &Node, current: &Current) -> bool {
    node.current()
        .is_some_and(|c| c.reference == current.reference)
}

/// Takes out promises of earlier views, which nobody is bound by any more.
pub async fn forget_promises(node: &Node, current: &Arc<Current>) -> Result<(), String> {
    let mut after: Option<FileName> = None;
    while still(node, current) {
        after = node
            .store
            .transact_freeing(move |txn| txn.forget_promises(after.as_ref()))
            .await
            .map_err(|e| e.to_string())?;
        if after.is_none() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// A hint goes when every owner holds a decided value that is not older.
async fn clear_hints(node: &Arc<Node>, current: &Arc<Current>) -> Result<(), String> {
    let mut after: Option<FileName> = None;
    loop {
        let from = after.clone();
        let page = node
            .store
            .read(move |txn| txn.hints(from.as_ref(), BATCH))
            .await
            .map_err(|e| e.to_string())?;
        let names: Vec<FileName> = page.items.iter().map(|r| r.name.clone()).collect();
        let agreed = ballots_agree(node, current, &names).await;
        let mut gone = Vec::new();
        for (hint, agreement) in page.items.into_iter().zip(agreed) {
            match agreement {
                Agreement::All(Some(ballot)) if ballot >= hint.ballot => gone.push(hint.name),
                // Rule 2: a hint never becomes a value by itself; it starts a
                // reconciliation of what the owners hold, with a ballot of this view.
                Agreement::All(_) | Agreement::Differ => {
                    if let Err(problem) = drive::reconcile(node, &hint.name).await {
                        tracing::debug!(name = %hint.name, %problem, "a hint has to stay");
                    }
                }
                Agreement::Silent => {}
            }
        }
        if !still(node, current) {
            return Err("the view has changed".into());
        }
        let epoch = current.reference.epoch;
        node.workers.count(NAME, gone.len() as u64, 0);
        node.store
            .transact(move |txn| {
                if txn.view().is_some_and(|v| v.epoch == epoch) {
                    for name in &gone {
                        txn.remove_hint(name)?;
                    }
                }
                Ok(())
            })
            .await
            .map_err(|e| e.to_string())?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// A chunk of somebody else's range goes when all its owners hold it. One that
/// its register no longer names is the reaper's. Answers how many are left.
async fn clear_chunks(node: &Arc<Node>, current: &Arc<Current>) -> Result<u64, String> {
    let mut after = None;
    let mut left = 0;
    loop {
        let page = node
            .store
            .chunks_after(after, BATCH)
            .await
            .map_err(|e| e.to_string())?;
        let foreign: BTreeMap<_, _> = page
            .items
            .into_iter()
            .filter(|c| !owns(node, current, &c.key))
            .map(|c| (c.id, c))
            .collect();
        let chunks: Vec<PlacedChunk> = foreign
            .values()
            .map(|c| PlacedChunk {
                id: c.id,
                key: c.key,
                size: c.size,
                root: c.root,
            })
            .collect();
        let owners = |c: &PlacedChunk| target_owners(current, &c.key);
        let holders = who_has(node, current, &chunks, owners).await;
        if !still(node, current) {
            return Err("the view has changed".into());
        }
        for (chunk, holders) in chunks.iter().zip(holders) {
            let owners = owners(chunk);
            let wanted = usize::from(current.view.new_table().replication);
            let receipts = owners
                .iter()
                .filter(|(_, disk)| holders.get(disk) == Some(&true))
                .count();
            if receipts >= wanted && still(node, current) {
                node.store
                    .chunk_remove(chunk.id)
                    .await
                    .map_err(|e| e.to_string())?;
                node.workers.count(NAME, 1, 0);
            } else if let Some(meta) = foreign.get(&chunk.id) {
                left += 1;
                super::reaper::expect(node, meta.name.clone(), chunk.id.upload);
                hand_over(node, current, meta, chunk).await;
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(left);
        }
    }
}

/// Owners that lack a chunk which a register still names are given it.
async fn hand_over(
    node: &Arc<Node>,
    current: &Arc<Current>,
    meta: &crate::store::ChunkMeta,
    chunk: &PlacedChunk,
) {
    match drive::read(node, &meta.name).await {
        Ok(Some(value)) if value.names_upload(&chunk.id.upload) => {
            let (missing, why) =
                super::copies::ensure_chunks(node, current, &meta.name, &[*chunk], meta.committed)
                    .await;
            if missing > 0 {
                tracing::debug!(name = %meta.name, ?why, "a chunk cannot be handed over yet");
            }
        }
        Ok(_) => {}
        Err(problem) => {
            tracing::debug!(name = %meta.name, %problem, "cannot tell whether a chunk is needed")
        }
    }
}
