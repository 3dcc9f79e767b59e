//! Driving operations on registers over the network: the thin shell around
//! [`Proposer`], and reads in one round trip.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chord_api::problem::{Kind, Problem};
use chord_types::{DiskId, FileName, Id};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::node::{Current, Node};
use crate::peer::client::PeerError;
use crate::peer::wire::{Answer, Refusal, Request};
use chord_register::acceptor::{Promise, Vote};
use chord_register::electorate::{Electorate, Voter};
use chord_register::proposer::{End, Proposer, Step};
use chord_register::{Ballot, Change, Value};

/// How long an operation keeps trying.
const OPERATION_LIMIT: Duration = Duration::from_secs(15);
/// How long a read keeps trying to find a quorum.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// What has to hold in a view before a value may be proposed in it. Asked again
/// whenever the view changes between two tries (rule 6).
pub type Precondition<'a> = &'a (
        dyn Fn(Arc<Current>) -> futures::future::BoxFuture<'a, Result<Ready, Problem>> + Send + Sync
    );

/// What a [`Precondition`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It holds in the view that was given.
    Yes,
    /// That view is not in force any more; ask again in the new one.
    ViewChanged,
}

fn no_quorum(name: &FileName, why: &str) -> Problem {
    Problem::new(
        Kind::NoQuorum,
        format!(
            "too few owners of {name:?} could be reached ({why}); nothing was changed; try again"
        ),
    )
}

/// Why a round failed where the owners answered: another ballot was above.
const OUTBID: &str = "another operation was faster";

/// Why an operation that has left nothing behind has failed.
fn gave_up(name: &FileName, why: &str) -> Problem {
    if why != OUTBID {
        return no_quorum(name, why);
    }
    Problem::new(
        Kind::Overloaded,
        format!(
            "{name:?} is changed by so many at once that this had no turn in {} s; nothing was changed; try again, with fewer at a time",
            OPERATION_LIMIT.as_secs()
        ),
    )
}

fn full(name: &FileName) -> Problem {
    Problem::new(
        Kind::Full,
        format!(
            "there is no space for {name:?} on its owners; nothing was changed; delete some files, or let the cluster grow"
        ),
    )
}

fn no_view() -> Problem {
    Problem::new(
        Kind::NoQuorum,
        "this node has no view: the cluster has not been formed, or the node has not joined it",
    )
}

/// Waits a little longer with every try, never in step with others.
async fn back_off(attempt: u32) {
    // Fresh each time: two writers must not stay in step.
    let most = 10u64 << attempt.min(6);
    tokio::time::sleep(Duration::from_millis(rand::random_range(1..=most))).await;
}

fn dead_line(end: Instant) -> bool {
    Instant::now() >= end
}

/// Runs an operation to its end.
pub async fn run(
    node: &Arc<Node>,
    name: &FileName,
    mut proposer: Proposer,
    before: Option<Precondition<'_>>,
) -> Result<End, Problem> {
    let key = Id::of_file(name);
    let end = Instant::now() + OPERATION_LIMIT;
    let mut turn = None;
    let mut ready_at = None;
    let mut why = String::from("none was asked");
    for attempt in 0.. {
        let Some(current) = node.current() else {
            return Err(no_view());
        };
        if let Some(before) = before
            && ready_at != Some(current.reference)
        {
            // This may take long; others need not wait for it.
            turn = None;
            match before(current.clone()).await {
                Ok(Ready::Yes) => ready_at = Some(current.reference),
                Ok(Ready::ViewChanged) => {
                    why = "the view keeps changing".into();
                    if dead_line(end) {
                        break;
                    }
                    back_off(attempt).await;
                    continue;
                }
                Err(problem) if proposer.has_left() => {
                    tracing::debug!(%problem, "an operation cannot go on");
                    return Ok(End::Unknown);
                }
                Err(problem) => return Err(problem),
            }
        }
        if turn.is_none() {
            turn = node.turns.take(name, end).await;
        }
        if turn.is_none() {
            why = OUTBID.into();
            break;
        }
        let electorate = proposer.electorate(&current.placements, &key);
        match round(node, &current, name, &mut proposer, electorate).await {
            Ok(end) => return Ok(end),
            Err(Failed::Full) if !proposer.has_left() => return Err(full(name)),
            Err(Failed::Full) => why = "their disks are full".into(),
            Err(Failed::Again(failed)) => why = failed,
        }
        if dead_line(end) {
            break;
        }
        back_off(attempt).await;
    }
    if proposer.has_left() {
        Ok(End::Unknown)
    } else {
        Err(gave_up(name, &why))
    }
}

/// Why a round failed.
enum Failed {
    Again(String),
    /// Too many of the owners have no room for it.
    Full,
}

/// One round: prepare, then accept.
async fn round(
    node: &Arc<Node>,
    current: &Arc<Current>,
    name: &FileName,
    proposer: &mut Proposer,
    electorate: Electorate,
) -> Result<End, Failed> {
    let bytes = proposer.brings();
    let ballot = Ballot {
        epoch: current.reference.epoch,
        counter: proposer.next_counter(),
        member: node.ordinal,
        boot: node.store.boot(),
    };
    proposer.begin(electorate.clone(), ballot);
    let mut why = String::from("no quorum");
    let (ballot, value) = {
        let mut asked = ask_all(node, current, electorate.voters(), |_| Request::Prepare {
            name: name.clone(),
            ballot,
            bytes,
        });
        let mut full = false;
        loop {
            let Some((voter, answer)) = asked.next().await else {
                return Err(Failed::Again(why));
            };
            let step = match answer {
                Ok(Answer::Promise(Promise::Promised { accepted })) => {
                    proposer.promised(voter.disk, accepted)
                }
                Ok(Answer::Promise(Promise::Rejected { promised })) => {
                    why = OUTBID.into();
                    proposer.rejected(voter.disk, promised)
                }
                other => {
                    full |= matches!(other, Err(PeerError::Refused(_, Refusal::Full)));
                    why = failure(other);
                    proposer.failed(voter.disk)
                }
            };
            match step {
                Step::Wait => {}
                Step::Accept(ballot, value) => break (ballot, value),
                Step::Retry { .. } if full => return Err(Failed::Full),
                Step::Retry { .. } => return Err(Failed::Again(why)),
                Step::End(end) => return Ok(end),
            }
        }
    };
    let mut asked = ask_all(node, current, electorate.voters(), |_| Request::Accept {
        name: name.clone(),
        ballot,
        value: (*value).clone(),
        client: bytes > 0,
    });
    let mut heard = BTreeSet::new();
    while let Some((voter, answer)) = asked.next().await {
        heard.insert(voter.disk);
        let step = match answer {
            Ok(Answer::Vote(Vote::Accepted)) => proposer.accepted(voter.disk),
            Ok(Answer::Vote(Vote::Rejected { promised })) => {
                why = OUTBID.into();
                proposer.rejected(voter.disk, promised)
            }
            other => {
                why = failure(other);
                node.owe(name);
                proposer.failed(voter.disk)
            }
        };
        match step {
            Step::Wait | Step::Accept(..) => {}
            Step::Retry { .. } => return Err(Failed::Again(why)),
            Step::End(end) => {
                finish_in_background(node, name, electorate.voters().len(), heard, asked);
                return Ok(end);
            }
        }
    }
    Err(Failed::Again(why))
}

type Asked<'a> =
    FuturesUnordered<futures::future::BoxFuture<'a, (Voter, Result<Answer, PeerError>)>>;

/// Asks every voter at once. The futures own what they need, so that those which
/// have not answered when a quorum has can be finished later.
fn ask_all(
    node: &Arc<Node>,
    current: &Arc<Current>,
    voters: &[Voter],
    request: impl Fn(&Voter) -> Request,
) -> Asked<'static> {
    voters
        .iter()
        .map(|voter| {
            let (node, current, voter, request) =
                (node.clone(), current.clone(), *voter, request(voter));
            let asked: futures::future::BoxFuture<'static, _> = Box::pin(async move {
                let answer = node.ask(&current, voter.ordinal, voter.disk, request).await;
                (voter, answer)
            });
            asked
        })
        .collect()
}

/// The value is decided; the voters that have not answered yet get their time,
/// and what they miss is a debt.
fn finish_in_background(
    node: &Arc<Node>,
    name: &FileName,
    voters: usize,
    mut heard: BTreeSet<DiskId>,
    mut asked: Asked<'static>,
) {
    if heard.len() == voters {
        return;
    }
    let (debtor, of) = (node.clone(), name.clone());
    let taken = node.workers.background(async move {
        while let Some((voter, answer)) = asked.next().await {
            heard.insert(voter.disk);
            if !matches!(answer, Ok(Answer::Vote(Vote::Accepted))) {
                debtor.owe(&of);
            }
        }
    });
    if !taken {
        node.owe(name);
    }
}

fn failure(answer: Result<Answer, PeerError>) -> String {
    match answer {
        Err(error) => error.to_string(),
        Ok(_) => "an owner answered something else".into(),
    }
}

/// What a read found: the decided value, `None` where there is none.
///
/// One round trip where a quorum of every table has accepted the same ballot;
/// anything else is reconciled first.
pub async fn read(node: &Arc<Node>, name: &FileName) -> Result<Option<Value>, Problem> {
    let end = Instant::now() + READ_LIMIT;
    for attempt in 0.. {
        let Some(current) = node.current() else {
            return Err(no_view());
        };
        match read_once(node, &current, name).await {
            Glance::Decided(value) => return Ok(value.map(|v| *v)),
            Glance::Undecided => {
                match run(node, name, Proposer::new(Change::Identity), None).await? {
                    End::Done(value, _) => return Ok(Some(*value)),
                    End::Absent => return Ok(None),
                    End::Refused(_) | End::Unknown => {}
                }
            }
            Glance::Unreachable(why) if dead_line(end) => return Err(no_quorum(name, &why)),
            Glance::Unreachable(_) => {}
        }
        if dead_line(end) {
            break;
        }
        back_off(attempt).await;
    }
    Err(no_quorum(name, "the owners kept disagreeing"))
}

enum Glance {
    Decided(Option<Box<Value>>),
    /// The owners that answered do not agree.
    Undecided,
    Unreachable(String),
}

async fn read_once(node: &Arc<Node>, current: &Arc<Current>, name: &FileName) -> Glance {
    let electorate = Electorate::new(&current.placements, &Id::of_file(name));
    let me = node.disk();
    let from = electorate
        .voters()
        .iter()
        .find(|v| v.disk == me)
        .or(electorate.voters().first())
        .map(|v| v.disk);
    let mut asked = ask_all(node, current, electorate.voters(), |voter| Request::Read {
        name: name.clone(),
        with_value: Some(voter.disk) == from,
    });
    let mut answers: Vec<(Voter, Option<Ballot>)> = Vec::new();
    let mut values: Vec<(Ballot, Value)> = Vec::new();
    let mut why = String::from("none answered");
    while let Some((voter, answer)) = asked.next().await {
        match answer {
            Ok(Answer::Read { ballot, value }) => {
                answers.push((voter, ballot));
                if let (Some(ballot), Some(value)) = (ballot, value) {
                    values.push((ballot, value));
                }
            }
            other => why = failure(other),
        }
        for (_, ballot) in &answers {
            let agree: BTreeSet<DiskId> = answers
                .iter()
                .filter(|(_, b)| b == ballot)
                .map(|(v, _)| v.disk)
                .collect();
            if !electorate.decides(&agree) {
                continue;
            }
            let Some(ballot) = ballot else {
                return Glance::Decided(None);
            };
            if let Some((_, value)) = values.iter().find(|(b, _)| b == ballot) {
                return Glance::Decided(Some(Box::new(value.clone())));
            }
            let holders: Vec<Voter> = answers
                .iter()
                .filter(|(_, b)| b.as_ref() == Some(ballot))
                .map(|(v, _)| *v)
                .collect();
            if asked.is_empty()
                || from.is_none_or(|disk| answers.iter().any(|(v, _)| v.disk == disk))
            {
                return fetch_value(node, current, name, *ballot, &holders).await;
            }
            break;
        }
    }
    let answered: BTreeSet<DiskId> = answers.iter().map(|(v, _)| v.disk).collect();
    if electorate.decides(&answered) {
        // All have answered. One ballot may be decided while its value was asked
        // of somebody who did not answer.
        for (_, ballot) in &answers {
            let holders: Vec<Voter> = answers
                .iter()
                .filter(|(_, b)| b == ballot)
                .map(|(v, _)| *v)
                .collect();
            let agree: BTreeSet<DiskId> = holders.iter().map(|v| v.disk).collect();
            if let (Some(ballot), true) = (ballot, electorate.decides(&agree)) {
                return fetch_value(node, current, name, *ballot, &holders).await;
            }
        }
        Glance::Undecided
    } else {
        Glance::Unreachable(why)
    }
}

async fn fetch_value(
    node: &Arc<Node>,
    current: &Arc<Current>,
    name: &FileName,
    ballot: Ballot,
    holders: &[Voter],
) -> Glance {
    for holder in holders {
        let request = Request::Read {
            name: name.clone(),
            with_value: true,
        };
        if let Ok(Answer::Read {
            ballot: Some(b),
            value: Some(value),
        }) = node
            .ask(current, holder.ordinal, holder.disk, request)
            .await
            && b == ballot
        {
            return Glance::Decided(Some(Box::new(value)));
        }
    }
    Glance::Undecided
}

/// Confirms a name's value at the owners of the present view: after `Ok`, a
/// quorum of every table holds it. Answers the value, `None` where there is none.
pub async fn reconcile(node: &Arc<Node>, name: &FileName) -> Result<Option<Value>, Problem> {
    confirmed(
        name,
        run(node, name, Proposer::new(Change::Identity), None).await?,
    )
}

/// Brings what this disk holds of a name into the table to come: after `Ok`, a
/// quorum of that table holds it, or what came after it.
pub async fn settle(node: &Arc<Node>, name: &FileName) -> Result<Option<Value>, Problem> {
    confirmed(
        name,
        run(node, name, Proposer::settle(node.disk()), None).await?,
    )
}

fn confirmed(name: &FileName, end: End) -> Result<Option<Value>, Problem> {
    match end {
        End::Done(value, _) => Ok(Some(*value)),
        End::Absent => Ok(None),
        End::Refused(_) | End::Unknown => Err(Problem::new(
            Kind::NoQuorum,
            format!("cannot confirm the value of {name:?}: try again"),
        )),
    }
}

/// What the owners' ballots say of a name, for those that only compare.
pub fn refused_for_view(error: &PeerError) -> bool {
    matches!(error, PeerError::Refused(_, Refusal::OtherView(_)))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use chord_types::manifest::Body;

    use super::*;
    use crate::testing::{Nodes, file};
    use chord_register::{Condition, NewFile};

    #[tokio::test]
    async fn nothing_is_proposed_in_a_view_that_the_precondition_did_not_hold_in() {
        let all = Nodes::start(2).await;
        let view = all.form(1).await;
        let (owner, node) = (&all.nodes[0], &all.nodes[1]);
        let joint = view.change_to(all.table(1, &[0, 1])).unwrap();
        let placements = node.current().unwrap();
        let name = (0..)
            .map(|n| file(&format!("n{n}")))
            .find(|name| {
                let owners = placements.placements.owners(&Id::of_file(name));
                owners.iter().all(|m| m.disk == owner.disk())
            })
            .unwrap();
        let commit = Change::Commit {
            op: node.next_operation(),
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
            let confirm: futures::future::BoxFuture<'_, Result<Ready, Problem>> =
                Box::pin(async move {
                    asked.lock().unwrap().push(current.reference.epoch);
                    if current.reference == joint.reference() {
                        return Ok(Ready::Yes);
                    }
                    // The view moves while chunks are confirmed; the owner of the
                    // register has not heard of it.
                    node.adopt(joint).await.unwrap();
                    Ok(Ready::ViewChanged)
                });
            confirm
        };
        let end = run(node, &name, Proposer::new(commit), Some(&before)).await;
        assert!(matches!(end, Ok(End::Done(..))), "{end:?}");
        assert_eq!(*asked.lock().unwrap(), [view.epoch, joint.epoch]);
        let held = owner.store.read(move |txn| txn.register(&name)).await;
        let (ballot, _) = held.unwrap().unwrap();
        assert_eq!(ballot.epoch, joint.epoch);
    }
}
