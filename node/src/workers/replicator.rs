//! The replicator: keeps R copies of what this node answers for. It pays debts
//! at once, and compares with the other owners on a schedule.
//!
//! Of the owners of a name the first that is alive does the comparing, so that
//! work is done once; when it falls silent the next one takes over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chord_api::manifest::PlacedChunk;
use chord_api::placement::Range;
use chord_api::report::Copies;
use chord_api::{FileName, Id};
use futures::StreamExt;

use super::copies::{Agreement, ballots_agree, repair, target_owners, who_has};
use crate::node::{Current, Node};
use crate::register::Value;
use crate::store::Register;

/// Its name in the status.
pub const NAME: &str = "replicator";
const DEBTS: &str = "debts";
const BATCH: usize = 128;
/// Names that are repaired at a time.
const AT_ONCE: usize = 4;
/// How long a debt that could not be paid rests.
const REST: Duration = Duration::from_secs(2);

/// Compares and repairs on a schedule.
pub async fn run(node: Arc<Node>) {
    let every = Duration::from_millis(node.args.replicate_every_ms.max(100));
    let mut view = node.watch_view();
    loop {
        view.mark_unchanged();
        if let Some(current) = node.current() {
            match pass(&node, &current).await {
                Ok(()) => {}
                Err(why) => node.workers.say(NAME, "waiting", why),
            }
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Pays debts as they come.
pub async fn pay_debts(node: Arc<Node>) {
    loop {
        let Some(name) = node.next_debt() else {
            node.workers.say(DEBTS, "idle", "no copy is owed");
            node.debts_changed.notified().await;
            // A moment, so that many debts of one name are paid once.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        node.workers.say(
            DEBTS,
            "working",
            format!("completing the copies of {name:?}"),
        );
        match repair(&node, &name, None).await {
            Ok(repaired) if repaired.missing == 0 => node.workers.count(DEBTS, 1, 0),
            result => {
                node.workers.count(DEBTS, 0, 1);
                let why = match result {
                    Ok(repaired) => repaired.why.unwrap_or_default(),
                    Err(problem) => problem.to_string(),
                };
                node.workers.say(DEBTS, "waiting", why);
                node.owe(&name);
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Whether this node is the one that looks after a key: the first owner in the
/// target table that is alive.
fn looks_after(node: &Node, current: &Current, key: &Id) -> bool {
    let me = node.disk();
    let ring = node.ring.lock().unwrap_or_else(|p| p.into_inner());
    current
        .placements
        .target()
        .owners(key)
        .find(|m| m.disk == me || ring.alive(m.ordinal))
        .is_some_and(|m| m.disk == me)
}

/// One pass over all registers of this node.
async fn pass(node: &Arc<Node>, current: &Arc<Current>) -> Result<(), String> {
    node.workers
        .say(NAME, "working", "comparing with the other owners");
    node.forget_debt_overflow();
    let whole = Range {
        after: Id([0; 20]),
        upto: Id([0; 20]),
    };
    let mut after: Option<(Id, FileName)> = None;
    let (mut missing, mut repaired) = (0u64, 0u64);
    loop {
        let from = after.clone();
        let page = node
            .store
            .read(move |txn| txn.registers_in(&whole, from.as_ref(), BATCH))
            .await
            .map_err(|e| e.to_string())?;
        let mine: Vec<&Register> = page
            .items
            .iter()
            .filter(|r| looks_after(node, current, &r.key))
            .collect();
        let broken = incomplete(node, current, &mine).await;
        let results: Vec<_> = futures::stream::iter(broken)
            .map(|name| async move { (repair(node, &name, None).await, name) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (result, name) in results {
            match result {
                Ok(done) if done.missing == 0 => repaired += 1,
                Ok(done) => {
                    tracing::debug!(%name, why = done.why, "copies are missing");
                    missing += done.missing;
                }
                Err(problem) => {
                    tracing::debug!(%name, %problem, "cannot repair");
                    missing += 1;
                }
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    node.workers.count(NAME, repaired, u64::from(missing > 0));
    let same = node
        .current()
        .is_some_and(|c| c.reference == current.reference);
    let all_alive = {
        let ring = node.ring.lock().unwrap_or_else(|p| p.into_inner());
        let me = node.disk();
        current
            .view
            .new_table()
            .live()
            .all(|m| m.disk == me || ring.alive(m.ordinal))
    };
    *node.copies.lock().unwrap_or_else(|p| p.into_inner()) = Some(Copies {
        epoch: current.reference.epoch,
        complete: same && missing == 0 && all_alive,
        missing,
    });
    if missing == 0 {
        node.workers.say(NAME, "idle", "all copies are there");
    } else {
        node.workers
            .say(NAME, "waiting", format!("{missing} copies are missing"));
    }
    Ok(())
}

/// Those of `registers` of which some owner lacks the register or a chunk.
async fn incomplete(
    node: &Arc<Node>,
    current: &Arc<Current>,
    registers: &[&Register],
) -> Vec<FileName> {
    let names: Vec<FileName> = registers.iter().map(|r| r.name.clone()).collect();
    let agreed = ballots_agree(node, current, &names).await;
    let mut broken: BTreeSet<FileName> = names
        .iter()
        .zip(&agreed)
        .filter(|(_, agreement)| !matches!(agreement, Agreement::All(Some(_))))
        .map(|(name, _)| name.clone())
        .collect();
    let chunks: Vec<(FileName, PlacedChunk)> = registers
        .iter()
        .filter_map(|r| current_chunks(&r.name, &r.value))
        .flatten()
        .collect();
    for batch in chunks.chunks(1024) {
        let only: Vec<PlacedChunk> = batch.iter().map(|(_, c)| *c).collect();
        let holders = who_has(node, current, &only, |c| target_owners(current, &c.key)).await;
        for ((name, chunk), holders) in batch.iter().zip(holders) {
            let owners = target_owners(current, &chunk.key);
            let short = owners.len() < usize::from(current.view.new_table().replication);
            if short
                || owners
                    .iter()
                    .any(|(_, disk)| holders.get(disk) != Some(&true))
            {
                broken.insert(name.clone());
            }
        }
    }
    broken.into_iter().collect()
}

fn current_chunks(name: &FileName, value: &Value) -> Option<Vec<(FileName, PlacedChunk)>> {
    let manifest = value.current.as_ref()?;
    Some(
        manifest
            .chunks(name)
            .map(|chunk| (name.clone(), chunk))
            .collect(),
    )
}
