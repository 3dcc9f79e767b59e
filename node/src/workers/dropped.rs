//! Files dropped on this node: the migrator stores each as a new version, and
//! the copy here goes after that.
//!
//! Each is applied once, whatever breaks off in between: before a file is first
//! offered the version of its name is noted on the disk, and it is stored only as
//! the version after that one. Where the name has moved on, the file has been
//! stored, or something that came after it has been.

use std::collections::BTreeSet;
use std::sync::Arc;

use chord_api::problem::{Kind, Problem};
use chord_types::FileName;
use futures::StreamExt;

use super::migrator::NAME;
use crate::files::Put;
use crate::node::{Current, Node};
use crate::quorum::drive;
use crate::store::{Dropped, StoreError};
use chord_register::Condition;

/// Names that failed in one pass and are remembered; past it the pass ends.
const MAX_FAILED: usize = 1024;

/// Stores every dropped file, the oldest first. One that cannot be stored keeps
/// only the later ones of its name back.
pub async fn take_over(node: &Arc<Node>, current: &Current) {
    let mut after = None;
    let mut failed: BTreeSet<FileName> = BTreeSet::new();
    loop {
        let page = match node.store.dropped_list(after, 64).await {
            Ok(page) => page,
            Err(error) => {
                node.workers.say(
                    NAME,
                    "failed",
                    format!("cannot list dropped files: {error}"),
                );
                return;
            }
        };
        for file in page.items {
            let same = |c: &Arc<Current>| c.reference == current.reference;
            if !node.current().as_ref().is_some_and(same) || failed.len() >= MAX_FAILED {
                return;
            }
            let name = file.name.clone();
            if failed.contains(&name) {
                continue;
            }
            node.workers.say(
                NAME,
                "working",
                format!("storing the dropped file {name:?}"),
            );
            match store(node, file).await {
                Ok(()) => node.workers.count(NAME, 1, 0),
                Err(problem) => {
                    node.workers.count(NAME, 0, 1);
                    tracing::warn!(%name, %problem, "a dropped file cannot be stored, it is kept");
                    failed.insert(name);
                }
            }
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

fn unkept(error: StoreError) -> Problem {
    Problem::new(Kind::Overloaded, error.to_string())
}

async fn store(node: &Arc<Node>, file: Dropped) -> Result<(), Problem> {
    let id = file.id;
    offer(node, file).await?;
    node.store.dropped_remove(id).await.map_err(unkept)?;
    Ok(())
}

/// The version of a name, deletions counted.
async fn version_of(node: &Arc<Node>, name: &FileName) -> Result<u64, Problem> {
    Ok(drive::read(node, name).await?.map_or(0, |v| v.version))
}

/// After `Ok` the owners have the file, or something newer.
async fn offer(node: &Arc<Node>, file: Dropped) -> Result<(), Problem> {
    let id = file.id;
    let Some((file, content)) = node.store.dropped_open(id).await.map_err(unkept)? else {
        return Ok(());
    };
    let observed = match file.observed {
        Some(version) => version,
        None => {
            let version = version_of(node, &file.name).await?;
            let noted = node.store.dropped_observe(id, version).await;
            noted.map_err(unkept)?;
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
    let body =
        content.map(|piece| piece.map_err(|e| Problem::new(Kind::Overloaded, e.to_string())));
    match crate::files::put::put(node, put, Box::pin(body)).await {
        Ok(_) => Ok(()),
        Err(problem) if problem.kind == Kind::PreconditionFailed => {
            let now = version_of(node, &file.name).await?;
            if now > observed {
                tracing::info!(name = %file.name, "a dropped file has been stored, or replaced, before");
                return Ok(());
            }
            // The register is older than it was: it was lost, and this file is not
            // known to be in it.
            node.store.dropped_observe(id, now).await.map_err(unkept)?;
            Err(problem)
        }
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;
    use crate::files::coordinator::Coordinator;
    use crate::testing::{Nodes, file};

    async fn oldest(node: &Arc<Node>) -> Dropped {
        node.store.dropped_list(None, 1).await.unwrap().items[0].clone()
    }

    async fn exists(node: &Arc<Node>, name: &str) -> bool {
        let value = drive::read(node, &file(name)).await.unwrap();
        value.is_some_and(|v| v.current.is_some())
    }

    #[tokio::test]
    async fn a_dropped_file_that_was_stored_does_not_come_back() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        let node = &all.nodes[0];
        let current = node.current().unwrap();
        for name in ["deleted", "replaced"] {
            all.drop_on(0, name, b"dropped").await.unwrap();
            // It is stored, and the node ends before the copy here goes.
            offer(node, oldest(node).await).await.unwrap();
            assert!(exists(node, name).await);
            if name == "deleted" {
                let files = Coordinator { node: node.clone() };
                let gone = files.delete(&file(name), Condition::default()).await;
                gone.unwrap();
            } else {
                all.put(1, name, "newer than that").await.unwrap();
            }
            take_over(node, &current).await;
            assert_eq!(node.store.counts().unwrap().dropped, 0);
        }
        assert!(!exists(node, "deleted").await);
        let value = drive::read(node, &file("replaced")).await.unwrap().unwrap();
        assert_eq!(value.current.unwrap().size, 15);
    }

    #[tokio::test]
    async fn a_dropped_file_that_cannot_be_read_keeps_no_other_back() {
        let all = Nodes::start(1).await;
        all.form(1).await;
        let node = &all.nodes[0];
        all.drop_on(0, "bad", b"the older").await.unwrap();
        let bad = oldest(node).await;
        let path = node.args.data.join("dropped").join(bad.id.to_string());
        std::fs::write(path, b"not what was dropped, and longer").unwrap();
        all.drop_on(0, "bad", b"the newer").await.unwrap();
        all.drop_on(0, "good", b"x").await.unwrap();
        take_over(node, &node.current().unwrap()).await;
        assert!(exists(node, "good").await);
        assert!(!exists(node, "bad").await, "the newer waits for its turn");
        assert_eq!(node.store.counts().unwrap().dropped, 2);
    }
}
