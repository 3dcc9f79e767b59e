//! What `chord ring` shows: the nodes with their shares, the arcs of their virtual
//! nodes, and where a name lands. Plain values, worked out from what nodes say.

use std::collections::{BTreeMap, BTreeSet};

use chord_api::http::Successor;
use chord_api::status::{MemberStatus, NodeStatus};
use chord_placement::Placement;
use chord_types::{DiskId, FileName, Id, Ordinal, View};
use serde::Serialize;

use crate::commands::cluster::nodes::state;
use crate::failure::Failure;

/// The ring, as programs get it.
#[derive(Debug, Serialize)]
pub struct Ring {
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
pub fn ring(view: &View, status: &NodeStatus) -> Ring {
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
    Ring {
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
    let id = place(&found.id)?;
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
            at: turn(place(&hop.id)?.prefix()),
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

fn place(id: &str) -> Result<Id, Failure> {
    id.parse()
        .map_err(|e| Failure::failed(format!("the cluster's answer cannot be read: {e}")))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::commands::cluster::status::tests::{member, node, report};
    use chord_api::http::RingPeer;
    use chord_types::{ClusterUid, Epoch, Member, Table, Token};

    /// A view of nodes with these tokens.
    pub fn view(replication: u8, tokens: &[&[u64]]) -> View {
        let members = tokens.iter().enumerate().map(|(n, tokens)| Member {
            ordinal: Ordinal(n as u32),
            disk: DiskId(uuid::Uuid::from_u128(n as u128)),
            tokens: tokens.iter().map(|t| Token(*t)).collect(),
            zone: None,
            machine: None,
            out: false,
        });
        View::first(
            ClusterUid("u".into()),
            Table {
                replication,
                members: members.collect(),
            },
        )
        .unwrap()
    }

    /// The ring of so many nodes, as a node of it would show it.
    pub fn large(nodes: u32, tokens: u64) -> Ring {
        let all: Vec<Vec<u64>> = (0..u64::from(nodes))
            .map(|n| (0..tokens).map(|t| spread(n * tokens + t)).collect())
            .collect();
        let all: Vec<&[u64]> = all.iter().map(|t| t.as_slice()).collect();
        let members: Vec<_> = (0..nodes)
            .map(|n| {
                let mut member = member(n, false, true, true);
                if n != 1 {
                    (member["alive"], member["report"]) = (true.into(), report(n, n.into()));
                }
                member
            })
            .collect();
        ring(&view(3, &all), &node(&members))
    }

    fn spread(n: u64) -> u64 {
        (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
    }

    /// A look-up of `name` that went through these virtual nodes.
    pub fn found(name: &FileName, path: &[u64], owners: &[&str]) -> Successor {
        let names: Vec<String> = path.iter().map(|_| "files-0".into()).collect();
        let hop = |t: &u64| RingPeer {
            id: Token(*t).id().to_string(),
            node: "files-0".into(),
        };
        Successor {
            id: Id::of_file(name).to_string(),
            successor: owners[0].into(),
            owners: owners.iter().map(|o| o.to_string()).collect(),
            path: names,
            hops: path.iter().map(hop).collect(),
            epoch: Epoch(1),
        }
    }

    #[test]
    fn shares_add_up_and_arcs_make_the_circle() {
        for ring in [large(3, 64), large(100, 64)] {
            let sum = |of: fn(&Node) -> f64| ring.nodes.iter().map(of).sum::<f64>();
            assert!((sum(|n| n.share) - 1.0).abs() < 1e-9);
            assert!((sum(|n| n.primary) - 1.0).abs() < 1e-9);
            assert!((sum(|n| n.used_share.unwrap_or(0.0)) - 1.0).abs() < 1e-9);
            let circle: f64 = ring.arcs.iter().map(Arc::length).sum();
            assert!((circle - 1.0).abs() < 1e-9);
            assert_eq!(ring.arcs.len(), ring.nodes.len() * 64);
            // Nobody is given up: then the first owner is the successor.
            for (n, node) in ring.nodes.iter().enumerate() {
                let own = ring.arcs.iter().filter(|a| a.node == n);
                let own: f64 = own.map(Arc::length).sum();
                assert!((own - node.primary).abs() < 1e-9, "{}", node.name);
            }
        }
    }

    #[test]
    fn states_and_bytes_are_those_that_the_nodes_report() {
        let ring = large(3, 4);
        let states: Vec<_> = ring.nodes.iter().map(|n| n.state).collect();
        assert_eq!(states, ["Ready", "Down", "Ready"]);
        assert_eq!(ring.nodes[1].used, None);
        assert_eq!(ring.nodes[2].used, Some(2));
        assert_eq!(ring.nodes[2].used_share, Some(1.0));
    }

    #[test]
    fn a_single_virtual_node_has_the_whole_circle() {
        let ring = ring(&view(1, &[&[7]]), &node(&[]));
        assert_eq!(ring.arcs.len(), 1);
        assert_eq!(ring.arcs[0].length(), 1.0);
        assert_eq!((ring.nodes[0].primary, ring.nodes[0].share), (1.0, 1.0));
    }

    #[test]
    fn a_name_lands_at_its_successor_and_the_walk_meets_its_owners() {
        // `x` has the key 11f6ad8e….
        let name: FileName = "x".parse().unwrap();
        let tokens: [&[u64]; 3] = [
            &[0x1000_0000_0000_0000, 0x2000_0000_0000_0000],
            &[0x3000_0000_0000_0000],
            &[0x4000_0000_0000_0000, 0x2800_0000_0000_0000],
        ];
        let mut view = view(2, &tokens);
        let status = node(&[]);
        let landed = landing(&view, &status, &name, &found(&name, &[], &["files-0"])).unwrap();
        assert!((landed.at - 0.0702).abs() < 1e-4, "{}", landed.at);
        let stops: Vec<_> = landed
            .walk
            .iter()
            .map(|s| (s.node.as_str(), s.owner))
            .collect();
        assert_eq!(stops, [("node 0", Some(1)), ("node 2", Some(2))]);
        // With node 2 given up, the next one holds it.
        let chord_types::Tables::Stable(table) = &mut view.tables else {
            panic!("not stable")
        };
        table.members[2].out = true;
        let landed = landing(&view, &status, &name, &found(&name, &[], &["files-0"])).unwrap();
        let stops: Vec<_> = landed
            .walk
            .iter()
            .map(|s| (s.node.as_str(), s.owner))
            .collect();
        assert_eq!(
            stops,
            [("node 0", Some(1)), ("node 2", None), ("node 1", Some(2))]
        );
        let placement = Placement::new(view.new_table());
        let owners: Vec<u32> = placement
            .owners(&Id::of_file(&name))
            .map(|m| m.ordinal.0)
            .collect();
        assert_eq!(owners, [0, 1], "as the placement has it");
    }

    /// A view of four nodes, a token each, the key of `x` before the first: two
    /// copies, one in each of two zones.
    pub fn zoned() -> View {
        let tokens: [&[u64]; 4] = [
            &[0x2000_0000_0000_0000, 0x2800_0000_0000_0000],
            &[0x3000_0000_0000_0000],
            &[0x4000_0000_0000_0000],
            &[0x5000_0000_0000_0000],
        ];
        let mut view = view(2, &tokens);
        let chord_types::Tables::Stable(table) = &mut view.tables else {
            panic!("not stable")
        };
        for (member, zone) in table.members.iter_mut().zip(["a", "a", "b", "b"]) {
            member.zone = Some(zone.into());
            member.machine = Some(format!("m{}", member.ordinal));
        }
        view
    }

    #[test]
    fn the_owners_on_the_walk_are_those_of_the_placement_where_there_are_zones() {
        let name: FileName = "x".parse().unwrap();
        let mut view = zoned();
        let stops = |view: &View| -> Vec<(String, Option<usize>, Option<Passed>)> {
            let found = found(&name, &[], &["node 0"]);
            let landed = landing(view, &node(&[]), &name, &found).unwrap();
            let stops = landed.walk.into_iter();
            stops.map(|s| (s.node, s.owner, s.passed)).collect()
        };
        let stop = |node: u32, owner, passed| (format!("node {node}"), owner, passed);
        assert_eq!(
            stops(&view),
            [
                stop(0, Some(1), None),
                stop(0, None, Some(Passed::Before)),
                stop(1, None, Some(Passed::Place)),
                stop(2, Some(2), None),
            ]
        );
        let placement = Placement::new(view.new_table());
        let key = Id::of_file(&name);
        let owners = placement.owners(&key);
        assert_eq!(owners.map(|m| m.ordinal.0).collect::<Vec<_>>(), [0, 2]);
        // The other zone has one node left, past one that is given up.
        let chord_types::Tables::Stable(table) = &mut view.tables else {
            panic!("not stable")
        };
        table.members[2].out = true;
        assert_eq!(
            stops(&view)[3..],
            [stop(2, None, Some(Passed::Out)), stop(3, Some(2), None),]
        );
    }

    #[test]
    fn where_all_are_given_up_the_walk_meets_no_owner() {
        let name: FileName = "x".parse().unwrap();
        let mut view = zoned();
        let chord_types::Tables::Stable(table) = &mut view.tables else {
            panic!("not stable")
        };
        table.members.iter_mut().for_each(|m| m.out = true);
        let found = found(&name, &[], &["node 0"]);
        let landed = landing(&view, &node(&[]), &name, &found).unwrap();
        assert!(landed.walk.is_empty());
    }

    #[test]
    fn programs_get_the_same_facts() {
        let name: FileName = "x".parse().unwrap();
        let view = view(1, &[&[1 << 63], &[u64::MAX]]);
        let mut ring = ring(&view, &node(&[]));
        let found = found(&name, &[u64::MAX, 1 << 63], &["node 0"]);
        ring.name = Some(landing(&view, &node(&[]), &name, &found).unwrap());
        let json = serde_json::to_value(&ring).unwrap();
        assert_eq!(json["nodes"][0]["share"], 0.5);
        assert_eq!(json["nodes"][0]["primary"], 0.5);
        assert_eq!(json["nodes"][0]["tokens"][0], "8000000000000000");
        assert_eq!(json["name"]["owners"], serde_json::json!(["node 0"]));
        assert_eq!(json["name"]["hops"][1]["at"], 0.5);
        assert_eq!(json["name"]["walk"][0]["owner"], 1);
    }
}
