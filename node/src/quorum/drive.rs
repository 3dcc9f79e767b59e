//! Driving operations on registers over the network: the thin shell around
//! [`Proposer`].

use std::collections::BTreeSet;
use std::sync::Arc;

use chord_api::causes::words;
use chord_register::acceptor::{Promise, Vote};
use chord_register::proposer::{End, Proposer, Step};
use chord_register::{Ballot, Change, Electorate, Value};
use chord_types::{DiskId, FileName, Id};
use futures::StreamExt;
use futures::future::BoxFuture;

use super::error::Hindrance;
use super::retry::{OPERATION_LIMIT, Tries};
use super::{Asked, Quorum, QuorumError};
use crate::peer::PeerError;
use crate::peer::wire::{Answer, Refusal, Request};
use crate::view::Current;

/// What has to hold in a view before a value may be proposed in it. Asked again
/// whenever the view changes between two tries (rule 6).
pub type Precondition<'a> =
    &'a (dyn Fn(Arc<Current>) -> BoxFuture<'a, Result<Ready, QuorumError>> + Send + Sync);

/// What a [`Precondition`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It holds in the view that was given.
    Yes,
    /// That view is not in force any more; ask again in the new one.
    ViewChanged,
}

/// Why a round failed.
enum Failed {
    Again(Hindrance),
    /// Too many of the owners have no room for it.
    Full,
}

/// What an answer of the wrong kind, or none, says.
pub(super) fn hindrance(answer: Result<Answer, PeerError>) -> Hindrance {
    match answer {
        Err(error) => error.into(),
        Ok(_) => Hindrance::OtherAnswer,
    }
}

impl Quorum {
    /// Makes a change of a register. An error is certain to have left nothing
    /// behind; what is not certain is [`End::Unknown`].
    pub async fn change(
        self: &Arc<Quorum>,
        name: &FileName,
        change: Change,
    ) -> Result<End, QuorumError> {
        self.run(name, Proposer::new(change), None).await
    }

    /// The same with something that has to hold before.
    pub async fn change_when(
        self: &Arc<Quorum>,
        name: &FileName,
        change: Change,
        before: Precondition<'_>,
    ) -> Result<End, QuorumError> {
        self.run(name, Proposer::new(change), Some(before)).await
    }

    /// Runs an operation to its end.
    async fn run(
        self: &Arc<Quorum>,
        name: &FileName,
        mut proposer: Proposer,
        before: Option<Precondition<'_>>,
    ) -> Result<End, QuorumError> {
        let key = Id::of_file(name);
        let mut tries = Tries::for_at_most(OPERATION_LIMIT, &self.random);
        let mut turn = None;
        let mut ready_at = None;
        let why = loop {
            let Some(current) = self.view.current() else {
                return match proposer.has_left() {
                    true => Ok(End::Unknown),
                    false => Err(QuorumError::NoView),
                };
            };
            if let Some(before) = before
                && ready_at != Some(current.reference)
            {
                // This may take long; others need not wait for it.
                turn = None;
                match before(current.clone()).await {
                    Ok(Ready::Yes) => ready_at = Some(current.reference),
                    Ok(Ready::ViewChanged) if tries.again().await => continue,
                    Ok(Ready::ViewChanged) => break Hindrance::ViewChanges,
                    Err(error) if proposer.has_left() => {
                        tracing::debug!(error = words(&error), "an operation cannot go on");
                        return Ok(End::Unknown);
                    }
                    Err(error) => return Err(error),
                }
            }
            if turn.is_none() {
                turn = self.turns.take(name, tries.end()).await;
            }
            if turn.is_none() {
                break Hindrance::Outbid;
            }
            let electorate = proposer.electorate(&current.placements, &key);
            let why = match self.round(&current, name, &mut proposer, electorate).await {
                Ok(end) => return Ok(end),
                Err(Failed::Full) if !proposer.has_left() => {
                    return Err(QuorumError::Full { name: name.clone() });
                }
                Err(Failed::Full) => Hindrance::Full,
                Err(Failed::Again(why)) => why,
            };
            if !tries.again().await {
                break why;
            }
        };
        if proposer.has_left() {
            Ok(End::Unknown)
        } else {
            Err(QuorumError::gave_up(name, why))
        }
    }

    /// One round: prepare, then accept.
    async fn round(
        self: &Arc<Quorum>,
        current: &Arc<Current>,
        name: &FileName,
        proposer: &mut Proposer,
        electorate: Electorate,
    ) -> Result<End, Failed> {
        let client = proposer.brings() > 0;
        match self.prepare(current, name, proposer, &electorate).await? {
            Prepared::Over(end) => Ok(end),
            Prepared::Accept(ballot, value) => {
                let asked = self.ask_all(current, electorate.voters(), |_| Request::Accept {
                    name: name.clone(),
                    ballot,
                    value: (*value).clone(),
                    client,
                });
                let voters = electorate.voters().len();
                self.accept(name, proposer, voters, asked).await
            }
        }
    }

    /// The first phase: until a quorum has promised, or cannot any more.
    async fn prepare(
        self: &Arc<Quorum>,
        current: &Arc<Current>,
        name: &FileName,
        proposer: &mut Proposer,
        electorate: &Electorate,
    ) -> Result<Prepared, Failed> {
        let bytes = proposer.brings();
        let ballot = Ballot {
            epoch: current.reference.epoch,
            counter: proposer.next_counter(),
            member: self.me.ordinal,
            boot: self.me.boot,
        };
        proposer.begin(electorate.clone(), ballot);
        let mut asked = self.ask_all(current, electorate.voters(), |_| Request::Prepare {
            name: name.clone(),
            ballot,
            bytes,
        });
        let mut why = Hindrance::NoneAnswered;
        let mut full = false;
        while let Some((voter, answer)) = asked.next().await {
            let step = match answer {
                Ok(Answer::Promise(Promise::Promised { accepted })) => {
                    proposer.promised(voter.disk, accepted)
                }
                Ok(Answer::Promise(Promise::Rejected { promised })) => {
                    why = Hindrance::Outbid;
                    proposer.rejected(voter.disk, promised)
                }
                other => {
                    full |= matches!(other, Err(PeerError::Refused(_, Refusal::Full)));
                    why = hindrance(other);
                    proposer.failed(voter.disk)
                }
            };
            match step {
                Step::Wait => {}
                Step::Accept(ballot, value) => return Ok(Prepared::Accept(ballot, value)),
                Step::Retry { .. } if full => return Err(Failed::Full),
                Step::Retry { .. } => return Err(Failed::Again(why)),
                Step::End(end) => return Ok(Prepared::Over(end)),
            }
        }
        Err(Failed::Again(why))
    }

    /// The second phase: until a quorum has accepted, or cannot any more.
    async fn accept(
        self: &Arc<Quorum>,
        name: &FileName,
        proposer: &mut Proposer,
        voters: usize,
        mut asked: Asked<'static>,
    ) -> Result<End, Failed> {
        let mut why = Hindrance::NoneAnswered;
        let mut heard = BTreeSet::new();
        while let Some((voter, answer)) = asked.next().await {
            heard.insert(voter.disk);
            let step = match answer {
                Ok(Answer::Vote(Vote::Accepted)) => proposer.accepted(voter.disk),
                Ok(Answer::Vote(Vote::Rejected { promised })) => {
                    why = Hindrance::Outbid;
                    proposer.rejected(voter.disk, promised)
                }
                other => {
                    why = hindrance(other);
                    self.debts.owe(name);
                    proposer.failed(voter.disk)
                }
            };
            match step {
                Step::Wait | Step::Accept(..) => {}
                Step::Retry { .. } => return Err(Failed::Again(why)),
                Step::End(end) => {
                    self.finish_in_background(name, voters, heard, asked);
                    return Ok(end);
                }
            }
        }
        Err(Failed::Again(why))
    }

    /// The value is decided; the voters that have not answered yet get their time,
    /// and what they miss is a debt.
    fn finish_in_background(
        &self,
        name: &FileName,
        voters: usize,
        mut heard: BTreeSet<DiskId>,
        mut asked: Asked<'static>,
    ) {
        if heard.len() == voters {
            return;
        }
        let (debts, of) = (self.debts.clone(), name.clone());
        let taken = self.tasks.background(async move {
            while let Some((voter, answer)) = asked.next().await {
                heard.insert(voter.disk);
                if !matches!(answer, Ok(Answer::Vote(Vote::Accepted))) {
                    debts.owe(&of);
                }
            }
        });
        if !taken {
            self.debts.owe(name);
        }
    }

    /// Confirms a name's value at the owners of the present view: after `Ok`, a
    /// quorum of every table holds it. Answers the value, `None` where there is none.
    pub async fn reconcile(
        self: &Arc<Quorum>,
        name: &FileName,
    ) -> Result<Option<Value>, QuorumError> {
        confirmed(name, self.change(name, Change::Identity).await?)
    }

    /// Brings what this disk holds of a name into the table to come: after `Ok`, a
    /// quorum of that table holds it, or what came after it.
    pub async fn settle(self: &Arc<Quorum>, name: &FileName) -> Result<Option<Value>, QuorumError> {
        let settling = Proposer::settle(self.me.disk);
        confirmed(name, self.run(name, settling, None).await?)
    }
}

/// What the first phase came to.
enum Prepared {
    Accept(Ballot, Box<Value>),
    Over(End),
}

fn confirmed(name: &FileName, end: End) -> Result<Option<Value>, QuorumError> {
    match end {
        End::Done(value, _) => Ok(Some(*value)),
        End::Absent => Ok(None),
        End::Refused(_) | End::Unknown => Err(QuorumError::Unconfirmed { name: name.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chord_register::{Condition, NewFile};
    use chord_types::manifest::Body;
    use parking_lot::Mutex;

    use super::*;
    use crate::node::testing::{Nodes, file};

    #[tokio::test]
    async fn nothing_is_proposed_in_a_view_that_the_precondition_did_not_hold_in() {
        let all = Nodes::start(2).await;
        let view = all.form(1).await;
        let (owner, node) = (&all.nodes[0], &all.nodes[1]);
        let joint = view.change_to(all.table(1, &[0, 1])).unwrap();
        let placements = node.view.current().unwrap();
        let name = (0..)
            .map(|n| file(&format!("n{n}")))
            .find(|name| {
                let owners = placements.placements.owners(&Id::of_file(name));
                owners.iter().all(|m| m.disk == owner.me.disk)
            })
            .unwrap();
        let commit = Change::Commit {
            op: node.quorum.next_operation(),
            file: NewFile {
                size: 0,
                modified_ms: 0,
                content_type: None,
                meta: Default::default(),
                fingerprint: String::new(),
                body: Body::Inline(Bytes::new()),
            },
            condition: Condition::default(),
        };
        let asked = Mutex::new(Vec::new());
        let before = |current: Arc<Current>| {
            let (joint, asked) = (joint.clone(), &asked);
            let confirm: futures::future::BoxFuture<'_, Result<Ready, QuorumError>> =
                Box::pin(async move {
                    asked.lock().push(current.reference.epoch);
                    if current.reference == joint.reference() {
                        return Ok(Ready::Yes);
                    }
                    // The view moves while chunks are confirmed; the owner of the
                    // register has not heard of it.
                    node.view.adopt(joint).await.unwrap();
                    Ok(Ready::ViewChanged)
                });
            confirm
        };
        let end = node.quorum.change_when(&name, commit, &before).await;
        assert!(matches!(end, Ok(End::Done(..))), "{end:?}");
        assert_eq!(*asked.lock(), [view.epoch, joint.epoch]);
        let held = owner.store.read(move |txn| txn.register(&name)).await;
        let (ballot, _) = held.unwrap().unwrap();
        assert_eq!(ballot.epoch, joint.epoch);
    }
}
