//! Files dropped on this node: the migrator stores each as a new version, and
//! the copy here goes after that.
//!
//! Each is applied once, whatever breaks off in between: before a file is first
//! offered the version of its name is noted on the disk, and it is stored only as
//! the version after that one. Where the name has moved on, the file has been
//! stored, or something that came after it has been.

use std::collections::BTreeSet;
use std::sync::Arc;

use chord_api::causes::words;
use chord_register::Condition;
use chord_types::FileName;
use futures::TryStreamExt;

use crate::files::put::Uploader;
use crate::files::{self, Put};
use crate::notes::Progress;
use crate::notes::progress::MIGRATOR as NAME;
use crate::quorum::{Quorum, QuorumError};
use crate::store::{Dropped, Store, StoreError};
use crate::view::{Current, Interrupted, ViewKeeper, walk};

/// Names that failed in one pass and are remembered; past it the pass ends.
const MAX_FAILED: usize = 1024;
const BATCH: usize = 64;

/// Takes over what was dropped here.
pub struct Takeover {
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) store: Store,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) uploader: Arc<Uploader>,
    pub(crate) progress: Arc<Progress>,
}

/// Why a dropped file was not stored. It is kept.
#[derive(Debug, thiserror::Error)]
enum Kept {
    #[error(transparent)]
    Disk(#[from] StoreError),
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    #[error(transparent)]
    Put(#[from] files::Error),
}

impl Takeover {
    /// Stores every dropped file, the oldest first. One that cannot be stored keeps
    /// only the later ones of its name back.
    pub async fn take_over(&self, current: &Arc<Current>) {
        match self.pass(current).await {
            Ok(()) | Err(Interrupted::ViewChanged) => {}
            Err(Interrupted::Disk(error)) => {
                let detail = format!("cannot list dropped files: {error}");
                self.progress.set(NAME, "failed", detail);
            }
        }
    }

    async fn pass(&self, current: &Arc<Current>) -> Result<(), Interrupted> {
        let mut failed: BTreeSet<FileName> = BTreeSet::new();
        let mut pages = walk::dropped(&self.store, BATCH).while_holds(&self.view, current);
        while let Some(files) = pages.next().await? {
            for file in files {
                if !self.view.holds(current) || failed.len() >= MAX_FAILED {
                    return Ok(());
                }
                let name = file.name.clone();
                if failed.contains(&name) {
                    continue;
                }
                let detail = format!("storing the dropped file {name:?}");
                self.progress.set(NAME, "working", detail);
                match self.store(file).await {
                    Ok(()) => self.progress.count(NAME, 1, 0),
                    Err(why) => {
                        self.progress.count(NAME, 0, 1);
                        let why = words(&why);
                        tracing::warn!(%name, why, "a dropped file cannot be stored, it is kept");
                        failed.insert(name);
                    }
                }
            }
        }
        Ok(())
    }

    async fn store(&self, file: Dropped) -> Result<(), Kept> {
        let id = file.id;
        self.offer(file).await?;
        self.store.dropped_remove(id).await?;
        Ok(())
    }

    /// The version of a name, deletions counted.
    async fn version_of(&self, name: &FileName) -> Result<u64, QuorumError> {
        Ok(self.quorum.read(name).await?.map_or(0, |v| v.version))
    }

    /// After `Ok` the owners have the file, or something newer.
    async fn offer(&self, file: Dropped) -> Result<(), Kept> {
        let id = file.id;
        let Some((file, content)) = self.store.dropped_open(id).await? else {
            return Ok(());
        };
        let observed = match file.observed {
            Some(version) => version,
            None => {
                let version = self.version_of(&file.name).await?;
                self.store.dropped_observe(id, version).await?;
                version
            }
        };
        let put = Put {
            name: file.name.clone(),
            content_type: file.content_type.clone(),
            meta: file.meta.clone(),
            length: Some(file.size),
            condition: Condition {
                version: Some(observed),
                ..Condition::default()
            },
        };
        let body = content.map_err(files::Error::body);
        match self.uploader.put(put, Box::pin(body)).await {
            Ok(_) => Ok(()),
            Err(failed @ files::Error::Precondition { .. }) => {
                let now = self.version_of(&file.name).await?;
                if now > observed {
                    tracing::info!(name = %file.name, "a dropped file has been stored, or replaced, before");
                    return Ok(());
                }
                // The register is older than it was: it was lost, and this file is not
                // known to be in it.
                self.store.dropped_observe(id, now).await?;
                Err(failed.into())
            }
            Err(failed) => Err(failed.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;
    use crate::node::Node;
    use crate::node::testing::{Nodes, file};

    async fn oldest(node: &Node) -> Dropped {
        node.store.dropped_list(None, 1).await.unwrap().items[0].clone()
    }

    async fn exists(node: &Node, name: &str) -> bool {
        let value = node.quorum.read(&file(name)).await.unwrap();
        value.is_some_and(|v| v.current.is_some())
    }

    #[tokio::test]
    async fn a_dropped_file_that_was_stored_does_not_come_back() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        let node = &all.nodes[0];
        let current = node.view.current().unwrap();
        let takeover = &node.workers.migrator.takeover;
        for name in ["deleted", "replaced"] {
            all.drop_on(0, name, b"dropped").await.unwrap();
            // It is stored, and the node ends before the copy here goes.
            takeover.offer(oldest(node).await).await.unwrap();
            assert!(exists(node, name).await);
            if name == "deleted" {
                let gone = node.files.delete(&file(name), Condition::default()).await;
                gone.unwrap();
            } else {
                all.put(1, name, "newer than that").await.unwrap();
            }
            takeover.take_over(&current).await;
            assert_eq!(node.store.counts().unwrap().dropped, 0);
        }
        assert!(!exists(node, "deleted").await);
        let value = node.quorum.read(&file("replaced")).await.unwrap().unwrap();
        assert_eq!(value.current.unwrap().size, 15);
    }

    #[tokio::test]
    async fn a_dropped_file_that_cannot_be_read_keeps_no_other_back() {
        let all = Nodes::start(1).await;
        all.form(1).await;
        let node = &all.nodes[0];
        all.drop_on(0, "bad", b"the older").await.unwrap();
        let bad = oldest(node).await;
        let path = all.disk(0).join("dropped").join(bad.id.to_string());
        std::fs::write(path, b"not what was dropped, and longer").unwrap();
        all.drop_on(0, "bad", b"the newer").await.unwrap();
        all.drop_on(0, "good", b"x").await.unwrap();
        let current = node.view.current().unwrap();
        node.workers.migrator.takeover.take_over(&current).await;
        assert!(exists(node, "good").await);
        assert!(!exists(node, "bad").await, "the newer waits for its turn");
        assert_eq!(node.store.counts().unwrap().dropped, 2);
    }
}
