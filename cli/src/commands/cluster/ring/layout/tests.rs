//! Shares, arcs, and where names land.

use super::*;
use crate::commands::cluster::fixtures::node;
use crate::commands::cluster::ring::fixtures::{found, large, view, zoned};

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
    let ring = layout(&view(1, &[&[7]]), &node(&[]));
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
fn programs_get_the_same_layout() {
    let name: FileName = "x".parse().unwrap();
    let view = view(1, &[&[1 << 63], &[u64::MAX]]);
    let mut ring = layout(&view, &node(&[]));
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
