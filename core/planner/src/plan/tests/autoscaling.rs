//! The autoscaler's behaviour: one step at a time, never on what it cannot see.

use chord_types::Ordinal;

use super::world::*;
use crate::plan::*;

fn auto(min: u32, max: u32) -> Autoscaling {
    Autoscaling {
        min_nodes: min,
        max_nodes: max,
        scale_out_above: 70,
        scale_in_below: 40,
        scale_up: behavior(0, 4, 15_000),
        scale_down: behavior(300_000, 1, 60_000),
    }
}

/// A cluster whose fullest member is about so full, in percent.
fn filled(nodes: u32, auto: Autoscaling, percent: u64) -> World {
    let mut spec = spec(nodes, 3);
    spec.tokens_per_node = 32;
    spec.autoscaling = Some(auto);
    let mut world = World::formed(spec);
    fill(&mut world, percent);
    world
}

/// Makes disks so large that the fullest is so full.
fn fill(world: &mut World, percent: u64) {
    let fullest = world
        .nodes
        .values()
        .filter_map(|p| Some(p.disk.as_ref()?.keys.len()))
        .max()
        .unwrap();
    world.capacity = fullest as u64 * world.key_bytes * 100 / percent;
}

fn scaling(world: &World) -> &AutoscalingStatus {
    world.plan().status.autoscaling.as_ref().unwrap()
}

#[test]
fn above_the_threshold_nodes_join_and_one_step_is_enough() {
    let mut world = filled(3, auto(3, 12), 80);
    world.round();
    assert_eq!(scaling(&world).decision, Decision::ScaleOut);
    assert!(
        scaling(&world)
            .reason
            .contains("80 % full, thresholds are 70 % and 40 %"),
        "{:?}",
        scaling(&world)
    );
    assert_eq!(world.plan().status.desired_nodes, 4);
    assert!(world.events.iter().any(|e| e.reason == "ScaleOut"));
    // They join, and the copies stay where they were for a while.
    for _ in 0..4 {
        world.round();
        world.spread();
        let joint = world.view().stable().is_none();
        if joint {
            world.work();
        }
    }
    assert_eq!(world.members(), [0, 1, 2, 3]);
    assert!(
        world
            .nodes
            .values()
            .any(|p| p.disk.as_ref().unwrap().keys.len() == KEYS),
        "not dropped yet"
    );
    for _ in 0..30 {
        world.round();
        assert_eq!(
            world.plan().status.desired_nodes,
            4,
            "no second step on copies that will be dropped"
        );
    }
    world.settle(5);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    assert_eq!(scaling(&world).decision, Decision::Hold);
}

#[test]
fn the_reason_leaves_the_decision_out_and_names_the_fullest_node_of_the_status() {
    // Three copies on three nodes: all are as full.
    let mut world = filled(3, auto(3, 12), 50);
    world.round();
    assert_eq!(scaling(&world).decision, Decision::Hold);
    let reason = &scaling(&world).reason;
    assert!(!reason.contains("Hold"), "{reason}");
    assert_eq!(
        world.plan().status.storage.fullest_node,
        Some(Ordinal(0)),
        "the lowest of several"
    );
    assert!(reason.contains("fullest node files-0 is"), "{reason}");
    world.node(1).up = false;
    world.round();
    let reason = &scaling(&world).reason;
    assert!(!reason.contains("Hold"), "{reason}");
}

#[test]
fn it_takes_as_many_nodes_as_the_data_need_within_the_limits() {
    let mut world = filled(3, auto(3, 12), 99);
    world.spec.autoscaling.as_mut().unwrap().scale_out_above = 45;
    world.spec.autoscaling.as_mut().unwrap().scale_in_below = 20;
    world.round();
    assert_eq!(
        world.plan().status.desired_nodes,
        7,
        "99 % of three nodes are under 45 % of seven"
    );
    let mut world = filled(3, auto(3, 4), 99);
    world.spec.autoscaling.as_mut().unwrap().scale_out_above = 45;
    world.spec.autoscaling.as_mut().unwrap().scale_in_below = 20;
    world.round();
    assert_eq!(world.plan().status.desired_nodes, 4);
    assert!(
        world
            .condition("ScalingLimited")
            .message
            .contains("maxNodes (4)")
    );
}

#[test]
fn far_below_the_threshold_one_node_leaves_after_the_window() {
    let mut world = filled(5, auto(3, 12), 20);
    world.settle(20);
    assert_eq!(world.members().len(), 5, "the window has not passed");
    assert!(
        scaling(&world)
            .blocked_by
            .as_ref()
            .unwrap()
            .contains("window")
    );
    world.now += 300_000;
    world.round();
    assert_eq!(scaling(&world).decision, Decision::ScaleIn);
    assert_eq!(world.plan().status.desired_nodes, 4);
    world.settle(10);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    for _ in 0..10 {
        fill(&mut world, 20);
        world.now += 400_000;
        world.settle(10);
    }
    assert_eq!(world.members(), [0, 1, 2], "never fewer than minNodes");
}

#[test]
fn nobody_leaves_when_the_rest_would_be_too_full() {
    let mut world = filled(4, auto(3, 12), 39);
    world.spec.autoscaling.as_mut().unwrap().scale_out_above = 45;
    world.now += 900_000;
    world.settle(3);
    world.now += 900_000;
    world.settle(3);
    assert_eq!(world.members().len(), 4);
    assert_eq!(scaling(&world).decision, Decision::Hold);
}

#[test]
fn a_silent_member_means_hold() {
    for percent in [5, 95] {
        let mut world = filled(4, auto(3, 12), percent);
        world.node(2).up = false;
        for _ in 0..20 {
            world.round();
            world.now += 2_000;
        }
        assert_eq!(scaling(&world).decision, Decision::Hold);
        assert!(scaling(&world).reason.contains("files-2 does not answer"));
        assert_eq!(world.plan().status.desired_nodes, 4);
    }
}

#[test]
fn lost_memory_means_hold() {
    let mut world = filled(5, auto(3, 12), 20);
    for _ in 0..3 {
        world.memory = Memory::default();
        world.now += 200_000;
        world.round();
        assert_eq!(
            world.plan().status.desired_nodes,
            5,
            "the window begins anew"
        );
    }
    world.spec.nodes = 3;
    world.memory = Memory::default();
    world.round();
    assert_eq!(
        world.plan().status.desired_nodes,
        5,
        "nodes counts only when the cluster is formed"
    );
}

#[test]
fn a_planned_leave_is_taken_back_when_it_is_full_again() {
    let mut world = filled(5, auto(3, 12), 20);
    world.round();
    world.now += 400_000;
    // Decided, and not begun: the operator dies before the view is stored.
    let (_, memory) = world.think();
    assert_eq!(memory.target, Some(4));
    world.memory = memory;
    fill(&mut world, 80);
    world.round();
    assert!(world.plan().status.desired_nodes >= 5);
    world.settle(10);
    assert!(world.members().len() >= 5);
}

#[test]
fn policies_bound_the_rate() {
    let mut world = filled(3, auto(3, 20), 99);
    let spec = world.spec.autoscaling.as_mut().unwrap();
    (spec.scale_out_above, spec.scale_in_below) = (30, 10);
    spec.scale_up = behavior(0, 2, 60_000);
    world.round();
    assert_eq!(world.plan().status.desired_nodes, 5);
    world.settle(6);
    fill(&mut world, 99);
    world.round();
    assert_eq!(world.plan().status.desired_nodes, 5, "two a minute");
    world.now += 60_000;
    world.round();
    assert_eq!(world.plan().status.desired_nodes, 7);
    world.spec.autoscaling.as_mut().unwrap().scale_up.select = Select::Disabled;
    world.settle(6);
    fill(&mut world, 99);
    world.now += 600_000;
    world.settle(3);
    assert_eq!(world.members().len(), 7, "scaling out is switched off");
}

#[test]
fn without_the_autoscaler_the_members_stay_until_nodes_changes() {
    let mut world = filled(3, auto(3, 12), 80);
    world.settle(8);
    assert_eq!(world.members().len(), 4);
    world.spec.autoscaling = None;
    world.settle(8);
    assert_eq!(world.members().len(), 4);
    world.spec.nodes = 5;
    world.settle(8);
    assert_eq!(world.members().len(), 5);
    world.spec.nodes = 3;
    world.settle(20);
    assert_eq!(world.members().len(), 3);
}

#[test]
fn what_was_only_planned_is_not_done_when_the_autoscaler_is_taken_out() {
    let mut world = filled(3, auto(3, 12), 80);
    world.unplaced = [Ordinal(3)].into();
    world.settle(3);
    assert_eq!(world.plan().status.desired_nodes, 4);
    world.spec.autoscaling = None;
    world.settle(3);
    assert_eq!(world.plan().status.desired_nodes, 3);
    world.unplaced.clear();
    world.settle(3);
    assert_eq!(world.members(), [0, 1, 2]);
}

/// A node that left cannot be proven empty, for good; the disks of the others fill.
fn grows_beside_a_leaver(harm: impl Fn(&mut World)) -> World {
    let mut world = filled(5, auto(3, 12), 20);
    for _ in 0..2000 {
        world.round();
        world.spread();
        if world.members().len() == 4 && world.view().stable().is_some() {
            break;
        }
        world.work();
    }
    assert_eq!(world.members(), [0, 1, 2, 3]);
    harm(&mut world);
    world.settle(4);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    world.now += 3_600_000;
    fill(&mut world, 90);
    for _ in 0..60 {
        world.round();
        world.work();
    }
    world
}

#[test]
fn a_leaver_whose_machine_died_does_not_keep_others_from_coming() {
    let mut world = grows_beside_a_leaver(|world| world.node(4).up = false);
    let members = world.members();
    assert!(
        members.len() > 4 && !members.contains(&4),
        "{members:?}: {:?}",
        scaling(&world)
    );
    assert!(world.nodes.contains_key(&Ordinal(4)), "its disk is kept");
    // It is wanted where it comes back.
    world.node(4).up = true;
    world.settle(60);
    assert!(world.members().contains(&4), "{:?}", scaling(&world));
}

#[test]
fn a_leaver_that_still_holds_something_is_taken_in_again() {
    let world = grows_beside_a_leaver(|world| {
        world.stuck.insert(Ordinal(4));
    });
    let members = world.members();
    assert!(members.contains(&4), "{members:?}: {:?}", scaling(&world));
}

#[test]
fn more_nodes_come_where_a_dead_one_cannot_be_repaired_around() {
    let mut world = filled(3, auto(3, 12), 50);
    world.node(1).up = false;
    world.settle(2);
    world.now += world.spec.repair_after_ms;
    world.settle(6);
    let table = world.view().stable().unwrap();
    assert!(
        table.member(Ordinal(1)).unwrap().out && table.live().count() == 3,
        "{:?}",
        world.plan().status
    );
    assert!(world.whole());
}

#[test]
fn figures_that_sway_do_not_grow_the_memory() {
    let mut world = filled(5, auto(3, 12), 50);
    for n in 0..400 {
        fill(&mut world, if n % 2 == 0 { 20 } else { 55 });
        world.round();
    }
    assert!(world.memory.recommendations.len() <= 64);
    assert_eq!(world.members().len(), 5);
}

#[test]
fn lost_memory_keeps_the_members_also_after_the_autoscaler_was_taken_out() {
    let mut world = filled(3, auto(3, 12), 80);
    world.settle(8);
    assert_eq!(world.members().len(), 4);
    world.spec.autoscaling = None;
    world.settle(2);
    world.memory = Memory::default();
    world.settle(8);
    assert_eq!(world.members().len(), 4);
    let limited = world.condition("ScalingLimited");
    assert!(
        limited.message.contains("nodes is 3, and the 4 nodes"),
        "{limited:?}"
    );
    world.memory = Memory::default();
    world.spec.nodes = 5;
    world.settle(8);
    assert_eq!(world.members().len(), 5, "more nodes cost nobody a file");
    world.spec.nodes = 3;
    world.settle(20);
    assert_eq!(world.members().len(), 3);
}

#[test]
fn draining_the_highest_node_does_not_stop_the_autoscaler() {
    let mut world = filled(4, auto(3, 12), 50);
    world.spec.drained = [Ordinal(3)].into();
    world.settle(10);
    assert_eq!(world.members(), [0, 1, 2]);
    fill(&mut world, 50);
    world.round();
    assert_eq!(
        scaling(&world).decision,
        Decision::Hold,
        "{:?}",
        scaling(&world)
    );
    assert!(world.nodes[&Ordinal(3)].wanted, "its node stays");
    // No fuller: with so few keys one of four members may hold a tenth more than its share.
    fill(&mut world, 75);
    world.settle(10);
    assert_eq!(world.members(), [0, 1, 2, 4], "{:?}", world.plan().status);
    // Also where nothing is remembered.
    world.memory = Memory::default();
    world.spec.drained = [Ordinal(4)].into();
    world.settle(10);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    world.memory = Memory::default();
    world.settle(3);
    assert!(world.nodes[&Ordinal(4)].wanted);
}

#[test]
fn a_node_that_does_not_start_is_told_of_and_given_up_when_it_is_not_needed() {
    let mut world = filled(3, auto(3, 12), 80);
    world.unplaced = [Ordinal(3)].into();
    world.settle(4);
    assert_eq!(scaling(&world).decision, Decision::ScaleOut);
    let blocked = scaling(&world).blocked_by.clone().unwrap();
    assert!(blocked.contains("no machine has room"), "{blocked}");
    fill(&mut world, 50);
    world.settle(4);
    assert_eq!(scaling(&world).decision, Decision::Hold);
    assert_eq!(world.plan().status.desired_nodes, 3);
    assert_eq!(world.plan().status.phase, Phase::Ready);
}

#[test]
fn what_holds_the_autoscaler_is_named() {
    let blocked = |world: &World| scaling(world).blocked_by.clone().unwrap();
    let mut world = filled(3, auto(3, 12), 20);
    world.settle(3);
    assert_eq!(blocked(&world), "minNodes is 3");
    let mut world = filled(3, auto(3, 12), 80);
    world.spec.autoscaling.as_mut().unwrap().scale_up.select = Select::Disabled;
    world.settle(3);
    assert!(blocked(&world).contains("Disabled"), "{}", blocked(&world));
    let mut world = filled(5, auto(3, 12), 20);
    world.spec.autoscaling.as_mut().unwrap().scale_down.select = Select::Disabled;
    world.settle(3);
    world.now += 400_000;
    world.settle(3);
    assert!(blocked(&world).contains("Disabled"), "{}", blocked(&world));
    fill(&mut world, 96);
    world.round();
    let ready = world.condition("Ready");
    assert!(ready.message.contains("96 % full"), "{ready:?}");
}
