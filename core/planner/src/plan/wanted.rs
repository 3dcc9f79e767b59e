//! Which table is wanted, seen from the table that holds everything now.
//!
//! Worked out anew every round, from the old table and from what is under way:
//! what was begun is kept as long as nothing speaks against it, so that a change
//! does not start over because somebody was slow to answer once. Repairs come
//! first, then nodes that join, another replication, and last nodes that leave:
//! one at a time, and only in a change of their own.

use chord_placement::Placement;
use chord_types::{Member, Ordinal, Table};

use super::change::{can_finish, is_joint};
use super::facts::{self, Cluster, Seen};
use super::fit::{self, FULL};
use super::places;
use super::types::{Memory, Millis, Trouble};
use crate::tokens::{self, Seat};

/// How long a new node that is there waits for the others that are wanted, so
/// that all join in one change.
pub const WAIT_FOR_JOINERS_MS: u64 = 30_000;

/// A disk this full takes nothing more: a change that needs it to is given up.
const STUCK: f64 = 98.0;

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A lost or silent member that cannot be repaired around.
    Repair,
    /// A node that cannot join.
    Join,
    /// The replication that cannot be had.
    Replication,
    /// A node that cannot leave or be drained.
    Leave,
    /// The view would get too large.
    Size,
}

/// Why something that is wanted is not done now.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub topic: Topic,
    pub text: String,
}

/// The table to go to, and what is left out of it at present.
#[derive(Debug, PartialEq)]
pub struct Wanted {
    pub table: Table,
    pub notes: Vec<Note>,
    /// A new node is there and waits for others.
    pub joiners_wait: bool,
    /// New nodes that are not there yet, in words.
    pub awaited: Option<String>,
}

struct Choice<'c, 'a> {
    cluster: &'c Cluster<'a>,
    memory: &'c Memory,
    now: Millis,
    joint: bool,
    notes: Vec<Note>,
}

/// Works out which table is wanted, for `target` ordinals.
pub fn wanted(cluster: &Cluster, target: u32, memory: &Memory, now: Millis) -> Wanted {
    let mut choice = Choice {
        cluster,
        memory,
        now,
        joint: is_joint(&cluster.view),
        notes: Vec::new(),
    };
    let old = cluster.view.old();
    let Joiners {
        members: joiners,
        awaited,
        wait: joiners_wait,
    } = choice.joiners(target);
    let mut table = choice.repaired(joiners);
    let joins = table
        .members
        .iter()
        .any(|m| old.member(m.ordinal).is_none());
    if joins && !choice.joint {
        let missing = cluster.missing(&table);
        if !missing.is_empty() {
            let who = cluster.names(missing);
            choice.notes.retain(|note| note.topic != Topic::Repair);
            table = choice.repaired(Vec::new());
            choice.note(
                Topic::Join,
                format!("new nodes join when {who} answers again or is given up"),
            );
        }
    }
    if !choice.joint
        && let Some(why) = choice.joiner_too_full(&table)
    {
        choice.notes.retain(|note| note.topic != Topic::Repair);
        table = choice.repaired(Vec::new());
        choice.note(Topic::Join, why);
    }
    choice.replication(&mut table);
    choice.leave(&mut table, target);
    Wanted {
        table,
        notes: choice.notes,
        joiners_wait,
        awaited: (!awaited.is_empty()).then(|| {
            let shown = awaited.iter().take(5);
            let names = shown.map(|o| facts::awaited(cluster.observed, *o));
            format!("waits for {}", names.collect::<Vec<_>>().join("; "))
        }),
    }
}

/// New nodes.
#[derive(Default)]
struct Joiners {
    /// Those that join now.
    members: Vec<Member>,
    /// Those that are not there yet.
    awaited: Vec<Ordinal>,
    /// Whether some that are there wait for others.
    wait: bool,
}

impl Choice<'_, '_> {
    fn note(&mut self, topic: Topic, text: String) {
        self.notes.push(Note { topic, text });
    }

    /// Whether a member has not answered for as long as it takes to repair.
    fn long_silent(&self, ordinal: Ordinal) -> bool {
        self.memory.silent_since.get(&ordinal).is_some_and(|since| {
            self.now.0.saturating_sub(since.0) >= self.cluster.spec.repair_after_ms
        })
    }

    /// Tokens for a node that joins: by its capacity, beside those of the members.
    fn tokens(&self, table: &Table, joiner: &Member) -> Vec<chord_types::Token> {
        let (cluster, spec) = (self.cluster, self.cluster.spec);
        let capacity = |ordinal| {
            cluster
                .report(ordinal)
                .map_or(0, |report| report.space.capacity)
        };
        let others: Vec<(u32, u64)> = table
            .live()
            .map(|m| (Seat::of(m).tokens, capacity(m.ordinal)))
            .collect();
        let seat = Seat {
            tokens: tokens::tokens_for(capacity(joiner.ordinal), &others, spec.tokens_per_node),
            ..Seat::of(joiner)
        };
        tokens::for_joiner(table, joiner.ordinal, &seat, spec.replication)
    }

    fn joiners(&mut self, target: u32) -> Joiners {
        let (cluster, spec) = (self.cluster, self.cluster.spec);
        let old = cluster.view.old();
        let stays_wanted =
            |o: Ordinal| o.0 < target && !spec.drained.contains(&o) && old.member(o).is_none();
        if self.joint {
            // Who began to join goes on, unless it has been gone for long.
            let mut joiners = Vec::new();
            for member in cluster
                .view
                .new_table()
                .members
                .iter()
                .filter(|m| stays_wanted(m.ordinal))
            {
                let mut member = member.clone();
                match cluster.seen(&member) {
                    Seen::Here(report) if spec.replace == Some(report.disk) => continue,
                    Seen::Here(_) => {}
                    Seen::OtherDisk(report) => {
                        member.disk = report.disk;
                        places::record_replacement(cluster, old, &mut member);
                    }
                    Seen::Failed => continue,
                    Seen::Silent if self.long_silent(member.ordinal) => continue,
                    Seen::Silent => {}
                }
                joiners.push(member);
            }
            return Joiners {
                members: joiners,
                ..Joiners::default()
            };
        }
        let (mut joiners, mut awaited): (Vec<Member>, Vec<Ordinal>) = (Vec::new(), Vec::new());
        let mut unfit = Vec::new();
        for ordinal in (0..target).map(Ordinal).filter(|o| stays_wanted(*o)) {
            let Some(report) = cluster.report(ordinal) else {
                awaited.push(ordinal);
                continue;
            };
            if let Some(why) = cluster.unfit(ordinal, report) {
                unfit.push(why);
                continue;
            }
            match places::of_joiner(cluster, old, ordinal) {
                Err(why) => unfit.push(format!("{} waits to join: {why}", cluster.name(ordinal))),
                Ok(site) => joiners.push(Member {
                    ordinal,
                    disk: report.disk,
                    tokens: Vec::new(),
                    zone: site.zone,
                    machine: site.machine,
                    out: false,
                }),
            }
        }
        for why in unfit {
            self.note(Topic::Join, why);
        }
        for ordinal in &awaited {
            let trouble = cluster.node(*ordinal).and_then(|n| n.trouble.as_ref());
            if let Some(Trouble::Broken(why)) = trouble {
                let name = cluster.name(*ordinal);
                self.note(Topic::Join, format!("{name} does not start: {why}"));
            }
        }
        if joiners.is_empty() {
            return Joiners {
                awaited,
                ..Joiners::default()
            };
        }
        let waited = self
            .memory
            .joiners_since
            .map_or(0, |since| self.now.0.saturating_sub(since.0));
        if !awaited.is_empty() && waited < WAIT_FOR_JOINERS_MS {
            return Joiners {
                awaited,
                wait: true,
                ..Joiners::default()
            };
        }
        // Tokens one after the other, each for a table with those before it.
        let mut with = old.clone();
        for joiner in &mut joiners {
            joiner.tokens = self.tokens(&with, joiner);
            with.members.push(joiner.clone());
            with.members.sort_by_key(|m| m.ordinal);
        }
        Joiners {
            members: joiners,
            wait: !awaited.is_empty(),
            awaited,
        }
    }

    /// Why the new nodes cannot join as they stand: a node that is alone in its zone
    /// would get a copy of everything.
    fn joiner_too_full(&self, table: &Table) -> Option<String> {
        let (cluster, old) = (self.cluster, self.cluster.view.old());
        let joiner = |o: &Ordinal| old.member(*o).is_none();
        if !table.members.iter().any(|m| joiner(&m.ordinal)) {
            return None;
        }
        let (fullest, percent) = fit::fullest_after(cluster, table)?;
        (percent > FULL && joiner(&fullest)).then(|| {
            format!(
                "{} does not join: it would be {percent:.0} % full, since copies stand in as many zones as there are; add nodes in its zone",
                cluster.name(fullest)
            )
        })
    }

    /// The old table with those who join, with the disks that took the place of
    /// lost ones, and with dead members marked as out, as far as that is safe.
    fn repaired(&mut self, joiners: Vec<Member>) -> Table {
        let cluster = self.cluster;
        let old = cluster.view.old();
        let begun = if self.joint {
            Some(cluster.view.new_table())
        } else {
            None
        };
        let mut table = Table {
            replication: old.replication,
            members: Vec::new(),
        };
        // Who is to be marked, and whether that was begun already.
        let mut out: Vec<(Ordinal, bool)> = Vec::new();
        for member in &old.members {
            let mut member = member.clone();
            let given_up = cluster.spec.replace == Some(member.disk);
            let goal = begun.and_then(|t| t.member(member.ordinal));
            match cluster.seen(&member) {
                Seen::Here(_) if given_up => {
                    out.push((member.ordinal, member.out || goal.is_some_and(|g| g.out)))
                }
                Seen::Here(_) => {}
                // Nothing comes back from such a disk by waiting.
                Seen::Failed => {
                    out.push((member.ordinal, member.out || goal.is_some_and(|g| g.out)))
                }
                Seen::OtherDisk(report) => {
                    member.disk = report.disk;
                    match goal.filter(|goal| goal.disk == member.disk) {
                        // Begun already: where it stands is settled.
                        Some(goal) => {
                            member.zone.clone_from(&goal.zone);
                            member.machine.clone_from(&goal.machine);
                        }
                        None => places::record_replacement(cluster, old, &mut member),
                    }
                }
                Seen::Silent => match goal {
                    _ if member.out => out.push((member.ordinal, true)),
                    // Another disk took its place, and is slow to answer.
                    Some(goal) if goal.disk != member.disk && !self.long_silent(member.ordinal) => {
                        member.disk = goal.disk;
                        member.zone.clone_from(&goal.zone);
                        member.machine.clone_from(&goal.machine);
                    }
                    Some(goal) if goal.disk == member.disk && goal.out => {
                        out.push((member.ordinal, true))
                    }
                    _ if given_up || self.long_silent(member.ordinal) => {
                        out.push((member.ordinal, false))
                    }
                    _ => {}
                },
            }
            member.out = false;
            table.members.push(member);
        }
        table.members.extend(joiners);
        table.members.sort_by_key(|m| m.ordinal);
        out.sort_by_key(|(ordinal, begun)| (!begun, *ordinal));
        for (ordinal, begun) in out {
            let mut without = table.clone();
            for member in without.members.iter_mut().filter(|m| m.ordinal == ordinal) {
                member.out = true;
            }
            match self.must_stay(&without, ordinal, begun) {
                None => table = without,
                Some(why) => self.note(Topic::Repair, why),
            }
        }
        table
    }

    /// Why a dead member cannot be marked as out.
    fn must_stay(&self, without: &Table, ordinal: Ordinal, begun: bool) -> Option<String> {
        let cluster = self.cluster;
        let name = cluster.name(ordinal);
        let given_up = cluster
            .view
            .old()
            .member(ordinal)
            .map(|m| m.disk)
            .filter(|disk| cluster.spec.replace == Some(*disk));
        let what = match given_up {
            Some(disk) => format!("the disk of {name} ({disk}) cannot be given up"),
            None => match cluster.report(ordinal).and_then(|r| r.failure.as_ref()) {
                Some(failure) => format!(
                    "the disk of {name} is broken ({failure}) and cannot be repaired around"
                ),
                None => format!("{name} is gone for long and cannot be repaired around"),
            },
        };
        let left = without.live().count();
        if left < usize::from(without.replication) {
            return Some(format!(
                "{what}: {left} members would be left for {} copies; bring it back or add a node",
                without.replication
            ));
        }
        if begun {
            return None;
        }
        let member = cluster.view.old().member(ordinal)?;
        if given_up.is_some() {
            let placement = Placement::new(cluster.view.old());
            let only_copy = placement.ranges().any(|(_, owners)| {
                owners.iter().any(|o| o.disk == member.disk)
                    && !owners
                        .iter()
                        .any(|o| o.disk != member.disk && cluster.here(o).is_some())
            });
            if only_copy {
                return Some(format!(
                    "{what}: no other copy of a part of the files answers"
                ));
            }
        }
        if let Err(why) = can_finish(cluster, without) {
            return Some(format!("{what}: {why}"));
        }
        match fit::fullest_after(cluster, without) {
            Some((fullest, percent)) if percent > FULL => Some(format!(
                "{what}: its copies fit nowhere else: {} would be {percent:.0} % full; add a node",
                cluster.name(fullest)
            )),
            _ => None,
        }
    }

    /// Another replication, where the members suffice for it.
    fn replication(&mut self, table: &mut Table) {
        let cluster = self.cluster;
        let goal = cluster.spec.replication;
        if goal == table.replication {
            return;
        }
        let mut changed = table.clone();
        changed.replication = goal;
        let live = changed.live().count();
        if live < usize::from(goal) {
            self.note(
                Topic::Replication,
                format!("{goal} copies need {goal} members, there are {live}"),
            );
            return;
        }
        if self.joint {
            if cluster.view.new_table().replication == goal {
                *table = changed;
            }
            return;
        }
        let missing = cluster.missing(table);
        if !missing.is_empty() {
            let who = cluster.names(missing);
            self.note(
                Topic::Replication,
                format!("{goal} copies are made when {who} answers again"),
            );
            return;
        }
        match fit::fullest_after(cluster, &changed) {
            Some((fullest, percent)) if percent > FULL && goal > table.replication => {
                let name = cluster.name(fullest);
                self.note(
                    Topic::Replication,
                    format!(
                        "{goal} copies do not fit: {name} would be {percent:.0} % full; add nodes"
                    ),
                );
            }
            _ => *table = changed,
        }
    }

    /// Takes one member out that shall leave or be drained, where that is safe.
    fn leave(&mut self, table: &mut Table, target: u32) {
        let cluster = self.cluster;
        let old = cluster.view.old();
        let highest = old.members.iter().map(|m| m.ordinal).max();
        let drained = old
            .members
            .iter()
            .map(|m| m.ordinal)
            .filter(|o| cluster.spec.drained.contains(o));
        let beyond = highest.filter(|o| o.0 >= target && !cluster.spec.drained.contains(o));
        let leaving: Vec<Ordinal> = drained.chain(beyond).collect();
        if self.joint {
            let goal = cluster.view.new_table();
            if let Some(ordinal) = leaving.into_iter().find(|o| goal.member(*o).is_none()) {
                let mut without = table.clone();
                without.members.retain(|m| m.ordinal != ordinal);
                let joins = table
                    .members
                    .iter()
                    .any(|m| old.member(m.ordinal).is_none());
                let stuck = without.live().find_map(|m| {
                    let report = cluster.here(m)?;
                    (fit::percent(report.space.used, report.space.capacity) >= STUCK)
                        .then_some(m.ordinal)
                });
                if joins || without.live().count() < usize::from(without.replication) {
                    return;
                }
                match stuck {
                    Some(full) => {
                        let (name, full) = (cluster.name(ordinal), cluster.name(full));
                        self.note(
                            Topic::Leave,
                            format!("{name} stays: the disk of {full} is full"),
                        );
                    }
                    None => *table = without,
                }
            }
            return;
        }
        for ordinal in leaving {
            match self.must_not_leave(table, ordinal, target) {
                Some(why) => self.note(Topic::Leave, why),
                None => {
                    table.members.retain(|m| m.ordinal != ordinal);
                    return;
                }
            }
        }
    }

    /// Why a member cannot leave now.
    fn must_not_leave(&self, table: &Table, ordinal: Ordinal, target: u32) -> Option<String> {
        let cluster = self.cluster;
        let name = cluster.name(ordinal);
        if table != cluster.view.old() {
            return Some(format!("{name} leaves after another change"));
        }
        let mut without = table.clone();
        without.members.retain(|m| m.ordinal != ordinal);
        let left = without.live().count();
        let copies = usize::from(without.replication.max(cluster.spec.replication));
        if left < copies {
            return Some(format!(
                "{name} must stay: {left} members would be left for {copies} copies"
            ));
        }
        let missing = cluster.missing(table);
        if !missing.is_empty() {
            return Some(format!(
                "{name} leaves when {} answers again or is given up",
                cluster.names(missing)
            ));
        }
        // Those that can go now go first; one below a member cannot.
        let highest = table.members.iter().map(|m| m.ordinal).max();
        let before: Vec<Ordinal> = cluster
            .observed
            .nodes
            .iter()
            .filter(|(o, node)| {
                o.0 >= target && Some(**o) > highest && node.running && !cluster.in_view(**o)
            })
            .map(|(o, _)| *o)
            .collect();
        if !before.is_empty() {
            return Some(format!(
                "{name} leaves when {} is gone",
                cluster.names(before)
            ));
        }
        let limit = match &cluster.spec.autoscaling {
            Some(auto) if !cluster.spec.drained.contains(&ordinal) => {
                f64::from(auto.scale_out_above)
            }
            _ => FULL,
        };
        match fit::fullest_after(cluster, &without) {
            Some((_, percent)) if percent <= limit => None,
            Some((fullest, percent)) => Some(format!(
                "{name} must stay: without it {} would be {percent:.0} % full, the limit is {limit:.0} %",
                cluster.name(fullest)
            )),
            None => Some(format!(
                "{name} stays while it is not known how full the disks are"
            )),
        }
    }
}
