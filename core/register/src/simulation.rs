//! Registers under faults, in virtual time: the proposer and the acceptor that
//! production runs, with messages lost, doubled and reordered, acceptors that
//! restart, and a change of view in the middle. Every finished operation must
//! have been applied exactly once, in an order that fits real time.
//!
//! The same schedule is run with mutants switched on, each of which must be
//! found; `CHORD_SEEDS` says how many seeds the sound protocol is given.

use std::collections::{BTreeMap, BTreeSet};

use chord_placement::Placements;
use chord_types::manifest::Body;
use chord_types::{ClusterUid, DiskId, Epoch, Id, Member, Ordinal, Table, Token, View};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::acceptor::{Promise, Vote, accepts, grants};
use super::condition::Tags;
use super::proposer::{End, Proposer, Step};
use super::value::{Applied, Refusal};
use super::{Ballot, Change, Condition, Electorate, NewFile, OpId, Outcome, Value};

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
}

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
        meta: vec![],
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
        Electorate::new(&self.placements(epoch), &Id([0; 20]))
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
        let electorate = operation.proposer.electorate(&placements, &Id([0; 20]));
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

    fn take_view(&mut self, peer: DiskId, epoch: u64) {
        let view = self.views[epoch as usize - 1].clone();
        let Some(acceptor) = self.acceptors.get_mut(&peer) else {
            return;
        };
        if acceptor.epoch >= epoch || self.lost == Some(peer) {
            return;
        }
        acceptor.epoch = epoch;
        acceptor.promised = None;
        // Rule 3, as the node does it: what is not owned votes no more.
        if !view.members().iter().any(|m| m.disk == peer) {
            acceptor.accepted = None;
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

    /// First the joint view spreads; then the old owners settle; when enough have,
    /// the new view spreads.
    fn change_view(&mut self, change_at: &mut u64, settling: &mut Vec<usize>) {
        let n = self.rng.random_range(0..self.acceptors.len() as u32);
        if self.story == Story::Loses {
            self.lost = Some(disk(0));
        }
        let newest = self.epoch();
        if newest < 2
            || self
                .acceptors
                .values()
                .any(|a| a.epoch < newest && self.rng.random_bool(0.5))
        {
            self.take_view(disk(n), newest.max(2));
            return;
        }
        if newest != 2 {
            return;
        }
        if self.mutant != Mutant::NoSettling {
            let (_, old, _) = self.story.tables();
            for holder in old.iter().map(|n| disk(*n)) {
                let at_joint = self.acceptors[&holder].epoch == 2;
                let begun = settling
                    .iter()
                    .any(|i| self.operations[*i].settles == Some(holder));
                if at_joint && !begun {
                    self.start(Some(holder));
                    settling.push(self.operations.len() - 1);
                }
            }
            let settled = settling
                .iter()
                .filter(|i| self.operations[**i].end.is_some())
                .count();
            if settled < self.views[0].old().blocking() {
                return;
            }
        }
        *change_at = self.now;
        let (_, _, new) = self.story.tables();
        let first = new[self.rng.random_range(0..new.len())];
        self.take_view(disk(first), 3);
    }

    /// What is wrong with this history, if anything.
    fn judge(&mut self) -> Result<(), String> {
        // All have the newest view; the value is what a read of everybody finds.
        let last = self.epoch();
        let electorate = self.electorate(last);
        let owners: BTreeSet<DiskId> = electorate.voters().iter().map(|v| v.disk).collect();
        let found = owners
            .iter()
            .filter_map(|d| self.acceptors[d].accepted.clone())
            .max_by_key(|(ballot, _)| *ballot)
            .map(|(_, v)| v)
            .unwrap_or_default();
        let mut versions: BTreeMap<u64, u64> = BTreeMap::new();
        let mut done = Vec::new();
        for operation in self.operations.iter().filter(|o| o.settles.is_none()) {
            if let Some((
                at,
                End::Done(_, Outcome::Committed { version, .. } | Outcome::Deleted { version }),
            )) = &operation.end
            {
                if let Some(other) = versions.insert(*version, operation.op.counter) {
                    return Err(format!(
                        "operations {other} and {} both made version {version}",
                        operation.op.counter
                    ));
                }
                done.push((operation.began, *at, *version));
            }
        }
        if let Some(highest) = versions.keys().max()
            && found.version < *highest
        {
            return Err(format!(
                "version {highest} was acknowledged, the owners hold version {}",
                found.version
            ));
        }
        for (_, finished, version) in &done {
            for (began, _, later) in &done {
                if began > finished && later < version {
                    return Err(format!(
                        "version {later} was made after version {version} had been acknowledged"
                    ));
                }
            }
        }
        for operation in &self.operations {
            let Some((_, End::Refused(refusal))) = &operation.end else {
                continue;
            };
            let op = operation.op;
            if found.remembers(&op).is_some() {
                return Err(format!("operation {} was refused and applied", op.counter));
            }
            if let Refusal::Precondition {
                current: Some((_, refused_at)),
            } = refusal
                && let Some((_, _, newer)) = done
                    .iter()
                    .find(|(_, at, version)| *at < operation.began && version > refused_at)
            {
                return Err(format!(
                    "operation {} was refused for version {refused_at} after version {newer} had been acknowledged",
                    op.counter
                ));
            }
        }
        let left = self
            .operations
            .iter()
            .filter(|o| o.settles.is_none() && o.proposer.has_left())
            .count() as u64;
        if found.version > left {
            return Err(format!(
                "{left} operations were proposed and {} were applied",
                found.version
            ));
        }
        Ok(())
    }
}

fn run(seed: u64, mutant: Mutant, story: Story) -> Result<usize, String> {
    let mut world = World::new(seed, mutant, story);
    world.run();
    world.judge()?;
    Ok(world
        .operations
        .iter()
        .filter(|o| matches!(o.end, Some((_, End::Done(..) | End::Refused(_)))))
        .count())
}

fn every_seed(story: Story) {
    let mut done = 0;
    let seeds = chord_testing::seeds("CHORD_SEEDS", 300);
    let many = seeds.end - seeds.start;
    for seed in seeds {
        match run(seed, Mutant::None, story) {
            Ok(finished) => done += finished,
            Err(why) => panic!("{story:?}, seed {seed}: {why}"),
        }
    }
    println!("register simulation, {story:?}: {many} seeds, {done} operations finished");
    assert!(
        done as u64 > many * 6,
        "most operations must finish, or nothing was tested: {done}"
    );
}

#[test]
fn sim_every_acknowledged_operation_is_applied_exactly_once() {
    every_seed(Story::Moves);
}

#[test]
fn sim_two_copies_survive_the_loss_of_one_and_take_writes_again() {
    every_seed(Story::Loses);
    let finishes = (0..50).filter(|seed| {
        let mut world = World::new(*seed, Mutant::None, Story::Loses);
        world.run();
        world.epoch() == 3
    });
    let finishes = finishes.count();
    assert!(finishes >= 45, "the change is completed: {finishes} of 50");
}

#[test]
fn sim_every_mutant_is_found() {
    for (mutant, story) in [
        (Mutant::ForgetsPromises, Story::Moves),
        (Mutant::NewTableOnly, Story::Moves),
        (Mutant::NoSettling, Story::Moves),
        (Mutant::NoSettling, Story::Loses),
        (Mutant::ForgetsOperation, Story::Moves),
        (Mutant::AnyEpoch, Story::Moves),
        (Mutant::RefusesAtOnce, Story::Moves),
    ] {
        let found =
            (0..20_000).find_map(|seed| run(seed, mutant, story).err().map(|why| (seed, why)));
        match found {
            Some((seed, why)) => println!("{mutant:?}, {story:?}: seed {seed}: {why}"),
            None => panic!("{mutant:?} was not found in {story:?}"),
        }
    }
}
