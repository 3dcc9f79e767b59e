//! The replicator: keeps R copies of what this node answers for. It pays debts
//! at once, and compares with the other owners on a schedule.
//!
//! Of the owners of a name the first that is alive does the comparing, so that
//! work is done once; when it falls silent the next one takes over. What that one
//! lacks it cannot find: each owner asks for that, and compares it itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chord_placement::Range;
use chord_types::manifest::PlacedChunk;
use chord_types::report::Copies;
use chord_types::{DiskId, FileName, Id, Ordinal};
use futures::StreamExt;

use super::copies::{Agreement, ballots_agree, repair, target_owners, who_has};
use crate::node::{Current, Node};
use crate::peer::wire::{Answer, Request};
use crate::store::Register;
use chord_register::Value;

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
        match repair(&node, &name).await {
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

/// The one that looks after a key: the first owner in the target table that is
/// alive; `None` where this node is no owner of it.
fn looker(node: &Node, current: &Current, key: &Id) -> Option<(Ordinal, DiskId)> {
    let me = node.disk();
    let target = current.placements.target();
    if !target.owners(key).any(|m| m.disk == me) {
        return None;
    }
    let ring = node.ring.lock().unwrap_or_else(|p| p.into_inner());
    target
        .owners(key)
        .find(|m| m.disk == me || ring.alive(m.ordinal))
        .map(|m| (m.ordinal, m.disk))
}

/// Names of which it could not be found out whether this node is to compare them.
#[derive(Default)]
struct Unknown {
    names: u64,
    /// Why the last of them could not, in words.
    why: String,
}

/// Those of `registers` that this node is to compare; `unknown` takes in how many
/// there are of which that could not be found out.
async fn to_compare<'r>(
    node: &Arc<Node>,
    current: &Arc<Current>,
    registers: &'r [Register],
    unknown: &mut Unknown,
) -> Vec<&'r Register> {
    let mut mine = Vec::new();
    let mut others: BTreeMap<(Ordinal, DiskId), Vec<&Register>> = BTreeMap::new();
    for register in registers {
        match looker(node, current, &register.key) {
            Some((_, disk)) if disk == node.disk() => mine.push(register),
            Some(other) => others.entry(other).or_default().push(register),
            None => {}
        }
    }
    for ((ordinal, disk), theirs) in others {
        let names = theirs.iter().map(|r| r.name.clone()).collect();
        let request = Request::Ballots { names };
        match node.ask(current, ordinal, disk, request).await {
            Ok(Answer::Ballots(ballots)) if ballots.len() == theirs.len() => {
                let lacks = theirs.iter().zip(&ballots).filter(|(_, b)| b.is_none());
                mine.extend(lacks.map(|(register, _)| *register));
            }
            answer => {
                unknown.names += theirs.len() as u64;
                unknown.why = match answer {
                    Err(error) => error.to_string(),
                    Ok(_) => format!("node {ordinal} answered something else"),
                };
            }
        }
    }
    mine
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
    let mut unknown = Unknown::default();
    let mut waiting = None;
    loop {
        let from = after.clone();
        let page = node
            .store
            .read(move |txn| txn.registers_in(&whole, from.as_ref(), BATCH))
            .await
            .map_err(|e| e.to_string())?;
        let mine = to_compare(node, current, &page.items, &mut unknown).await;
        let broken = incomplete(node, current, &mine).await;
        let results: Vec<_> = futures::stream::iter(broken)
            .map(|name| async move { (repair(node, &name).await, name) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (result, name) in results {
            match result {
                Ok(done) if done.missing == 0 => repaired += 1,
                Ok(done) => {
                    tracing::debug!(%name, why = done.why, "copies are missing");
                    missing += done.missing;
                    waiting = done.why.or(waiting);
                }
                Err(problem) => {
                    tracing::debug!(%name, %problem, "cannot repair");
                    missing += 1;
                    waiting = Some(format!("{name:?}: {}", problem.detail));
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
        complete: same && missing == 0 && unknown.names == 0 && all_alive,
        missing,
        unrepaired: missing,
        waiting,
    });
    if missing == 0 && unknown.names > 0 {
        let Unknown { names, why } = unknown;
        let why = format!("the copies of {names} names are not known: {why}");
        node.workers.say(NAME, "waiting", why);
    } else if missing == 0 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Nodes, file};

    #[tokio::test]
    async fn a_name_that_its_first_owner_lacks_is_found() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        let current = all.nodes[0].current().unwrap();
        let name = file("a");
        let key = Id::of_file(&name);
        let first = current.placements.target().owners(&key).next().unwrap();
        let first = first.ordinal.0 as usize;
        let other = (first + 1) % 3;
        all.silence(first, true);
        all.put(other, "a", vec![7; 100_000]).await.unwrap();
        // No debt is paid here: who owed the copies has been restarted.
        all.silence(first, false);
        let node = &all.nodes[first];
        let lacks = node.store.counts().unwrap();
        assert_eq!((lacks.registers, lacks.chunks), (0, 0));
        for node in &all.nodes {
            pass(node, &current).await.unwrap();
        }
        let has = node.store.counts().unwrap();
        assert_eq!(
            (has.registers, has.chunks),
            (1, 2),
            "100 000 bytes are two chunks"
        );
    }
}
