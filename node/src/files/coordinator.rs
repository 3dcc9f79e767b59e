//! The data path behind the client port. Any node can take any request: what it
//! needs to know is in the view.

use std::ops::Range;
use std::sync::Arc;

use chord_api::http::{FileList, Verification};
use chord_api::problem::{Kind, Problem};
use chord_types::{FileName, Manifest};

use super::{Body, Files, ListQuery, Put, PutDone};
use crate::node::Node;
use crate::quorum::drive;
use chord_register::condition::Verdict;
use chord_register::proposer::{End, Proposer};
use chord_register::value::Refusal;
use chord_register::{Change, Condition, Outcome, Value};

/// The data path of one node.
#[derive(Clone)]
pub struct Coordinator {
    pub node: Arc<Node>,
}

/// The problem of a precondition that does not hold, with the current version.
pub fn precondition_failed(name: &FileName, current: Option<(String, u64)>) -> Problem {
    let now = match &current {
        Some((etag, version)) => {
            format!("its current version is {version}, with the tag \"{etag}\"")
        }
        None => "it does not exist".into(),
    };
    Problem {
        current,
        ..Problem::new(
            Kind::PreconditionFailed,
            format!("a precondition on {name:?} does not hold: {now}"),
        )
    }
}

/// What became of an operation that was to change something.
pub fn finished(name: &FileName, end: End) -> Result<(Value, Outcome), Problem> {
    match end {
        End::Done(value, outcome) => Ok((*value, outcome)),
        End::Absent => Err(Problem::new(
            Kind::NotFound,
            format!("there is no file {name:?}"),
        )),
        End::Refused(Refusal::NotFound) => Err(Problem::new(
            Kind::NotFound,
            format!("there is no file {name:?}"),
        )),
        End::Refused(Refusal::Precondition { current }) => Err(precondition_failed(name, current)),
        End::Refused(Refusal::UploadExpired) => Err(Problem::new(
            Kind::OutcomeUnknown,
            format!(
                "the upload of {name:?} was given up meanwhile; nothing was changed; send it again"
            ),
        )),
        End::Refused(Refusal::TooManyPending) => Err(Problem::new(
            Kind::Overloaded,
            format!(
                "too many uploads of {name:?} are under way; nothing was changed; try again later"
            ),
        )),
        End::Unknown => Err(Problem::new(
            Kind::OutcomeUnknown,
            format!(
                "whether {name:?} was changed cannot be known: its owners did not confirm it in time, because some are silent or other changes came first; read it to find out"
            ),
        )),
    }
}

/// Whether a node can take writes at all.
pub fn check_member(node: &Node) -> Result<(), Problem> {
    if node.is_member() {
        return Ok(());
    }
    Err(Problem::new(
        Kind::NoQuorum,
        format!(
            "{} is not a member of the cluster's view; ask another node",
            node.name
        ),
    ))
}

impl Files for Coordinator {
    async fn stat(&self, name: &FileName) -> Result<Option<Manifest>, Problem> {
        check_member(&self.node)?;
        Ok(drive::read(&self.node, name)
            .await?
            .and_then(|value| value.current))
    }

    fn read(&self, name: &FileName, manifest: &Manifest, range: Range<u64>) -> Body {
        super::get::read(self.node.clone(), name.clone(), manifest.clone(), range)
    }

    async fn admit(&self, put: &Put) -> Result<(), Problem> {
        check_member(&self.node)?;
        if !put.condition.is_empty() {
            let current = self.stat(&put.name).await?;
            let tag = current
                .as_ref()
                .map(|m| (m.etag.as_str(), m.modified_ms / 1000));
            if put.condition.evaluate(tag, false) != Verdict::Proceed {
                return Err(precondition_failed(
                    &put.name,
                    current.map(|m| (m.etag, m.version)),
                ));
            }
        }
        super::put::admit_space(&self.node, put)
    }

    async fn put(&self, put: Put, body: Body) -> Result<PutDone, Problem> {
        check_member(&self.node)?;
        super::put::put(&self.node, put, body).await
    }

    async fn delete(&self, name: &FileName, condition: Condition) -> Result<u64, Problem> {
        check_member(&self.node)?;
        let before = drive::read(&self.node, name).await?;
        // The read has decided it; a proposal would leave a promise on every owner.
        if before.as_ref().is_none_or(|value| value.current.is_none()) {
            return Err(match condition.evaluate(None, false) {
                Verdict::Proceed => {
                    Problem::new(Kind::NotFound, format!("there is no file {name:?}"))
                }
                _ => precondition_failed(name, None),
            });
        }
        let change = Change::Delete {
            op: self.node.next_operation(),
            condition,
        };
        let end = drive::run(&self.node, name, Proposer::new(change), None).await?;
        let (_, outcome) = finished(name, end)?;
        if let Some(manifest) = before.and_then(|value| value.current) {
            super::tell::tell_reapers(&self.node, name, &manifest);
        }
        match outcome {
            Outcome::Deleted { version } | Outcome::Committed { version, .. } => Ok(version),
            Outcome::Done => Ok(0),
        }
    }

    async fn list(&self, query: ListQuery) -> Result<FileList, Problem> {
        check_member(&self.node)?;
        super::list::list(&self.node, query).await
    }

    async fn verify(&self, name: &FileName) -> Result<Verification, Problem> {
        super::verify::verify(&self.node, name).await
    }

    async fn drop_here(&self, put: Put, body: Body) -> Result<(), Problem> {
        super::put::drop_here(&self.node, put, body).await
    }
}
