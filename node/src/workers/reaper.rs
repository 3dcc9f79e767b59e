//! The reaper: takes garbage away. A chunk goes only when a *decided* register of
//! its name is present and names its upload neither as current nor as pending
//! (rule 7); where there is no register the chunk stays. Uploads whose
//! coordinator says that it does not stream them any more are expired first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord_placement::Range;
use chord_types::manifest::PlacedChunk;
use chord_types::{ChunkId, FileName, Id, UploadId};

use super::copies::{target_owners, who_has};
use crate::answer::owns;
use crate::node::{Current, Node};
use crate::peer::client::PeerError;
use crate::peer::wire::{Answer, Request};
use crate::quorum::drive;
use crate::store::ChunkMeta;
use chord_register::proposer::Proposer;
use chord_register::{Change, Pending};

/// Its name in the status.
pub const NAME: &str = "reaper";
/// How long garbage is left at the least, unless its disk is full: who has just been
/// told of a version comes for its chunks by then. Who is in the middle of them is
/// asked for.
const GRACE: Duration = Duration::from_secs(10);
/// Names that are remembered; past it the full pass finds them.
const MAX_EXPECTED: usize = 100_000;
const BATCH: usize = 256;

/// An upload of this name may be garbage: looked into after the grace.
pub fn expect(node: &Node, name: FileName, upload: UploadId) {
    let mut reap = node.reap.lock().unwrap_or_else(|p| p.into_inner());
    if reap.len() < MAX_EXPECTED {
        reap.entry((name, upload)).or_insert_with(Instant::now);
    }
}

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    let every = Duration::from_millis(node.args.replicate_every_ms.max(1_000));
    let mut last_pass = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        reap_expected(&node).await;
        if last_pass.elapsed() >= every {
            last_pass = Instant::now();
            find_uncommitted(&node).await;
            reap_remains(&node).await;
            expire_abandoned(&node, BATCH).await;
            node.workers.count(NAME, 0, 0);
        }
    }
}

async fn reap_expected(node: &Arc<Node>) {
    // Who deletes to make room is not to wait for it.
    let full = node.store.space().available < u64::from(node.args.chunk_size);
    let grace = if full { Duration::ZERO } else { GRACE };
    let due: Vec<(FileName, UploadId)> = {
        let reap = node.reap.lock().unwrap_or_else(|p| p.into_inner());
        let due = reap.iter().filter(|(_, at)| at.elapsed() >= grace);
        let mut due: Vec<_> = due.map(|(what, at)| (*at, what)).collect();
        // The oldest first: without a grace, what has to be kept yet is due again each
        // time, and would keep the others from their turn.
        due.sort_unstable_by_key(|(at, _)| *at);
        let due = due.into_iter().take(BATCH);
        due.map(|(_, what)| what.clone()).collect()
    };
    for (name, upload) in due {
        let finished = reap(node, &name, upload).await;
        let mut reap = node.reap.lock().unwrap_or_else(|p| p.into_inner());
        if finished {
            reap.remove(&(name, upload));
        } else if let Some(at) = reap.get_mut(&(name, upload)) {
            *at = Instant::now();
        }
    }
}

/// Whether nothing is left to find out about this upload.
async fn reap(node: &Arc<Node>, name: &FileName, upload: UploadId) -> bool {
    let mine = match chunks_of(node, name, upload).await {
        Ok(mine) if mine.is_empty() => return true,
        Ok(mine) => mine,
        Err(error) => {
            node.workers.say(NAME, "failed", error);
            return false;
        }
    };
    match drive::read(node, name).await {
        Ok(Some(value)) if value.names_upload(&upload) => {
            if value.pending.iter().all(|p| p.upload != upload) {
                let _ = node.store.chunk_set_committed(mine).await;
            }
            true
        }
        Ok(Some(_)) => {
            // A full disk cannot wait: the download breaks off.
            let room = node.store.space().available > 0;
            if room && is_read(node, upload).await {
                let why = format!("a replaced version of {name:?} is still being read");
                node.workers.say(NAME, "waiting", why);
                return false;
            }
            for chunk in &mine {
                match node.store.chunk_remove(*chunk).await {
                    Ok(_) => node.workers.count(NAME, 1, 0),
                    Err(error) => {
                        node.workers.say(NAME, "failed", error.to_string());
                        return false;
                    }
                }
            }
            node.workers.say(NAME, "idle", "no garbage is known");
            true
        }
        Ok(None) => {
            node.workers.say(
                NAME,
                "waiting",
                format!("{name:?} has no register: its chunks are kept"),
            );
            true
        }
        Err(problem) => {
            node.workers.say(NAME, "waiting", problem.to_string());
            false
        }
    }
}

/// Whether a member that lives sends an upload to a client.
async fn is_read(node: &Arc<Node>, upload: UploadId) -> bool {
    if node.readers.read(&upload) {
        return true;
    }
    let Some(current) = node.current() else {
        return false;
    };
    let members: Vec<_> = {
        let ring = node.ring.lock().unwrap_or_else(|p| p.into_inner());
        let members = current.view.members().into_iter();
        members.filter(|m| ring.alive(m.ordinal)).collect()
    };
    let asked = members.iter().map(|m| {
        let request = Request::Reading { upload };
        node.ask(&current, m.ordinal, m.disk, request)
    });
    let answers = futures::future::join_all(asked).await;
    // One that lives and does not understand the question may well be reading.
    answers.iter().any(|answer| {
        matches!(
            answer,
            Ok(Answer::Active(true)) | Err(PeerError::NotUnderstood(..))
        )
    })
}

async fn chunks_of(node: &Node, name: &FileName, upload: UploadId) -> Result<Vec<ChunkId>, String> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = node
            .store
            .chunks_of(name.clone(), after, BATCH)
            .await
            .map_err(|e| e.to_string())?;
        found.extend(
            page.items
                .iter()
                .map(|c| c.id)
                .filter(|id| id.upload == upload),
        );
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// Every upload on this disk is looked into: its news may have been missed, of
/// its end as well as of its commit (a late copy lands after that was told).
async fn find_uncommitted(node: &Arc<Node>) {
    let mut after = None;
    loop {
        let Ok(page) = node.store.chunks_by_name(after, BATCH).await else {
            return;
        };
        let mut asked: BTreeMap<FileName, BTreeMap<UploadId, Vec<ChunkId>>> = BTreeMap::new();
        for chunk in page.items {
            let unnoted = asked
                .entry(chunk.name)
                .or_default()
                .entry(chunk.id.upload)
                .or_default();
            if !chunk.committed {
                unnoted.push(chunk.id);
            }
        }
        for (name, uploads) in asked {
            // One read a name; only what looks like garbage is looked into again.
            let Ok(Some(value)) = drive::read(node, &name).await else {
                continue;
            };
            for (upload, unnoted) in uploads {
                if !value.names_upload(&upload) {
                    expect(node, name.clone(), upload);
                } else if !unnoted.is_empty() && value.pending.iter().all(|p| p.upload != upload) {
                    let _ = node.store.chunk_set_committed(unnoted).await;
                }
            }
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

/// What is left of damaged copies goes like other chunks: as garbage, or from a
/// disk that does not owe it once all owners hold it whole.
async fn reap_remains(node: &Arc<Node>) {
    let mut after = None;
    loop {
        let Ok(page) = node.store.chunks_missing(after, BATCH).await else {
            return;
        };
        for meta in page.items {
            let Some(current) = node.current() else {
                return;
            };
            let Ok(Some(value)) = drive::read(node, &meta.name).await else {
                continue;
            };
            let upload = meta.id.upload;
            let garbage = !value.names_upload(&upload) && !is_read(node, upload).await;
            if garbage || is_elsewhere(node, &current, &meta).await {
                if let Err(error) = node.store.chunk_remove(meta.id).await {
                    node.workers.say(NAME, "failed", error.to_string());
                    return;
                }
                node.workers.count(NAME, 1, 0);
            }
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

/// Whether this disk owes a damaged chunk to nobody: it is no owner, and nothing is
/// left here or all owners have all of it.
async fn is_elsewhere(node: &Arc<Node>, current: &Arc<Current>, meta: &ChunkMeta) -> bool {
    if owns(node, current, &meta.key) {
        return false;
    }
    if !node.store.chunk_remains(meta.id).await.unwrap_or(true) {
        return true;
    }
    let chunk = PlacedChunk {
        id: meta.id,
        key: meta.key,
        size: meta.size,
        root: meta.root,
    };
    let owners = target_owners(current, &meta.key);
    let holders = who_has(node, current, &[chunk], |_| owners.clone()).await;
    let whole = owners
        .iter()
        .filter(|(_, disk)| holders.first().and_then(|h| h.get(disk)) == Some(&true));
    let wanted = usize::from(current.view.new_table().replication);
    whole.count() >= wanted
        && node
            .current()
            .is_some_and(|now| now.reference == current.reference)
}

/// Pending uploads whose coordinator is gone are taken out of their registers, of
/// which so many are read at a time.
async fn expire_abandoned(node: &Arc<Node>, batch: usize) {
    let whole = Range {
        after: Id([0; 20]),
        upto: Id([0; 20]),
    };
    let mut after: Option<(Id, FileName)> = None;
    loop {
        let from = after.clone();
        let Ok(page) = node
            .store
            .read(move |txn| txn.registers_in(&whole, from.as_ref(), batch))
            .await
        else {
            return;
        };
        for register in page.items {
            for pending in &register.value.pending {
                // The view of now: it is not older than the one this was entered in.
                let Some(current) = node.current() else {
                    return;
                };
                if abandoned(node, &current, pending).await {
                    let change = Change::Expire {
                        upload: pending.upload,
                    };
                    if drive::run(node, &register.name, Proposer::new(change), None)
                        .await
                        .is_ok()
                    {
                        tracing::info!(name = %register.name, upload = %pending.upload, "expired an abandoned upload");
                        expect(node, register.name.clone(), pending.upload);
                    }
                }
            }
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

/// Whether nobody streams an upload any more. A coordinator that does not answer
/// may still be at it.
async fn abandoned(node: &Arc<Node>, current: &Arc<Current>, pending: &Pending) -> bool {
    let members = current.view.members();
    let Some(member) = members.iter().find(|m| m.disk == pending.disk) else {
        // Its disk is in no view: what it streams cannot be committed by a member.
        return true;
    };
    let request = Request::UploadActive {
        upload: pending.upload,
        boot: pending.boot,
    };
    matches!(
        node.ask(current, member.ordinal, member.disk, request)
            .await,
        Ok(Answer::Active(false))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Nodes, file};
    use chord_register::Condition;

    /// Enters an upload that a node streams.
    async fn begin(node: &Arc<Node>, name: &FileName, upload: UploadId) {
        node.uploads.lock().unwrap().insert(upload);
        let pending = Pending {
            upload,
            disk: node.disk(),
            boot: node.store.boot(),
            since_ms: 0,
        };
        let change = Change::Begin {
            pending,
            condition: Condition::default(),
        };
        let began = drive::run(node, name, Proposer::new(change), None).await;
        began.unwrap();
    }

    async fn is_pending(node: &Arc<Node>, name: &FileName, upload: UploadId) -> bool {
        let value = drive::read(node, name).await.unwrap().unwrap();
        value.pending.iter().any(|p| p.upload == upload)
    }

    #[tokio::test]
    async fn garbage_goes_at_once_from_a_full_disk_only() {
        let all = Nodes::start(1).await;
        all.form(1).await;
        let node = &all.nodes[0];
        let body = vec![7u8; 200_000];
        all.put(0, "f", body.clone()).await.unwrap();
        let first = node.store.chunks_by_name(None, BATCH).await.unwrap();
        let old = first.items[0].id.upload;
        all.put(0, "f", body).await.unwrap();
        expect(node, file("f"), old);
        let held = async || chunks_of(node, &file("f"), old).await.unwrap().len();
        reap_expected(node).await;
        assert!(held().await > 1, "somebody may be about to read it");
        let full = all.fill(0);
        reap_expected(node).await;
        assert_eq!(held().await, 0);
        drop(full);
    }

    #[tokio::test]
    async fn an_upload_through_a_node_that_joined_during_the_pass_is_not_expired() {
        let all = Nodes::start(3).await;
        let uid = all.nodes[0].cluster.clone();
        let first = chord_types::View::first(uid, all.table(1, &[0, 1])).unwrap();
        let joint = first.change_to(all.table(1, &[0, 1, 2])).unwrap();
        let after = Current::new(joint.clone());
        let (old, slow, new) = (&all.nodes[0], &all.nodes[1], &all.nodes[2]);
        all.give(&[0, 1], &first).await;
        // Two names of the first node, in the order in which the pass sees them.
        let mut names: Vec<FileName> = (0..)
            .map(|n| file(&format!("n{n}")))
            .filter(|name| {
                let owners = after.placements.owners(&Id::of_file(name));
                owners.iter().all(|m| m.disk == old.disk())
            })
            .take(2)
            .collect();
        names.sort_by_key(Id::of_file);
        let [one, two] = [1, 2].map(|n| UploadId::from_bytes([n; 16]));
        begin(slow, &names[0], one).await;
        all.put(0, names[1].as_str(), "x").await.unwrap();
        // The pass waits for the first coordinator's answer; meanwhile another
        // node joins and streams the second name.
        all.hang(1, true);
        let pass = tokio::spawn({
            let old = old.clone();
            async move { expire_abandoned(&old, 1).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        all.give(&[0, 2], &joint).await;
        begin(new, &names[1], two).await;
        all.hang(1, false);
        pass.await.unwrap();
        assert!(is_pending(new, &names[0], one).await);
        assert!(is_pending(new, &names[1], two).await);
        // What nobody streams any more goes.
        new.uploads.lock().unwrap().clear();
        expire_abandoned(old, 1).await;
        assert!(!is_pending(new, &names[1], two).await);
    }
}
