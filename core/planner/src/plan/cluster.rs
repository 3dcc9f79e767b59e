//! What the reports say about the members of a view.
//!
//! A member is a name *and a disk*: a node that answers with another disk is not
//! the member, whatever it is called.

use std::collections::BTreeSet;

use chord_types::report::NodeReport;
use chord_types::view::ViewRef;
use chord_types::{DiskId, Member, Ordinal, Speaks, Table, View};

use super::input::{Node, Observed, Spec};

/// The cluster as one round of the planner sees it: a view is in force.
pub struct Cluster<'a> {
    /// What is wanted.
    pub spec: &'a Spec,
    /// What the shell saw.
    pub observed: &'a Observed,
    /// The view in force.
    pub view: View,
    /// Its number and hash.
    pub reference: ViewRef,
}

/// What is at the place of a member.
#[derive(Clone, Copy, Debug)]
pub enum Presence<'a> {
    /// The member itself answers.
    Here(&'a NodeReport),
    /// The member's node answers and says that its disk takes nothing any more: it
    /// holds nothing that one could read, and votes on nothing.
    Failed,
    /// Its node answers with another disk, one that may become a member.
    OtherDisk(&'a NodeReport),
    /// Nobody answers, or somebody who cannot take its place.
    Silent,
}

impl<'a> Cluster<'a> {
    /// The cluster under this view.
    pub fn new(spec: &'a Spec, observed: &'a Observed, view: View) -> Cluster<'a> {
        let reference = view.reference();
        Cluster {
            spec,
            observed,
            view,
            reference,
        }
    }

    /// What was seen at an ordinal.
    pub fn node(&self, ordinal: Ordinal) -> Option<&'a Node> {
        self.observed.nodes.get(&ordinal)
    }

    /// The answer of the node at an ordinal.
    pub fn report(&self, ordinal: Ordinal) -> Option<&'a NodeReport> {
        report_at(self.observed, ordinal)
    }

    /// What is at the place of a member.
    pub fn presence(&self, member: &Member) -> Presence<'a> {
        match self.report(member.ordinal) {
            Some(report) if report.disk == member.disk && self.is_ours(report) => {
                match report.failure {
                    Some(_) => Presence::Failed,
                    None => Presence::Here(report),
                }
            }
            Some(report) if self.unfit(member.ordinal, report).is_none() => {
                Presence::OtherDisk(report)
            }
            _ => Presence::Silent,
        }
    }

    /// The report of a member that itself answers.
    pub fn here(&self, member: &Member) -> Option<&'a NodeReport> {
        match self.presence(member) {
            Presence::Here(report) => Some(report),
            Presence::Failed | Presence::OtherDisk(_) | Presence::Silent => None,
        }
    }

    fn is_ours(&self, report: &NodeReport) -> bool {
        report
            .cluster
            .as_ref()
            .is_none_or(|cluster| *cluster == self.spec.cluster)
    }

    /// Why the disk that answers at an ordinal must not become a member; `None`
    /// where it may.
    pub fn unfit(&self, ordinal: Ordinal, report: &NodeReport) -> Option<String> {
        let name = self.name(ordinal);
        if let Some(other) = report.cluster.as_ref().filter(|_| !self.is_ours(report)) {
            return Some(format!(
                "the disk of {name} belongs to another cluster ({other}); it is not touched: \
                 give the node another disk, or take the disk away if its files are not needed"
            ));
        }
        if self.spec.replace == Some(report.disk) {
            return Some(format!(
                "the disk of {name} ({}) was given up; give the node another disk",
                report.disk
            ));
        }
        if let Some(failure) = &report.failure {
            return Some(format!(
                "the disk of {name} ({}) is broken: {failure}; give the node another disk",
                report.disk
            ));
        }
        if let Some(remedy) = Speaks::OURS.apart("the operator", &report.speaks, &name) {
            return Some(format!("{remedy}; until then it does not become a member"));
        }
        let elsewhere = self
            .view
            .members()
            .iter()
            .any(|m| m.disk == report.disk && m.ordinal != ordinal)
            || self.observed.nodes.iter().any(|(other, node)| {
                *other != ordinal && node.report.as_ref().is_some_and(|r| r.disk == report.disk)
            });
        if elsewhere {
            return Some(format!(
                "the disk of {name} ({}) is the disk of another node too: a copy of a disk cannot be a member",
                report.disk
            ));
        }
        None
    }

    /// The name of the node at an ordinal, for people.
    pub fn name(&self, ordinal: Ordinal) -> String {
        name_of(self.observed, ordinal)
    }

    /// Several names, for people.
    pub fn names(&self, ordinals: impl IntoIterator<Item = Ordinal>) -> String {
        let ordinals: BTreeSet<Ordinal> = ordinals.into_iter().collect();
        let shown: Vec<String> = ordinals.iter().take(5).map(|o| self.name(*o)).collect();
        match ordinals.len().saturating_sub(shown.len()) {
            0 => shown.join(", "),
            unnamed => format!("{} and {unnamed} more", shown.join(", ")),
        }
    }

    /// Members of a table, not given up, that do not answer, or whose disk is broken.
    pub fn missing(&self, table: &Table) -> Vec<Ordinal> {
        table
            .live()
            .filter(|m| self.here(m).is_none())
            .map(|m| m.ordinal)
            .collect()
    }

    /// Whether a change of the view is under way.
    pub fn is_joint(&self) -> bool {
        self.view.stable().is_none()
    }

    /// Ordinals up to the highest member's of the new table.
    pub fn ordinals_now(&self) -> u32 {
        let members = self.view.new_table().members.iter();
        members.map(|m| m.ordinal.0 + 1).max().unwrap_or(0)
    }

    /// Whether the node at an ordinal stands in the old or the new table.
    pub fn in_view(&self, ordinal: Ordinal) -> bool {
        self.view.old().member(ordinal).is_some() || self.view.new_table().member(ordinal).is_some()
    }

    /// Whether a disk stands in the old or the new table.
    pub fn disk_in_view(&self, disk: DiskId) -> bool {
        self.view.old().by_disk(disk).is_some() || self.view.new_table().by_disk(disk).is_some()
    }
}

/// The answer of the node at an ordinal; an answer in another node's name is none.
pub fn report_at(observed: &Observed, ordinal: Ordinal) -> Option<&NodeReport> {
    observed
        .nodes
        .get(&ordinal)?
        .report
        .as_ref()
        .filter(|r| r.ordinal == ordinal)
}

/// The name of the node at an ordinal: its own word, or made like the others'.
pub fn name_of(observed: &Observed, ordinal: Ordinal) -> String {
    if let Some(report) = report_at(observed, ordinal) {
        return report.name.clone();
    }
    observed
        .nodes
        .iter()
        .filter_map(|(other, node)| {
            node.report
                .as_ref()?
                .name
                .strip_suffix(&format!("-{other}"))
        })
        .next()
        .map_or_else(
            || format!("node {ordinal}"),
            |prefix| format!("{prefix}-{ordinal}"),
        )
}

/// A node that does not answer, with what is wrong with it, for people.
pub fn awaited(observed: &Observed, ordinal: Ordinal) -> String {
    let trouble = observed
        .nodes
        .get(&ordinal)
        .and_then(|n| n.trouble.as_ref());
    let name = name_of(observed, ordinal);
    match trouble {
        Some(trouble) => format!("{name} ({})", trouble.words()),
        None => name,
    }
}
