//! The data path behind the client port. Any node can take any request: what it
//! needs to know is in the view.

use std::ops::Range;
use std::sync::Arc;

use chord_api::http::{FileList, Verification};
use chord_register::condition::Verdict;
use chord_register::{Change, Condition, Outcome};
use chord_types::{FileName, Manifest};

use super::dropbox::Dropbox;
use super::get::Downloader;
use super::outcome::{check_member, finished};
use super::put::Uploader;
use super::space::SpaceCheck;
use super::verify::Verifier;
use super::{Body, Error, Files, ListQuery, Put, PutDone, list, notices};
use crate::quorum::Quorum;
use crate::view::{Identity, ViewKeeper};

/// The data path of one node.
#[derive(Clone)]
pub struct Coordinator {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) space: Arc<SpaceCheck>,
    pub(crate) uploader: Arc<Uploader>,
    pub(crate) downloader: Arc<Downloader>,
    pub(crate) dropbox: Arc<Dropbox>,
    pub(crate) verifier: Arc<Verifier>,
}

impl Coordinator {
    fn check_member(&self) -> Result<(), Error> {
        check_member(&self.me, &self.view)
    }
}

impl Files for Coordinator {
    async fn stat(&self, name: &FileName) -> Result<Option<Manifest>, Error> {
        self.check_member()?;
        Ok(self
            .quorum
            .read(name)
            .await?
            .and_then(|value| value.current))
    }

    fn read(&self, name: &FileName, manifest: &Manifest, range: Range<u64>) -> Body {
        self.downloader
            .clone()
            .read(name.clone(), manifest.clone(), range)
    }

    async fn admit(&self, put: &Put) -> Result<(), Error> {
        self.check_member()?;
        if !put.condition.is_empty() {
            let current = self.stat(&put.name).await?;
            let tag = current
                .as_ref()
                .map(|m| (m.etag.as_str(), m.modified_ms / 1000));
            if put.condition.evaluate(tag, false) != Verdict::Proceed {
                return Err(Error::Precondition {
                    name: put.name.clone(),
                    current: current.map(|m| (m.etag, m.version)),
                });
            }
        }
        self.space.check(put)
    }

    async fn put(&self, put: Put, body: Body) -> Result<PutDone, Error> {
        self.check_member()?;
        self.uploader.put(put, body).await
    }

    async fn delete(&self, name: &FileName, condition: Condition) -> Result<u64, Error> {
        self.check_member()?;
        let before = self.quorum.read(name).await?;
        // The read has decided it; a proposal would leave a promise on every owner.
        if before.as_ref().is_none_or(|value| value.current.is_none()) {
            let (name, current) = (name.clone(), None);
            return Err(match condition.evaluate(None, false) {
                Verdict::Proceed => Error::NotFound { name },
                _ => Error::Precondition { name, current },
            });
        }
        let change = Change::Delete {
            op: self.quorum.next_operation(),
            condition,
        };
        let end = self.quorum.change(name, change).await?;
        let (_, outcome) = finished(name, end)?;
        if let Some(manifest) = before.and_then(|value| value.current) {
            notices::replaced(&self.quorum, name, &manifest);
        }
        match outcome {
            Outcome::Deleted { version } | Outcome::Committed { version, .. } => Ok(version),
            Outcome::Done => Ok(0),
        }
    }

    async fn list(&self, query: ListQuery) -> Result<FileList, Error> {
        self.check_member()?;
        list::list(&self.quorum, self.uploader.clock, query).await
    }

    async fn verify(&self, name: &FileName) -> Result<Verification, Error> {
        self.verifier.verify(name).await
    }

    async fn drop_here(&self, put: Put, body: Body) -> Result<(), Error> {
        self.dropbox.keep(put, body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{Nodes, file};

    #[tokio::test]
    async fn deleting_what_is_not_there_leaves_nothing() {
        let all = Nodes::start(3).await;
        all.form(3).await;
        let files = &all.nodes[0].files;
        let gone = files.delete(&file("never"), Condition::default()).await;
        assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
        let any = Condition {
            if_match: Some(chord_register::Tags::Any),
            ..Condition::default()
        };
        let gone = files.delete(&file("never"), any).await;
        assert!(matches!(gone, Err(Error::Precondition { .. })), "{gone:?}");
        for node in &all.nodes {
            let counts = node.store.counts().unwrap();
            assert_eq!((counts.promises, counts.registers), (0, 0));
        }
    }
}
