//! Registers under faults, in virtual time: the proposer and the acceptor that
//! production runs, with messages lost, doubled and reordered, acceptors that
//! restart, and a change of view in the middle. Every finished operation must
//! have been applied exactly once, in an order that fits real time.
//!
//! The same schedule is run with mutants switched on, each of which must be
//! found; `CHORD_SEEDS` says how many seeds the sound protocol is given.

mod judge;
mod tests;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use chord_placement::Placements;
use chord_types::manifest::Body;
use chord_types::{ClusterUid, DiskId, Epoch, Id, Member, Ordinal, Table, Token, View};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::acceptor::{Promise, Vote, accepts, grants};
use crate::condition::Tags;
use crate::proposer::{End, Proposer, Step};
use crate::value::Applied;
use crate::{Ballot, Change, Condition, Electorate, NewFile, OpId, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// A restarted acceptor has forgotten what it promised.
    ForgetsPromises,
    /// In a joint view a quorum of the new table is enough.
    NewTableOnly,
    /// The new table is left to itself before anything was reconciled.
    NoSettling,
    /// An operation whose accept has left is proposed again under a new id.
    ForgetsOperation,
    /// Acceptors take requests of an older epoch.
    AnyEpoch,
    /// A quorum that agrees is enough to refuse, also when an accept has left.
    RefusesAtOnce,
    /// In a joint view only what the table to come owns goes on voting.
    OldOwnersVoteNoMore,
    /// No register goes on voting in another view.
    NobodyGoesOnVoting,
}

/// The key of the one register.
const KEY: Id = Id([0; 20]);

/// What the cluster goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    /// Three copies; two of the owners are replaced.
    Moves,
    /// Two copies; the disk of one owner is lost, and others take their place.
    Loses,
}

impl Story {
    /// Copies, the old owners, and the new.
    fn tables(self) -> (u8, &'static [u32], &'static [u32]) {
        match self {
            Story::Moves => (3, &[0, 1, 2], &[2, 3, 4]),
            Story::Loses => (2, &[0, 1], &[2, 3]),
        }
    }
}

#[derive(Clone, Debug)]
enum Message {
    Prepare(Ballot),
    Accept(Ballot, Value),
    Promise(Ballot, Promise),
    Vote(Ballot, Vote),
}

#[derive(Clone, Debug, Default)]
struct Acceptor {
    epoch: u64,
    promised: Option<Ballot>,
    accepted: Option<(Ballot, Value)>,
}

struct Operation {
    op: OpId,
    change: Change,
    proposer: Proposer,
    /// What acceptors reported in this round.
    reported: BTreeMap<DiskId, Option<(Ballot, Value)>>,
    ballot: Option<Ballot>,
    sent_to: Vec<DiskId>,
    began: u64,
    end: Option<(u64, End)>,
    settles: Option<DiskId>,
}

struct World {
    rng: StdRng,
    mutant: Mutant,
    story: Story,
    /// Answers nothing any more.
    lost: Option<DiskId>,
    now: u64,
    views: Vec<View>,
    acceptors: BTreeMap<DiskId, Acceptor>,
    operations: Vec<Operation>,
    /// Receiver operation or acceptor, and the message.
    wire: Vec<(usize, DiskId, bool, Message)>,
    counter: u64,
}

fn disk(n: u32) -> DiskId {
    DiskId(uuid::Uuid::from_u128(u128::from(n) + 1))
}

fn table(replication: u8, ordinals: &[u32]) -> Table {
    let members = ordinals
        .iter()
        .map(|n| Member {
            ordinal: Ordinal(*n),
            disk: disk(*n),
            tokens: vec![Token(u64::from(*n) * 1000 + 1)],
            zone: None,
            machine: None,
            out: false,
        })
        .collect();
    Table {
        replication,
        members,
    }
}

fn file() -> NewFile {
    NewFile {
        size: 0,
        modified_ms: 0,
        content_type: None,
        meta: Default::default(),
        fingerprint: String::new(),
        body: Body::Inline(bytes::Bytes::new()),
    }
}

impl World {
    fn new(seed: u64, mutant: Mutant, story: Story) -> World {
        let (copies, old, new) = story.tables();
        let first = View::first(ClusterUid("sim".into()), table(copies, old)).unwrap();
        let joint = first.change_to(table(copies, new)).unwrap();
        let done = joint.complete().unwrap();
        let acceptors = (0..=new.iter().copied().max().unwrap_or(0))
            .map(|n| {
                (
                    disk(n),
                    Acceptor {
                        epoch: 1,
                        ..Acceptor::default()
                    },
                )
            })
            .collect();
        World {
            rng: StdRng::seed_from_u64(seed),
            mutant,
            story,
            lost: None,
            now: 0,
            views: vec![first, joint, done],
            acceptors,
            operations: Vec::new(),
            wire: Vec::new(),
            counter: 0,
        }
    }

    /// The newest view that any acceptor holds: what a proposer learns in time.
    fn epoch(&self) -> u64 {
        self.acceptors.values().map(|a| a.epoch).max().unwrap_or(1)
    }

    fn placements(&self, epoch: u64) -> Placements {
        let mut view = self.views[epoch as usize - 1].clone();
        if self.mutant == Mutant::NewTableOnly {
            view.tables = chord_types::Tables::Stable(view.new_table().clone());
        }
        Placements::new(&view)
    }

    fn electorate(&self, epoch: u64) -> Electorate {
        Electorate::new(&self.placements(epoch), &KEY)
    }

    fn start(&mut self, settles: Option<DiskId>) {
        self.counter += 1;
        let op = OpId {
            disk: disk(99),
            boot: 1,
            counter: self.counter,
        };
        let change = match settles {
            Some(_) => Change::Identity,
            None => self.random_change(op),
        };
        let proposer = match settles {
            Some(holder) => Proposer::settle(holder),
            None => Proposer::new(change.clone()),
        };
        let began = self.now;
        self.operations.push(Operation {
            op,
            change,
            proposer,
            reported: BTreeMap::new(),
            ballot: None,
            sent_to: vec![],
            began,
            end: None,
            settles,
        });
    }

    /// PUTs, some of them only where there is a file or where there is none, and
    /// DELETEs.
    fn random_change(&mut self, op: OpId) -> Change {
        let any = Some(Tags::Any);
        let condition = match self.rng.random_range(0..4) {
            0 => Condition {
                if_none_match: any,
                ..Condition::default()
            },
            1 => Condition {
                if_match: any,
                ..Condition::default()
            },
            _ => Condition::default(),
        };
        if self.rng.random_bool(0.3) {
            return Change::Delete { op, condition };
        }
        Change::Commit {
            op,
            file: file(),
            condition,
        }
    }

    fn begin_round(&mut self, index: usize) {
        let epoch = self.epoch();
        let placements = self.placements(epoch);
        if self.mutant == Mutant::ForgetsOperation && self.operations[index].proposer.has_left() {
            self.counter += 1;
            let op = OpId {
                counter: self.counter,
                ..self.operations[index].op
            };
            let mut change = self.operations[index].change.clone();
            if let Change::Commit { op: id, .. } | Change::Delete { op: id, .. } = &mut change {
                *id = op;
            }
            let counter = self.operations[index].proposer.next_counter();
            self.operations[index].proposer = Proposer::new(change);
            for _ in 0..counter {
                let nobody = Ballot {
                    counter,
                    ..Ballot::ZERO
                };
                self.operations[index].proposer.rejected(disk(98), nobody);
            }
        }
        let operation = &mut self.operations[index];
        let electorate = operation.proposer.electorate(&placements, &KEY);
        let ballot = Ballot {
            epoch: Epoch(epoch),
            counter: operation.proposer.next_counter(),
            member: Ordinal(index as u32),
            boot: 1,
        };
        operation.ballot = Some(ballot);
        operation.reported.clear();
        operation.sent_to = electorate.voters().iter().map(|v| v.disk).collect();
        operation.proposer.begin(electorate, ballot);
        for to in operation.sent_to.clone() {
            self.wire.push((index, to, true, Message::Prepare(ballot)));
        }
    }

    fn handle_step(&mut self, index: usize, step: Step) {
        match step {
            Step::Wait => {}
            Step::Retry { .. } => self.operations[index].ballot = None,
            Step::Accept(ballot, value) => {
                for to in self.operations[index].sent_to.clone() {
                    self.wire
                        .push((index, to, true, Message::Accept(ballot, (*value).clone())));
                }
            }
            Step::End(end) => {
                let now = self.now;
                self.operations[index].end.get_or_insert((now, end));
            }
        }
    }

    fn deliver(&mut self, at: usize) {
        let (index, peer, to_acceptor, message) = self.wire.swap_remove(at);
        if self.rng.random_bool(0.05) {
            self.wire.push((index, peer, to_acceptor, message.clone()));
        }
        if self.rng.random_bool(0.08) || to_acceptor && self.lost == Some(peer) {
            return;
        }
        if to_acceptor {
            let any_epoch = self.mutant == Mutant::AnyEpoch;
            let Some(acceptor) = self.acceptors.get_mut(&peer) else {
                return;
            };
            let promised = acceptor.promised.unwrap_or(Ballot::ZERO);
            let accepted = acceptor.accepted.as_ref().map(|(b, _)| *b);
            let answer = match message {
                Message::Prepare(ballot) if ballot.epoch.0 == acceptor.epoch || any_epoch => {
                    let promise = match grants(promised, accepted, ballot) {
                        Ok(()) => {
                            acceptor.promised = Some(ballot);
                            Promise::Promised {
                                accepted: acceptor.accepted.clone(),
                            }
                        }
                        Err(promised) => Promise::Rejected { promised },
                    };
                    Message::Promise(ballot, promise)
                }
                Message::Accept(ballot, value) if ballot.epoch.0 == acceptor.epoch || any_epoch => {
                    let vote = match accepts(promised, accepted, ballot) {
                        Ok(()) => {
                            acceptor.promised = Some(ballot);
                            acceptor.accepted = Some((ballot, value));
                            Vote::Accepted
                        }
                        Err(promised) => Vote::Rejected { promised },
                    };
                    Message::Vote(ballot, vote)
                }
                _ => return,
            };
            self.wire.push((index, peer, false, answer));
            return;
        }
        let operation = &mut self.operations[index];
        if operation.end.is_some() {
            return;
        }
        let step = match message {
            Message::Promise(ballot, promise) if operation.ballot == Some(ballot) => {
                match promise {
                    Promise::Promised { accepted } => {
                        operation.reported.insert(peer, accepted.clone());
                        operation.proposer.promised(peer, accepted)
                    }
                    Promise::Rejected { promised } => operation.proposer.rejected(peer, promised),
                }
            }
            Message::Vote(ballot, vote) if operation.ballot == Some(ballot) => match vote {
                Vote::Accepted => operation.proposer.accepted(peer),
                Vote::Rejected { promised } => operation.proposer.rejected(peer, promised),
            },
            _ => return,
        };
        let step = match self.refuses_at_once(index) {
            Some(refused) => refused,
            None => step,
        };
        self.handle_step(index, step);
    }

    /// The mutant of that name: what the proposer must not say.
    fn refuses_at_once(&self, index: usize) -> Option<Step> {
        let operation = &self.operations[index];
        if self.mutant != Mutant::RefusesAtOnce {
            return None;
        }
        let epoch = operation.ballot?.epoch.0;
        let best = operation.reported.values().flatten().map(|(b, _)| *b).max();
        let (holders, values): (BTreeSet<DiskId>, Vec<_>) = operation
            .reported
            .iter()
            .filter(|(_, r)| r.as_ref().map(|(b, _)| *b) == best)
            .map(|(disk, r)| (*disk, r.as_ref().map(|(_, v)| v.clone())))
            .unzip();
        if !self.electorate(epoch).decides(&holders) {
            return None;
        }
        let value = values.into_iter().next().flatten().unwrap_or_default();
        match value.apply(&operation.change) {
            Applied::Refused(refusal) => Some(Step::End(End::Refused(refusal))),
            Applied::Next(..) | Applied::Already(_) => None,
        }
    }

    fn run(&mut self) {
        let goal = 12;
        let mut started = 0;
        let mut change_at = self.rng.random_range(50..400);
        let mut settling: Vec<usize> = Vec::new();
        for _ in 0..6_000 {
            self.now += 1;
            match self.rng.random_range(0..100) {
                0..60 if !self.wire.is_empty() => {
                    let at = self.rng.random_range(0..self.wire.len());
                    self.deliver(at);
                }
                60..70 if started < goal => {
                    self.start(None);
                    started += 1;
                }
                70..90 => {
                    let open: Vec<usize> = (0..self.operations.len())
                        .filter(|i| self.operations[*i].end.is_none())
                        .collect();
                    if !open.is_empty() {
                        let index = open[self.rng.random_range(0..open.len())];
                        let stuck =
                            self.operations[index].ballot.is_none() || self.rng.random_bool(0.1);
                        if stuck {
                            self.begin_round(index);
                        }
                    }
                }
                90..92 if self.mutant == Mutant::ForgetsPromises => {
                    let n = self.rng.random_range(0..self.acceptors.len() as u32);
                    if let Some(acceptor) = self.acceptors.get_mut(&disk(n)) {
                        acceptor.promised = None;
                    }
                }
                92..100 if self.now > change_at => self.change_view(&mut change_at, &mut settling),
                _ => {}
            }
            if started == goal
                && self.operations.iter().all(|o| o.end.is_some())
                && self.epoch() == 3
            {
                return;
            }
        }
    }
}
