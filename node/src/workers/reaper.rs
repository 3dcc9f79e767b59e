//! The reaper: takes garbage away. A chunk goes only when a *decided* register of
//! its name is present and names its upload neither as current nor as pending
//! (rule 7); where there is no register the chunk stays. Uploads whose
//! coordinator says that it does not stream them any more are expired first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chord_register::{Change, Pending, Value};
use chord_types::{ChunkId, FileName, UploadId};
use tokio::time::Instant;

use super::owners::{Owners, is_whole};
use crate::notes::{Garbage, Progress, Readers};
use crate::peer::PeerError;
use crate::peer::wire::{Answer, Request};
use crate::quorum::Quorum;
use crate::ring::Ring;
use crate::store::{ChunkMeta, Store, StoreError};
use crate::view::{Current, Identity, Interrupted, ViewKeeper, walk};

/// Its name in the status.
const NAME: &str = "reaper";
/// How long garbage is left at the least, unless its disk is full: who has just been
/// told of a version comes for its chunks by then. Who is in the middle of them is
/// asked for.
const GRACE: Duration = Duration::from_secs(10);
/// Between two looks at what is expected to be garbage.
const EVERY: Duration = Duration::from_secs(1);
const BATCH: usize = 256;

/// Takes garbage away.
pub struct Reaper {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) store: Store,
    pub(crate) ring: Arc<Ring>,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) owners: Owners,
    pub(crate) garbage: Arc<Garbage>,
    pub(crate) readers: Readers,
    pub(crate) progress: Arc<Progress>,
    /// Bytes of a chunk.
    pub chunk_size: u64,
    /// Between two passes over the whole disk.
    pub every: Duration,
}

/// Whether a register has an upload as current, and no more as pending.
fn is_committed(value: &Value, upload: UploadId) -> bool {
    value.names_upload(&upload) && value.pending.iter().all(|p| p.upload != upload)
}

impl Reaper {
    /// Runs until the node stops.
    pub async fn run(self: Arc<Reaper>) {
        let mut last_pass = Instant::now();
        loop {
            tokio::time::sleep(EVERY).await;
            self.reap_expected().await;
            if last_pass.elapsed() >= self.every {
                last_pass = Instant::now();
                if let Err(why) = self.pass().await {
                    tracing::debug!(%why, "a pass over the chunks broke off");
                }
                self.progress.count(NAME, 0, 0);
            }
        }
    }

    /// Finds what nobody has told of.
    async fn pass(&self) -> Result<(), Interrupted> {
        // Each is worth doing where another cannot be done.
        let found = self.find_uncommitted().await;
        let reaped = self.reap_remains().await;
        self.expire_abandoned(BATCH).await?;
        found.and(reaped)
    }

    async fn reap_expected(&self) {
        // Who deletes to make room is not to wait for it.
        let full = self.store.space().available < self.chunk_size;
        let grace = if full { Duration::ZERO } else { GRACE };
        for (name, upload) in self.garbage.due(grace, BATCH) {
            match self.reap(&name, upload).await {
                Ok(true) => self.garbage.settle(&name, upload),
                Ok(false) => self.garbage.postpone(&name, upload),
                Err(why) => {
                    self.progress.set(NAME, "failed", why.to_string());
                    self.garbage.postpone(&name, upload);
                }
            }
        }
    }

    /// Whether nothing is left to find out about this upload.
    async fn reap(&self, name: &FileName, upload: UploadId) -> Result<bool, Interrupted> {
        let mine = self.chunks_of(name, upload).await?;
        if mine.is_empty() {
            return Ok(true);
        }
        let value = match self.quorum.read(name).await {
            Ok(Some(value)) => value,
            Ok(None) => {
                let detail = format!("{name:?} has no register: its chunks are kept");
                self.progress.set(NAME, "waiting", detail);
                return Ok(true);
            }
            Err(why) => {
                self.progress.set(NAME, "waiting", why.to_string());
                return Ok(false);
            }
        };
        if value.names_upload(&upload) {
            if is_committed(&value, upload) {
                let _ = self.store.chunk_set_committed(mine).await;
            }
            return Ok(true);
        }
        // A full disk cannot wait: the download breaks off.
        let room = self.store.space().available > 0;
        if room && self.is_read(upload).await {
            let detail = format!("a replaced version of {name:?} is still being read");
            self.progress.set(NAME, "waiting", detail);
            return Ok(false);
        }
        for chunk in mine {
            self.store.chunk_remove(chunk).await?;
            self.progress.count(NAME, 1, 0);
        }
        self.progress.set(NAME, "idle", "no garbage is known");
        Ok(true)
    }

    /// Whether a member that lives sends an upload to a client.
    async fn is_read(&self, upload: UploadId) -> bool {
        if self.readers.is_read(&upload) {
            return true;
        }
        let Some(current) = self.view.current() else {
            return false;
        };
        let members = current.view.members().into_iter();
        let asked = members.filter(|m| self.ring.alive(m.ordinal)).map(|m| {
            let request = Request::Reading { upload };
            self.quorum.ask(&current, m.ordinal, m.disk, request)
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

    async fn chunks_of(
        &self,
        name: &FileName,
        upload: UploadId,
    ) -> Result<Vec<ChunkId>, Interrupted> {
        let mut found = Vec::new();
        let mut pages = walk::chunks_of(&self.store, name, BATCH);
        while let Some(page) = pages.next().await? {
            let ids = page.iter().map(|c| c.id);
            found.extend(ids.filter(|id| id.upload == upload));
        }
        Ok(found)
    }

    /// Every upload on this disk is looked into: its news may have been missed, of
    /// its end as well as of its commit (a late copy lands after that was told).
    async fn find_uncommitted(&self) -> Result<(), Interrupted> {
        let mut pages = walk::chunks_by_name(&self.store, BATCH);
        while let Some(page) = pages.next().await? {
            let mut asked: BTreeMap<FileName, BTreeMap<UploadId, Vec<ChunkId>>> = BTreeMap::new();
            for chunk in page {
                let uploads = asked.entry(chunk.name).or_default();
                let unnoted = uploads.entry(chunk.id.upload).or_default();
                if !chunk.committed {
                    unnoted.push(chunk.id);
                }
            }
            for (name, uploads) in asked {
                // One read a name; only what looks like garbage is looked into again.
                let Ok(Some(value)) = self.quorum.read(&name).await else {
                    continue;
                };
                for (upload, unnoted) in uploads {
                    if !value.names_upload(&upload) {
                        self.garbage.expect(name.clone(), upload);
                    } else if !unnoted.is_empty() && is_committed(&value, upload) {
                        let _ = self.store.chunk_set_committed(unnoted).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// What is left of damaged copies goes like other chunks: as garbage, or from a
    /// disk that does not owe it once all owners hold it whole.
    async fn reap_remains(&self) -> Result<(), Interrupted> {
        let mut pages = walk::chunks_missing(&self.store, BATCH);
        while let Some(page) = pages.next().await? {
            for meta in page {
                let Some(current) = self.view.current() else {
                    return Ok(());
                };
                let Ok(Some(value)) = self.quorum.read(&meta.name).await else {
                    continue;
                };
                let upload = meta.id.upload;
                let garbage = !value.names_upload(&upload) && !self.is_read(upload).await;
                if garbage || self.is_elsewhere(&current, &meta).await {
                    self.remove(&meta).await?;
                }
            }
        }
        Ok(())
    }

    async fn remove(&self, meta: &ChunkMeta) -> Result<(), StoreError> {
        let removed = self.store.chunk_remove(meta.id).await;
        if let Err(error) = &removed {
            self.progress.set(NAME, "failed", error.to_string());
        }
        removed?;
        self.progress.count(NAME, 1, 0);
        Ok(())
    }

    /// Whether this disk owes a damaged chunk to nobody: it is no owner, and nothing is
    /// left here or all owners have all of it.
    async fn is_elsewhere(&self, current: &Current, meta: &ChunkMeta) -> bool {
        if current.owns(self.me.disk, &meta.key) {
            return false;
        }
        if !self.store.chunk_remains(meta.id).await.unwrap_or(true) {
            return true;
        }
        let chunk = meta.placed();
        let holders = self.owners.who_has(current, &[chunk]).await;
        let whole = holders
            .first()
            .is_some_and(|h| is_whole(current, &chunk, h));
        whole && self.view.holds(current)
    }

    /// Pending uploads whose coordinator is gone are taken out of their registers, of
    /// which so many are read at a time.
    async fn expire_abandoned(&self, batch: usize) -> Result<(), Interrupted> {
        let mut pages = walk::registers(&self.store, batch);
        while let Some(page) = pages.next().await? {
            for register in page {
                for pending in &register.value.pending {
                    // The view of now: it is not older than the one this was entered in.
                    let Some(current) = self.view.current() else {
                        return Ok(());
                    };
                    if self.is_abandoned(&current, pending).await {
                        self.expire(&register.name, pending.upload).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn expire(&self, name: &FileName, upload: UploadId) {
        let expired = self.quorum.change(name, Change::Expire { upload }).await;
        if expired.is_ok() {
            tracing::info!(%name, %upload, "expired an abandoned upload");
            self.garbage.expect(name.clone(), upload);
        }
    }

    /// Whether nobody streams an upload any more. A coordinator that does not answer
    /// may still be at it.
    async fn is_abandoned(&self, current: &Current, pending: &Pending) -> bool {
        let members = current.view.members();
        let Some(member) = members.iter().find(|m| m.disk == pending.disk) else {
            // Its disk is in no view: what it streams cannot be committed by a member.
            return true;
        };
        let request = Request::UploadActive {
            upload: pending.upload,
            boot: pending.boot,
        };
        let asked = self
            .quorum
            .ask(current, member.ordinal, member.disk, request);
        matches!(asked.await, Ok(Answer::Active(false)))
    }
}

#[cfg(test)]
mod tests {
    use chord_register::Condition;
    use chord_types::Id;

    use super::*;
    use crate::node::Node;
    use crate::node::testing::{Nodes, file};
    use crate::notes::uploads::Upload;

    /// Enters an upload that a node streams.
    async fn begin(node: &Node, name: &FileName, upload: UploadId) -> Upload {
        let running = node.uploads.begin(upload);
        let pending = Pending {
            upload,
            disk: node.me.disk,
            boot: node.me.boot,
            since_ms: 0,
        };
        let change = Change::Begin {
            pending,
            condition: Condition::default(),
        };
        node.quorum.change(name, change).await.unwrap();
        running
    }

    async fn is_pending(node: &Node, name: &FileName, upload: UploadId) -> bool {
        let value = node.quorum.read(name).await.unwrap().unwrap();
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
        let reaper = &node.workers.reaper;
        node.garbage.expect(file("f"), old);
        let held = async || reaper.chunks_of(&file("f"), old).await.unwrap().len();
        reaper.reap_expected().await;
        assert!(held().await > 1, "somebody may be about to read it");
        let full = all.fill(0);
        reaper.reap_expected().await;
        assert_eq!(held().await, 0);
        drop(full);
    }

    #[tokio::test]
    async fn an_upload_through_a_node_that_joined_during_the_pass_is_not_expired() {
        let all = Nodes::start(3).await;
        let uid = all.nodes[0].me.cluster.clone();
        let first = chord_types::View::first(uid, all.table(1, &[0, 1])).unwrap();
        let joint = first.change_to(all.table(1, &[0, 1, 2])).unwrap();
        let after = Current::new(joint.clone(), true);
        let (old, slow, new) = (&all.nodes[0], &all.nodes[1], &all.nodes[2]);
        all.give(&[0, 1], &first).await;
        // Two names of the first node, in the order in which the pass sees them.
        let mut names: Vec<FileName> = (0..)
            .map(|n| file(&format!("n{n}")))
            .filter(|name| {
                let owners = after.placements.owners(&Id::of_file(name));
                owners.iter().all(|m| m.disk == old.me.disk)
            })
            .take(2)
            .collect();
        names.sort_by_key(Id::of_file);
        let [one, two] = [1, 2].map(|n| UploadId::from_bytes([n; 16]));
        let _one = begin(slow, &names[0], one).await;
        all.put(0, names[1].as_str(), "x").await.unwrap();
        // The pass waits for the first coordinator's answer; meanwhile another
        // node joins and streams the second name.
        all.hang(1, true);
        let pass = tokio::spawn({
            let reaper = old.workers.reaper.clone();
            async move { reaper.expire_abandoned(1).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        all.give(&[0, 2], &joint).await;
        let running = begin(new, &names[1], two).await;
        all.hang(1, false);
        pass.await.unwrap().unwrap();
        assert!(is_pending(new, &names[0], one).await);
        assert!(is_pending(new, &names[1], two).await);
        // What nobody streams any more goes.
        drop(running);
        old.workers.reaper.expire_abandoned(1).await.unwrap();
        assert!(!is_pending(new, &names[1], two).await);
    }

    #[tokio::test]
    async fn who_does_not_understand_the_question_has_not_said_no() {
        let all = Nodes::start(2).await;
        let uid = all.nodes[0].me.cluster.clone();
        let view = chord_types::View::first(uid, all.table(2, &[0, 1])).unwrap();
        all.give(&[0, 1], &view).await;
        let (node, other) = (&all.nodes[0], &all.nodes[1]);
        let upload = UploadId::from_bytes([1; 16]);
        drop(begin(other, &file("f"), upload).await);
        let reaper = &node.workers.reaper;
        let status = chord_api::client::NOT_UNDERSTOOD;
        all.far_ahead(1, Some((status, b"it reads another version")));
        assert!(
            reaper.is_read(upload).await,
            "it may be, for all that is known"
        );
        reaper.expire_abandoned(1).await.unwrap();
        all.far_ahead(1, None);
        assert!(!reaper.is_read(upload).await);
        assert!(is_pending(node, &file("f"), upload).await);
        // Once it is understood again it says that it does not stream it.
        reaper.expire_abandoned(1).await.unwrap();
        assert!(!is_pending(node, &file("f"), upload).await);
    }
}
