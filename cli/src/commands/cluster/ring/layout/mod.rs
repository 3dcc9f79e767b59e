//! What `chord ring` shows: the nodes with their shares, the arcs of their virtual
//! nodes, and where a name lands. Plain values, worked out from what nodes say.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chord_api::http::Successor;
use chord_api::status::{MemberStatus, NodeStatus};
use chord_placement::Placement;
use chord_types::{DiskId, FileName, Id, Ordinal, View};
use serde::Serialize;

use crate::commands::cluster::members::state;
use crate::failure::Failure;

/// The ring, as programs get it.
#[derive(Debug, Serialize)]
pub struct Layout {
    pub epoch: u64,
    /// `Stable`, or `Joint` while a change is under way; then this is what it
    /// leads to.
    pub tables: &'static str,
    pub replication: u8,
    pub nodes: Vec<Node>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Landing>,
    /// In order; together they are the circle.
    #[serde(skip)]
    pub arcs: Vec<Arc>,
}

/// A member.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub name: String,
    pub ordinal: u32,
    pub disk: DiskId,
    /// As `chord nodes` has it.
    pub state: &'static str,
    pub out: bool,
    /// Of the names, from 0 to 1: those that it is the first owner of.
    pub primary: f64,
    /// Of all copies, from 0 to 1: what it must hold by the view.
    pub share: f64,
    /// Bytes that it keeps; null where it does not answer.
    pub used: Option<u64>,
    /// Of the bytes that all who answer keep, from 0 to 1.
    pub used_share: Option<f64>,
    /// Where its virtual nodes stand: the first 16 digits of their ids.
    pub tokens: Vec<String>,
}

/// The part of the circle that has this successor. Parts of 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arc {
    pub after: u64,
    pub upto: u64,
    /// Its place in the list of nodes.
    pub node: usize,
}

impl Arc {
    /// How much of the circle it is. An arc that ends where it begins is all of it.
    pub fn length(&self) -> f64 {
        match self.upto.wrapping_sub(self.after) {
            0 => 1.0,
            some => turn(some),
        }
    }
}

/// Where a name lands.
#[derive(Debug, Serialize)]
pub struct Landing {
    pub name: String,
    pub id: String,
    /// On the circle, from 0 to 1.
    pub at: f64,
    /// As the ring found it.
    pub successor: String,
    /// As the view says, the primary first.
    pub owners: Vec<String>,
    /// The virtual nodes after the key, clockwise, up to the one of the last owner.
    pub walk: Vec<Stop>,
    /// The nodes that the look-up went through.
    pub path: Vec<String>,
    /// Its virtual nodes, the successor last; empty where the ring had no answer.
    pub hops: Vec<Hop>,
    pub epoch: u64,
}

/// A virtual node after the key.
#[derive(Debug, Serialize)]
pub struct Stop {
    pub token: String,
    pub at: f64,
    pub node: String,
    /// 1 for the primary; null: this one is passed over.
    pub owner: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<Passed>,
}

/// Why a virtual node after the key makes its node no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Passed {
    /// The node was met before.
    Before,
    /// The node is given up.
    Out,
    /// An owner in its zone or on its machine was met before, and another is to be had.
    Place,
}

/// A virtual node that a look-up went through.
#[derive(Debug, Serialize)]
pub struct Hop {
    pub id: String,
    pub at: f64,
    pub node: String,
}

/// A part of 2^64 as a part of one turn.
pub fn turn(place: u64) -> f64 {
    place as f64 / 2f64.powi(64)
}

/// The ring as the view makes it.
pub fn layout(view: &View, status: &NodeStatus) -> Layout {
    let table = view.new_table();
    let placement = Placement::new(table);
    let copies = placement.shares();
    // Shares add up to as many circles as there are copies.
    let whole: f64 = copies.values().sum();
    let mut primary: BTreeMap<u32, f64> = BTreeMap::new();
    for (range, owners) in placement.ranges() {
        if let Some(first) = owners.first() {
            *primary.entry(first.ordinal.0).or_default() += range.share();
        }
    }
    let known: BTreeMap<DiskId, &MemberStatus> =
        status.members.iter().map(|m| (m.disk, m)).collect();
    let used = |disk: DiskId| Some(known.get(&disk)?.report.as_ref()?.space.used);
    let used_by_all: u64 = table.members.iter().filter_map(|m| used(m.disk)).sum();
    let nodes = table.members.iter().map(|member| Node {
        name: name_of(&known, member.disk, member.ordinal.0),
        ordinal: member.ordinal.0,
        disk: member.disk,
        state: known.get(&member.disk).map_or("Down", |m| state(m)),
        out: member.out,
        primary: primary.get(&member.ordinal.0).copied().unwrap_or(0.0),
        share: part(copies.get(&member.ordinal).copied().unwrap_or(0.0), whole),
        used: used(member.disk),
        used_share: used(member.disk).map(|bytes| part(bytes as f64, used_by_all as f64)),
        tokens: member
            .tokens
            .iter()
            .map(|t| format!("{:016x}", t.0))
            .collect(),
    });
    Layout {
        epoch: view.epoch.0,
        tables: view.state(),
        replication: table.replication,
        nodes: nodes.collect(),
        name: None,
        arcs: arcs(view),
    }
}

fn part(of: f64, whole: f64) -> f64 {
    if whole > 0.0 { of / whole } else { 0.0 }
}

fn name_of(known: &BTreeMap<DiskId, &MemberStatus>, disk: DiskId, ordinal: u32) -> String {
    match known.get(&disk) {
        Some(member) => member.name.clone(),
        None => format!("node {ordinal}"),
    }
}

/// The virtual nodes in order of their ids, with the places of their nodes.
fn stops(view: &View) -> Vec<(u64, usize)> {
    let members = view.new_table().members.iter().enumerate();
    let mut all: Vec<(u64, usize)> = members
        .flat_map(|(node, member)| member.tokens.iter().map(move |t| (t.0, node)))
        .collect();
    all.sort_unstable();
    all
}

fn arcs(view: &View) -> Vec<Arc> {
    let stops = stops(view);
    let before = stops.last().into_iter().chain(&stops);
    before
        .zip(&stops)
        .map(|(before, stop)| Arc {
            after: before.0,
            upto: stop.0,
            node: stop.1,
        })
        .collect()
}

/// Where a name lands, and how the ring found that.
pub fn landing(
    view: &View,
    status: &NodeStatus,
    name: &FileName,
    found: &Successor,
) -> Result<Landing, Failure> {
    let id = parsed_id(&found.id)?;
    let members = &view.new_table().members;
    let known: BTreeMap<DiskId, &MemberStatus> =
        status.members.iter().map(|m| (m.disk, m)).collect();
    let stops = stops(view);
    let first = stops.partition_point(|(token, _)| chord_types::Token(*token).id() < id);
    // Which of those met are owners is for the placement to say: zones and machines
    // count as well as the way round.
    let placement = Placement::new(view.new_table());
    let owners: Vec<Ordinal> = placement.owners(&id).map(|m| m.ordinal).collect();
    let mut met: BTreeSet<Ordinal> = BTreeSet::new();
    let mut missing = owners.len();
    let mut walk = Vec::new();
    for (token, node) in stops.iter().cycle().skip(first).take(stops.len()) {
        if missing == 0 {
            break;
        }
        let member = &members[*node];
        let place = owners.iter().position(|o| *o == member.ordinal);
        let passed = if !met.insert(member.ordinal) {
            Some(Passed::Before)
        } else if member.out {
            Some(Passed::Out)
        } else if place.is_none() {
            Some(Passed::Place)
        } else {
            missing -= 1;
            None
        };
        walk.push(Stop {
            token: format!("{token:016x}"),
            at: turn(*token),
            node: name_of(&known, member.disk, member.ordinal.0),
            owner: place.filter(|_| passed.is_none()).map(|place| place + 1),
            passed,
        });
    }
    let hops = found.hops.iter().map(|hop| {
        Ok::<_, Failure>(Hop {
            at: turn(parsed_id(&hop.id)?.prefix()),
            id: hop.id.clone(),
            node: hop.node.clone(),
        })
    });
    Ok(Landing {
        name: name.to_string(),
        at: turn(id.prefix()),
        id: found.id.clone(),
        successor: found.successor.clone(),
        owners: found.owners.clone(),
        walk,
        path: found.path.clone(),
        hops: hops.collect::<Result<_, _>>()?,
        epoch: found.epoch.0,
    })
}

fn parsed_id(id: &str) -> Result<Id, Failure> {
    id.parse()
        .map_err(|e| Failure::failed(format!("the cluster's answer cannot be read: {e}")))
}

/// A share for people: `33.3 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
