//! Files kept on the node that they were sent to, whoever owns them: the migrator
//! stores them later.

use std::sync::Arc;

use chord_types::View;
use futures::StreamExt;
use tokio::sync::Notify;

use super::outcome::check_member;
use super::{Body, Error, Put};
use crate::store::{Store, StoreError};
use crate::view::{Identity, ViewKeeper};

/// Keeps bodies on this node.
pub struct Dropbox {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) store: Store,
    /// Told of each file that is kept.
    pub kept: Arc<Notify>,
}

impl Dropbox {
    /// Keeps a body on this node, which has to be a member until the file is there:
    /// once its disk has left the view and is empty it may be taken away.
    pub async fn keep(&self, put: Put, mut body: Body) -> Result<(), Error> {
        check_member(&self.me, &self.view)?;
        let failed = |why: StoreError| Error::NotKept {
            name: put.name.clone(),
            why,
        };
        let writer = self.store.dropped_writer(
            put.name.clone(),
            put.content_type.clone(),
            put.meta.clone(),
            put.length,
        );
        let mut writer = writer.map_err(failed)?;
        while let Some(piece) = body.next().await {
            writer.write(piece?).await.map_err(failed)?;
        }
        let (ordinal, disk) = (self.me.ordinal, self.me.disk);
        let member = move |view: Option<&View>| match view {
            Some(view) if view.has(ordinal, disk) => Ok(()),
            _ => Err(StoreError::Refused("the node has left the view".into())),
        };
        if let Err(error) = writer.finish_if(Box::new(member)).await {
            check_member(&self.me, &self.view)?;
            return Err(failed(error));
        }
        self.kept.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::files::Files;
    use crate::node::testing::{Nodes, request};

    #[tokio::test]
    async fn a_node_outside_the_view_keeps_nothing_that_is_dropped_on_it() {
        let all = Nodes::start(3).await;
        assert!(all.drop_on(2, "early", b"x").await.is_err(), "no view yet");
        let view = all.form(1).await;
        let joint = view.change_to(all.table(1, &[0, 1])).unwrap();
        let done = joint.complete().unwrap();
        // It leaves while the body comes: what it says then must stay true.
        let node = all.nodes[2].clone();
        let body = futures::stream::once(async move {
            node.view.adopt(joint).await.unwrap();
            node.view.adopt(done).await.unwrap();
            assert!(node.reporter.report().inventory.is_empty());
            Ok(Bytes::from_static(b"x"))
        });
        let late = all.nodes[2]
            .files
            .drop_here(request("a", Some(1)), Box::pin(body))
            .await;
        assert!(matches!(late, Err(Error::NotMember { .. })), "{late:?}");
        assert!(all.drop_on(2, "late", b"x").await.is_err());
        assert!(all.nodes[2].reporter.report().inventory.is_empty());
        assert!(all.drop_on(1, "a", b"x").await.is_ok());
        assert_eq!(all.nodes[1].reporter.report().inventory.dropped, 1);
    }
}
