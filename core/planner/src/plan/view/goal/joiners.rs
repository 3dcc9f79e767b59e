//! Nodes that join: those that are there and fit, all in one change.

use chord_types::{Member, Ordinal, Table, Token};

use super::choice::Choice;
use crate::plan::cluster::Presence;
use crate::plan::fit::{self, FULL};
use crate::plan::input::Trouble;
use crate::plan::view::note::Topic;
use crate::plan::view::sites;
use crate::tokens::{self, Seat};

/// How long a new node that is there waits for the others that are wanted, so
/// that all join in one change.
pub const WAIT_FOR_JOINERS_MS: u64 = 30_000;

/// New nodes.
#[derive(Default)]
pub struct Joiners {
    /// Those that join now.
    pub members: Vec<Member>,
    /// Those that are not there yet.
    pub awaited: Vec<Ordinal>,
    /// Whether some that are there wait for others.
    pub wait: bool,
}

impl Choice<'_, '_> {
    /// The nodes that join, for `target` ordinals.
    pub fn joiners(&mut self, target: u32) -> Joiners {
        match self.joint {
            true => Joiners {
                members: self.still_joining(target),
                ..Joiners::default()
            },
            false => self.new_joiners(target),
        }
    }

    /// Whether the node at an ordinal is wanted and no member yet.
    fn may_join(&self, ordinal: Ordinal, target: u32) -> bool {
        ordinal.0 < target
            && !self.cluster.spec.drained.contains(&ordinal)
            && self.cluster.view.old().member(ordinal).is_none()
    }

    /// Who began to join goes on, unless it has been gone for long.
    fn still_joining(&self, target: u32) -> Vec<Member> {
        let (cluster, spec) = (self.cluster, self.cluster.spec);
        let begun = cluster.view.new_table().members.iter();
        let mut joiners = Vec::new();
        for member in begun.filter(|m| self.may_join(m.ordinal, target)) {
            let mut member = member.clone();
            match cluster.presence(&member) {
                Presence::Here(report) if spec.replace == Some(report.disk) => continue,
                Presence::Here(_) => {}
                Presence::OtherDisk(report) => {
                    member.disk = report.disk;
                    sites::record_replacement(cluster, cluster.view.old(), &mut member);
                }
                Presence::Failed => continue,
                Presence::Silent if self.long_silent(member.ordinal) => continue,
                Presence::Silent => {}
            }
            joiners.push(member);
        }
        joiners
    }

    /// Who can join in a change that begins now.
    fn new_joiners(&mut self, target: u32) -> Joiners {
        let (mut joiners, awaited) = self.there_or_awaited(target);
        self.note_who_does_not_start(&awaited);
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
        let mut with = self.cluster.view.old().clone();
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

    /// The wanted nodes that are there and fit, without tokens, and those that are not
    /// there yet. Who does not fit is noted.
    fn there_or_awaited(&mut self, target: u32) -> (Vec<Member>, Vec<Ordinal>) {
        let cluster = self.cluster;
        let (mut joiners, mut awaited) = (Vec::new(), Vec::new());
        for ordinal in (0..target).map(Ordinal) {
            if !self.may_join(ordinal, target) {
                continue;
            }
            let Some(report) = cluster.report(ordinal) else {
                awaited.push(ordinal);
                continue;
            };
            if let Some(why) = cluster.unfit(ordinal, report) {
                self.note(Topic::Join, why);
                continue;
            }
            match sites::of_joiner(cluster, cluster.view.old(), ordinal) {
                Err(why) => {
                    let name = cluster.name(ordinal);
                    self.note(Topic::Join, format!("{name} waits to join: {why}"));
                }
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
        (joiners, awaited)
    }

    fn note_who_does_not_start(&mut self, awaited: &[Ordinal]) {
        let cluster = self.cluster;
        for ordinal in awaited {
            let trouble = cluster.node(*ordinal).and_then(|n| n.trouble.as_ref());
            if let Some(Trouble::Broken(why)) = trouble {
                let name = cluster.name(*ordinal);
                self.note(Topic::Join, format!("{name} does not start: {why}"));
            }
        }
    }

    /// Tokens for a node that joins: by its capacity, beside those of the members.
    fn tokens(&self, table: &Table, joiner: &Member) -> Vec<Token> {
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

    /// Why the new nodes cannot join as they stand: a node that is alone in its zone
    /// would get a copy of everything.
    pub fn joiner_too_full(&self, table: &Table) -> Option<String> {
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
}
