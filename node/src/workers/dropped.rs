//! Files dropped on this node: the migrator stores each as a new version, and
//! the copy here goes after that.

use std::sync::Arc;

use chord_api::problem::{Kind, Problem};
use futures::StreamExt;

use super::migrator::NAME;
use crate::files::Put;
use crate::node::Node;
use crate::register::Condition;
use crate::store::Dropped;

/// Stores every dropped file, the oldest first.
pub async fn take_over(node: &Arc<Node>) {
    let mut after = None;
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
            let name = file.name.clone();
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
                    return;
                }
            }
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

async fn store(node: &Arc<Node>, file: Dropped) -> Result<(), Problem> {
    let failed = |e: crate::store::StoreError| Problem::new(Kind::Overloaded, e.to_string());
    let Some((file, content)) = node.store.dropped_open(file.id).await.map_err(failed)? else {
        return Ok(());
    };
    let put = Put {
        name: file.name.clone(),
        content_type: file.content_type.clone(),
        meta: file.meta.clone(),
        length: Some(file.size),
        condition: Condition::default(),
    };
    let body =
        content.map(|piece| piece.map_err(|e| Problem::new(Kind::Overloaded, e.to_string())));
    crate::files::put::put(node, put, Box::pin(body)).await?;
    node.store.dropped_remove(file.id).await.map_err(failed)?;
    Ok(())
}
