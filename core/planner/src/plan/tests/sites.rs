//! Where members stand: what of it is recorded when, what it means for who joins,
//! and what people are told.

use chord_placement::Placement;
use chord_types::{Member, Ordinal};

use super::world::*;
use crate::plan::*;

const THREE: [(&str, &str); 3] = [("a", "m0"), ("b", "m1"), ("c", "m2")];

fn places(world: &World) -> Vec<(Option<&str>, Option<&str>)> {
    let members = world.view().new_table().members.iter();
    members.map(Member::site).collect()
}

fn told(world: &World) -> (bool, &'static str, String) {
    let c = world.condition("CopiesSpread");
    (c.status, c.reason, c.message.clone())
}

#[test]
fn a_cluster_forms_with_the_places_of_its_nodes_and_waits_to_know_them() {
    let world = World::formed_at(spec(3, 3), &THREE);
    assert_eq!(
        places(&world),
        [
            (Some("a"), Some("m0")),
            (Some("b"), Some("m1")),
            (Some("c"), Some("m2"))
        ]
    );
    assert_eq!(told(&world).1, "Spread");

    let mut observed = World::formed_at(spec(3, 3), &THREE).observed();
    observed.stored = Stored::Missing;
    for node in observed.nodes.values_mut() {
        let report = node.report.as_mut().unwrap();
        (report.view, report.cluster) = (None, None);
        report.inventory = Default::default();
    }
    observed.held.clear();
    let formed = plan(&spec(3, 3), &observed, &Memory::default(), Millis(1)).0;
    assert!(formed.view.is_some());
    observed.nodes.get_mut(&Ordinal(1)).unwrap().site = None;
    let waits = plan(&spec(3, 3), &observed, &Memory::default(), Millis(1)).0;
    assert!(waits.view.is_none());
    let why = &waits.status.conditions[0].message;
    assert!(why.contains("on which machine files-1 runs"), "{why}");
}

#[test]
fn where_one_machine_is_in_no_zone_zones_count_for_nobody() {
    let world = World::formed_at(spec(3, 2), &[("a", "m0"), ("", "m1"), ("c", "m2")]);
    assert!(
        places(&world)
            .iter()
            .all(|(zone, m)| zone.is_none() && m.is_some())
    );
    assert_eq!(told(&world).1, "Spread", "on machines");
}

#[test]
fn a_cluster_that_knows_no_places_stays_so() {
    let mut world = World::formed(spec(3, 3));
    for (n, (zone, machine)) in (0..).zip(THREE) {
        world.moves(n, zone, machine);
    }
    world.moves(3, "a", "m3");
    world.spec.nodes = 4;
    world.settle(60);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    assert!(places(&world).iter().all(|p| *p == (None, None)));
    let conditions = &world.plan().status.conditions;
    assert!(conditions.iter().all(|c| c.kind != "CopiesSpread"));
}

#[test]
fn a_node_on_a_machine_without_a_zone_waits_until_it_has_one() {
    let mut world = World::formed_at(spec(3, 3), &THREE);
    world.moves(3, "", "m3");
    world.spec.nodes = 4;
    world.settle(60);
    assert_eq!(world.members(), [0, 1, 2]);
    let limited = world.condition("ScalingLimited");
    assert!(
        limited.status && limited.message.contains("m3"),
        "{limited:?}"
    );
    world.moves(3, "a", "m3");
    world.settle(60);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    assert_eq!(places(&world)[3], (Some("a"), Some("m3")));
}

#[test]
fn a_pod_that_is_started_elsewhere_moves_no_data() {
    let mut world = World::formed_at(spec(3, 3), &THREE);
    let before = world.view().clone();
    world.moves(1, "a", "m0");
    world.settle(20);
    assert_eq!(*world.view(), before);
    let (spread, reason, message) = told(&world);
    assert!(!spread && reason == "Moved", "{reason}: {message}");
    assert!(
        message.contains("files-1 on m0 in a instead of m1 in b"),
        "{message}"
    );
    // On a machine of its own it is as good as where it was.
    world.moves(1, "b", "m7");
    world.settle(5);
    assert_eq!(*world.view(), before);
    assert_eq!(told(&world).1, "Spread");
}

#[test]
fn a_new_disk_is_recorded_where_it_stands() {
    let mut world = World::formed_at(spec(4, 3), &[THREE[0], THREE[1], THREE[2], ("a", "m3")]);
    world.moves(1, "b", "m9");
    let disk = world.fresh_disk();
    world.node(1).disk = Some(disk);
    world.settle(40);
    assert_eq!(places(&world)[1], (Some("b"), Some("m9")));
    assert!(world.whole());
    // Drained and put back, a node is placed anew, too.
    world.moves(3, "c", "m8");
    world.spec.drained.insert(Ordinal(3));
    world.settle(60);
    world.spec.drained.clear();
    world.settle(60);
    assert_eq!(places(&world)[3], (Some("c"), Some("m8")));
}

#[test]
fn a_repair_does_not_wait_to_know_the_place() {
    let mut world = World::formed_at(spec(4, 3), &[THREE[0], THREE[1], THREE[2], ("a", "m3")]);
    world.moves(1, "", "m9");
    let disk = world.fresh_disk();
    world.node(1).disk = Some(disk);
    world.settle(40);
    assert_eq!(places(&world)[1], (Some("b"), Some("m1")), "as it was");
    assert!(world.whole());
}

#[test]
fn people_are_told_which_copies_share_what() {
    let world = World::formed_at(
        spec(4, 3),
        &[("a", "m0"), ("b", "m1"), ("a", "m2"), ("b", "m3")],
    );
    let (spread, reason, message) = told(&world);
    assert!(!spread && reason == "SharedZone", "{reason}");
    assert!(
        message.contains(
            "3 copies of every file stand in 2 zones (a: files-0, files-2; b: files-1, files-3)"
        ),
        "{message}"
    );
    let world = World::formed_at(spec(3, 3), &[("", "m0"), ("", "m1"), ("", "m0")]);
    let (spread, reason, message) = told(&world);
    assert!(!spread && reason == "SharedMachine", "{reason}");
    assert!(
        message.contains("on 2 machines (m0: files-0, files-2; m1: files-1)"),
        "{message}"
    );
}

#[test]
fn copies_stand_in_different_zones_through_growth() {
    let mut world = World::formed_at(spec(3, 3), &THREE);
    for (n, (zone, machine)) in [("a", "m3"), ("b", "m4"), ("c", "m5")].iter().enumerate() {
        world.moves(3 + n as u32, zone, machine);
    }
    world.spec.nodes = 6;
    world.settle(80);
    assert_eq!(world.members(), [0, 1, 2, 3, 4, 5]);
    let placement = Placement::new(world.view().new_table());
    for (_, owners) in placement.ranges() {
        let mut zones: Vec<_> = owners.iter().map(|m| m.zone.clone()).collect();
        zones.sort();
        zones.dedup();
        assert_eq!(zones.len(), 3);
    }
    assert!(world.whole());
}

#[test]
fn a_node_alone_in_its_zone_joins_only_where_a_copy_of_everything_fits() {
    let four = [("a", "m0"), ("a", "m1"), ("a", "m2"), ("a", "m3")];
    let mut world = World::formed_at(spec(4, 1), &four);
    world.moves(4, "b", "m4");
    world.spec.nodes = 5;
    world.settle(60);
    assert_eq!(world.members(), [0, 1, 2, 3, 4], "one copy stands anywhere");

    let mut world = World::formed_at(
        spec(6, 2),
        &[four[0], four[1], four[2], four[3], ("a", "m5"), ("a", "m6")],
    );
    // Two copies of forty keys on six disks of which each takes twenty-two.
    world.capacity = 22 * world.key_bytes;
    world.moves(6, "b", "m4");
    world.spec.nodes = 7;
    world.settle(60);
    assert_eq!(world.members(), [0, 1, 2, 3, 4, 5]);
    let limited = world.condition("ScalingLimited");
    assert!(
        limited.message.contains("files-6 does not join"),
        "{limited:?}"
    );
}
