//! The migrator: brings what this node holds and does not own to its owners. At
//! once when the view changes, and on a schedule.
//!
//! In a joint view it produces the evidence that the operator waits for
//! (`Sync::settled`): every register that this node held in a changing range has
//! been reconciled in both tables, and every chunk it holds, or that a register
//! of its own names, is durable on all its owners in the new table.

use std::sync::Arc;
use std::time::Duration;

use chord_placement::Range;
use chord_types::manifest::PlacedChunk;
use chord_types::report::Sync;
use chord_types::{FileName, Id};
use futures::StreamExt;

use super::copies::{Agreement, ballots_agree, ensure_chunks};
use crate::node::{Current, Node};
use crate::quorum::drive;
use crate::store::{ChunkMeta, Register};

/// Its name in the status.
pub const NAME: &str = "migrator";
/// Registers that are looked at together.
const BATCH: usize = 128;
/// Registers that are reconciled, and chunks that are moved, at a time.
const AT_ONCE: usize = 8;
/// How soon a change that could not be finished is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    let mut view = node.watch_view();
    let every = Duration::from_millis(node.args.migrate_every_ms.max(100));
    let mut tidied = None;
    loop {
        view.mark_unchanged();
        let wait = match node.current() {
            Some(current) => {
                let wait = round(&node, &current).await;
                // Once a view, behind all that somebody waits for.
                if wait > Duration::ZERO && tidied != Some(current.reference) {
                    match super::leftovers::forget_promises(&node, &current).await {
                        Ok(()) => tidied = Some(current.reference),
                        Err(why) => tracing::debug!(why, "cannot forget old promises"),
                    }
                }
                wait.min(every)
            }
            None => {
                node.workers.say(NAME, "waiting", "for a view");
                every
            }
        };
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = node.workers.migrate_now.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One round; answers how long to wait for the next.
async fn round(node: &Arc<Node>, current: &Arc<Current>) -> Duration {
    let mut wait = Duration::from_secs(3600);
    if current.view.stable().is_none() {
        if !node.report().sync.settled && !settle(node, current).await {
            wait = RETRY;
        }
    } else {
        set_sync(node, current, true, 0, None);
    }
    if node
        .current()
        .is_some_and(|c| c.reference != current.reference)
    {
        return Duration::ZERO;
    }
    if current.view.stable().is_some() {
        super::dropped::take_over(node, current).await;
        super::leftovers::clear(node, current).await;
    }
    node.workers.say(
        NAME,
        "idle",
        "everything is where the view wants it, as far as this node knows",
    );
    let inventory = node.report().inventory;
    let left = inventory.hints + inventory.dropped;
    if left > 0 || !node.is_member() {
        wait.min(Duration::from_secs(1))
    } else {
        wait
    }
}

fn set_sync(node: &Node, current: &Current, settled: bool, pending: u64, waiting: Option<String>) {
    let mut sync = node.sync.lock().unwrap_or_else(|p| p.into_inner());
    // A newer view may have been taken meanwhile; what was proved is of this one.
    if sync
        .as_ref()
        .is_some_and(|s| s.epoch > current.reference.epoch)
    {
        return;
    }
    *sync = Some(Sync {
        epoch: current.reference.epoch,
        hash: current.reference.hash,
        settled,
        pending,
        waiting,
    });
}

/// Makes the evidence for a joint view; whether it is complete.
async fn settle(node: &Arc<Node>, current: &Arc<Current>) -> bool {
    node.workers.say(
        NAME,
        "working",
        format!("moving what view {} moves", current.reference.epoch),
    );
    let registers = settle_registers(node, current).await;
    let chunks = match &registers {
        Ok(_) => settle_chunks(node, current).await,
        Err(_) => Ok((0, None)),
    };
    let (pending, waiting) = match (registers, chunks) {
        (Ok((a, why)), Ok((b, other))) => (a + b, why.or(other)),
        (Err(why), _) | (_, Err(why)) => (1, Some(why)),
    };
    let settled = pending == 0
        && node
            .current()
            .is_some_and(|c| c.reference == current.reference);
    if let Some(why) = &waiting {
        node.workers.say(NAME, "waiting", why.clone());
    }
    set_sync(node, current, settled, pending, waiting);
    settled
}

type Left = Result<(u64, Option<String>), String>;

/// Reconciles every register of a changing range, and looks after the changing
/// chunks of every register. Answers what is left to do.
async fn settle_registers(node: &Arc<Node>, current: &Arc<Current>) -> Left {
    let whole = Range {
        after: Id([0; 20]),
        upto: Id([0; 20]),
    };
    let mut after: Option<(Id, FileName)> = None;
    let (mut left, mut waiting, mut done) = (0, None, 0);
    loop {
        let from = after.clone();
        let page = node
            .store
            .read(move |txn| txn.registers_in(&whole, from.as_ref(), BATCH))
            .await
            .map_err(|e| e.to_string())?;
        let moving: Vec<FileName> = page
            .items
            .iter()
            .filter(|r| current.placements.changes(&r.key))
            .map(|r| r.name.clone())
            .collect();
        let agreed = ballots_agree(node, current, &moving).await;
        // One ballot at all owners of both tables is decided and everywhere.
        let open: Vec<FileName> = moving
            .into_iter()
            .zip(agreed)
            .filter(|(_, agreement)| !matches!(agreement, Agreement::All(Some(_))))
            .map(|(name, _)| name)
            .collect();
        let results: Vec<Result<_, String>> = futures::stream::iter(open)
            .map(|name| async move { drive::settle(node, &name).await.map_err(|e| e.to_string()) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for result in results {
            match result {
                Ok(_) => done += 1,
                Err(why) => {
                    left += 1;
                    waiting = Some(why);
                }
            }
        }
        let (missing, why) = settle_manifests(node, current, &page.items).await;
        left += missing;
        waiting = why.or(waiting);
        if node
            .current()
            .is_none_or(|c| c.reference != current.reference)
        {
            return Err("the view has changed".into());
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    node.workers.count(NAME, done, u64::from(left > 0));
    Ok((left, waiting))
}

/// The changing chunks that these registers' current versions name.
async fn settle_manifests(
    node: &Arc<Node>,
    current: &Arc<Current>,
    registers: &[Register],
) -> (u64, Option<String>) {
    let work: Vec<(FileName, Vec<PlacedChunk>)> = registers
        .iter()
        .filter_map(|r| {
            let manifest = r.value.current.as_ref()?;
            let chunks: Vec<PlacedChunk> = manifest
                .chunks(&r.name)
                .filter(|c| current.placements.changes(&c.key))
                .collect();
            (!chunks.is_empty()).then(|| (r.name.clone(), chunks))
        })
        .collect();
    let results: Vec<_> = futures::stream::iter(work)
        .map(|(name, chunks)| async move { move_chunks(node, current, &name, &chunks, true).await })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    results
        .into_iter()
        .fold((0, None), |(sum, why), (missing, other)| {
            (sum + missing, other.or(why))
        })
}

/// Moves chunks of one name. A version that was replaced meanwhile needs no
/// moving: its chunks count as missing only if the register still names them.
async fn move_chunks(
    node: &Arc<Node>,
    current: &Arc<Current>,
    name: &FileName,
    chunks: &[PlacedChunk],
    committed: bool,
) -> (u64, Option<String>) {
    let (missing, why) = ensure_chunks(node, current, name, chunks, committed).await;
    if missing == 0 {
        return (0, None);
    }
    let Some(first) = chunks.first() else {
        return (0, None);
    };
    match drive::read(node, name).await {
        Ok(Some(value)) if !value.names_upload(&first.id.upload) => (0, None),
        _ => (missing, why),
    }
}

/// Every chunk on this disk in a changing range, whoever names it.
async fn settle_chunks(node: &Arc<Node>, current: &Arc<Current>) -> Left {
    let mut after = None;
    let (mut left, mut waiting) = (0, None);
    loop {
        let page = node
            .store
            .chunks_after(after, BATCH)
            .await
            .map_err(|e| e.to_string())?;
        let moving: Vec<ChunkMeta> = page
            .items
            .into_iter()
            .filter(|c| current.placements.changes(&c.key))
            .collect();
        let results: Vec<_> = futures::stream::iter(moving)
            .map(|meta| async move {
                let chunk = PlacedChunk {
                    id: meta.id,
                    key: meta.key,
                    size: meta.size,
                    root: meta.root,
                };
                move_chunks(node, current, &meta.name, &[chunk], meta.committed).await
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (missing, why) in results {
            left += missing;
            waiting = why.or(waiting);
        }
        if node
            .current()
            .is_none_or(|c| c.reference != current.reference)
        {
            return Err("the view has changed".into());
        }
        after = page.next;
        if after.is_none() {
            return Ok((left, waiting));
        }
    }
}
