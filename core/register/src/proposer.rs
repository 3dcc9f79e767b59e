//! One operation on one register, as a plain value: it is told what acceptors
//! answered and says what to send next. It opens no socket and reads no clock.
//!
//! An operation is a sequence of rounds, each with a ballot of its own: prepare
//! at the owners, take the accepted value with the highest ballot, apply the
//! change, and have the result accepted. What makes it exact (rule 4 of
//! docs/architecture.md): once an accept has left, the operation is proposed again only when
//! the value that a quorum shows would still remember it, and does not.

use std::collections::BTreeSet;

use chord_placement::Placements;
use chord_types::{DiskId, Id};

use super::ballot::Ballot;
use super::electorate::Electorate;
use super::value::{Applied, Change, OpId, Outcome, Refusal, Value};

/// What an operation ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Decided; the value as it stands and what the change did.
    Done(Box<Value>, Outcome),
    /// The register holds nothing, and the change was the identity.
    Absent,
    /// The change does not apply to the decided value.
    Refused(Refusal),
    /// It left for the acceptors and nobody can say any more whether it was applied.
    Unknown,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for more answers.
    Wait,
    /// Send this to every voter.
    Accept(Ballot, Box<Value>),
    /// This round cannot succeed. Begin another with a counter above this one.
    Retry {
        /// The highest counter heard of.
        above: u64,
    },
    /// The operation has ended.
    End(End),
}

/// One operation. Lives as long as the request that made it.
#[derive(Clone, Debug)]
pub struct Proposer {
    change: Change,
    /// The lowest `seq` of the register on which an accept of this change left:
    /// any of these accepts may be the one that is applied.
    left_at: Option<u64>,
    highest_counter: u64,
    round: Option<Round>,
    /// A voter without whose promise no value is proposed: a holder that
    /// reconciles its own copy must see it taken into account.
    must_hear: Option<DiskId>,
}

#[derive(Clone, Debug)]
struct Round {
    electorate: Electorate,
    ballot: Ballot,
    yes: BTreeSet<DiskId>,
    no: BTreeSet<DiskId>,
    /// Accepted ballots reported by voters, `None` for an empty register.
    reported: Vec<(DiskId, Option<Ballot>)>,
    best: Option<(Ballot, Value)>,
    /// In the second phase: what the operation ends with once accepted.
    proposed: Option<End>,
}

impl Proposer {
    /// An operation that makes this change.
    pub fn new(change: Change) -> Proposer {
        Proposer {
            change,
            left_at: None,
            highest_counter: 0,
            round: None,
            must_hear: None,
        }
    }

    /// The identity change by a holder of a copy that brings it into the table to
    /// come: the holder has to be heard itself.
    pub fn settle(holder: DiskId) -> Proposer {
        Proposer {
            must_hear: Some(holder),
            ..Proposer::new(Change::Identity)
        }
    }

    /// Who has to take part in this operation on `key`.
    pub fn electorate(&self, placements: &Placements, key: &Id) -> Electorate {
        match self.must_hear {
            Some(_) => Electorate::settling(placements, key),
            None => Electorate::new(placements, key),
        }
    }

    /// The counter for the next ballot.
    pub fn next_counter(&self) -> u64 {
        self.highest_counter + 1
    }

    /// Whether an accept of this change has ever left.
    pub fn has_left(&self) -> bool {
        self.left_at.is_some()
    }

    /// Bytes that a client brings: nothing once an accept has left, since then it
    /// has to be found out what became of it.
    pub fn brings(&self) -> u64 {
        match self.left_at {
            None => self.change.brings(),
            Some(_) => 0,
        }
    }

    /// Begins a round: prepare at every voter of `electorate` with `ballot`.
    pub fn begin(&mut self, electorate: Electorate, ballot: Ballot) {
        self.highest_counter = self.highest_counter.max(ballot.counter);
        self.round = Some(Round {
            electorate,
            ballot,
            yes: BTreeSet::new(),
            no: BTreeSet::new(),
            reported: Vec::new(),
            best: None,
            proposed: None,
        });
    }

    /// A voter promised, and reported what it had accepted.
    pub fn promised(&mut self, from: DiskId, accepted: Option<(Ballot, Value)>) -> Step {
        let Some(round) = &mut self.round else {
            return Step::Wait;
        };
        if round.proposed.is_some() || !round.electorate.has(from) || !round.yes.insert(from) {
            return Step::Wait;
        }
        round
            .reported
            .push((from, accepted.as_ref().map(|(b, _)| *b)));
        if let Some((ballot, value)) = accepted
            && round.best.as_ref().is_none_or(|(best, _)| ballot > *best)
        {
            round.best = Some((ballot, value));
        }
        let heard = self
            .must_hear
            .is_none_or(|disk| round.yes.contains(&disk) || !round.electorate.has(disk));
        if heard && round.electorate.decides(&round.yes) {
            self.propose()
        } else {
            Step::Wait
        }
    }

    /// A voter refused this round's ballot; it has promised `promised`.
    pub fn rejected(&mut self, from: DiskId, promised: Ballot) -> Step {
        self.highest_counter = self.highest_counter.max(promised.counter);
        self.failed(from)
    }

    /// A voter could not be asked, or its answer got lost.
    pub fn failed(&mut self, from: DiskId) -> Step {
        let above = self.highest_counter;
        let Some(round) = &mut self.round else {
            return Step::Retry { above };
        };
        round.no.insert(from);
        let deaf = round.proposed.is_none() && self.must_hear == Some(from);
        if deaf || !round.electorate.possible_without(&round.no) {
            self.round = None;
            return Step::Retry { above };
        }
        Step::Wait
    }

    /// A voter accepted this round's value.
    pub fn accepted(&mut self, from: DiskId) -> Step {
        let Some(round) = &mut self.round else {
            return Step::Wait;
        };
        if round.proposed.is_none() || !round.electorate.has(from) {
            return Step::Wait;
        }
        round.yes.insert(from);
        if !round.electorate.decides(&round.yes) {
            return Step::Wait;
        }
        match self.round.take().and_then(|r| r.proposed) {
            Some(end) => Step::End(end),
            None => Step::Wait,
        }
    }

    fn operation(&self) -> Option<&OpId> {
        match &self.change {
            Change::Commit { op, .. } | Change::Delete { op, .. } => Some(op),
            Change::Identity | Change::Begin { .. } | Change::Expire { .. } => None,
        }
    }

    fn propose(&mut self) -> Step {
        let operation = self.operation().copied();
        let Some(round) = &mut self.round else {
            return Step::Wait;
        };
        let (best, value) = match &round.best {
            Some((ballot, value)) => (Some(*ballot), value.clone()),
            None => (None, Value::default()),
        };
        if let (Some(left_at), Some(op)) = (self.left_at, operation)
            && value.remembers(&op).is_none()
            && !value.would_remember_since(left_at)
        {
            return Step::End(End::Unknown);
        }
        if best.is_none() && matches!(self.change, Change::Identity | Change::Expire { .. }) {
            return Step::End(End::Absent);
        }
        let (next, end) = match value.apply(&self.change) {
            Applied::Next(next, outcome) => {
                if self.change != Change::Identity {
                    let base = self.left_at.map_or(value.seq, |seq| seq.min(value.seq));
                    self.left_at = Some(base);
                }
                (next.clone(), End::Done(Box::new(next), outcome))
            }
            Applied::Already(outcome) => (value.clone(), End::Done(Box::new(value), outcome)),
            Applied::Refused(refusal) => {
                // A refusal is an answer about the current value, so that value has
                // to be decided: it is when a quorum of every table reported it.
                let holders: BTreeSet<DiskId> = round
                    .reported
                    .iter()
                    .filter(|(_, b)| *b == best)
                    .map(|(d, _)| *d)
                    .collect();
                // Once an accept of this change has left, one voter may hold it
                // unseen: then the refusal counts when the value stands above it.
                if self.left_at.is_none() && round.electorate.decides(&holders) {
                    return Step::End(End::Refused(refusal));
                }
                (value, End::Refused(refusal))
            }
        };
        round.proposed = Some(end);
        round.yes.clear();
        round.no.clear();
        Step::Accept(round.ballot, Box::new(next))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chord_types::manifest::Body;
    use chord_types::{ClusterUid, Epoch, Member, Ordinal, Table, Token, View};

    use super::*;
    use crate::condition::Tags;
    use crate::{Condition, NewFile};

    fn disk(n: u32) -> DiskId {
        DiskId(uuid::Uuid::from_u128(u128::from(n) + 1))
    }

    fn electorate() -> Electorate {
        let members = (0..3).map(|n| Member {
            ordinal: Ordinal(n),
            disk: disk(n),
            tokens: vec![Token(u64::from(n) * 1000 + 1)],
            zone: None,
            machine: None,
            out: false,
        });
        let table = Table {
            replication: 3,
            members: members.collect(),
        };
        let view = View::first(ClusterUid("test".into()), table).unwrap();
        Electorate::new(&Placements::new(&view), &Id([0; 20]))
    }

    fn ballot(counter: u64) -> Ballot {
        Ballot {
            epoch: Epoch(1),
            counter,
            member: Ordinal(0),
            boot: 1,
        }
    }

    fn commit(counter: u64, condition: Condition) -> Change {
        Change::Commit {
            op: OpId {
                disk: disk(9),
                boot: 1,
                counter,
            },
            file: NewFile {
                size: 0,
                modified_ms: 0,
                content_type: None,
                meta: Default::default(),
                fingerprint: String::new(),
                body: Body::Inline(Bytes::new()),
            },
            condition,
        }
    }

    /// A value after so many commits of others.
    fn after(commits: u64) -> Value {
        (0..commits).fold(Value::default(), |value, n| {
            match value.apply(&commit(1_000 + n, Condition::default())) {
                Applied::Next(next, _) => next,
                other => panic!("{other:?}"),
            }
        })
    }

    #[test]
    fn a_refusal_after_an_accept_has_left_is_written_over_it_first() {
        let create = Condition {
            if_none_match: Some(Tags::Any),
            ..Condition::default()
        };
        let delete = Change::Delete {
            op: OpId {
                disk: disk(8),
                boot: 1,
                counter: 1,
            },
            condition: Condition::default(),
        };
        let there = after(1);
        let Applied::Next(gone, _) = there.apply(&delete) else {
            panic!("the file is there");
        };
        let mut put = Proposer::new(commit(1, create));
        put.begin(electorate(), ballot(3));
        put.promised(disk(0), Some((ballot(2), gone)));
        let left = put.promised(disk(1), Some((ballot(1), there.clone())));
        assert!(matches!(left, Step::Accept(..)), "{left:?}");
        // The first voter took it and fell silent; the others still agree.
        put.failed(disk(1));
        put.failed(disk(2));
        put.begin(electorate(), ballot(4));
        put.promised(disk(1), Some((ballot(1), there.clone())));
        let step = put.promised(disk(2), Some((ballot(1), there.clone())));
        assert_eq!(step, Step::Accept(ballot(4), Box::new(there)));
        put.accepted(disk(1));
        let end = put.accepted(disk(2));
        assert!(matches!(end, Step::End(End::Refused(_))), "{end:?}");
    }

    #[test]
    fn what_a_register_must_remember_counts_from_the_lowest_base() {
        let mut put = Proposer::new(commit(1, Condition::default()));
        for (counter, base) in [(1, 10), (2, 5)] {
            put.begin(electorate(), ballot(counter));
            put.promised(disk(0), Some((ballot(0), after(base))));
            let step = put.promised(disk(1), Some((ballot(0), after(base))));
            assert!(matches!(step, Step::Accept(..)), "{step:?}");
            put.failed(disk(0));
            put.failed(disk(1));
        }
        // Applied on the lower base it would be forgotten by now.
        put.begin(electorate(), ballot(30));
        put.promised(disk(0), Some((ballot(29), after(22))));
        let step = put.promised(disk(1), Some((ballot(29), after(22))));
        assert_eq!(step, Step::End(End::Unknown));
    }
}
