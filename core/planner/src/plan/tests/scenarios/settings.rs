//! New settings for running nodes; and pauses.

use super::*;

#[test]
fn paused_changes_nothing() {
    let mut world = World::formed(spec(3, 3));
    world.spec.paused = true;
    world.spec.nodes = 5;
    world.spec.revision = "r2".into();
    world.settle(4);
    let plan = world.plan();
    assert!(plan.view.is_none() && plan.slots.is_empty() && plan.restart.is_empty());
    assert_eq!(
        (plan.status.phase, world.members().len()),
        (Phase::Paused, 3)
    );
}

#[test]
fn nodes_take_new_settings_one_at_a_time_and_broken_ones_first() {
    let mut world = World::formed(spec(4, 3));
    world.spec.revision = "r2".into();
    world.node(1).up = false;
    world.round();
    assert_eq!(world.plan().restart, [Ordinal(1)]);
    world.node(1).up = false;
    world.round();
    assert!(
        world.plan().restart.is_empty(),
        "the restarted one must be back first"
    );
    world.node(1).up = true;
    let mut restarted = Vec::new();
    for _ in 0..6 {
        world.round();
        restarted.extend(world.plan().restart.clone());
        assert!(world.plan().restart.len() <= 1);
    }
    assert_eq!(restarted, [Ordinal(3), Ordinal(2), Ordinal(0)]);
    assert_eq!(world.plan().disruptions_allowed, 1);
    world.spec.revision = "r3".into();
    world.node(0).disk.as_mut().unwrap().keys.clear();
    world.round();
    assert!(world.plan().restart.is_empty(), "copies are missing");
    assert_eq!(world.plan().disruptions_allowed, 0);
}

/// Rounds of the operator, with the work of the nodes; who was restarted.
fn restarted(world: &mut World, rounds: usize) -> Vec<Ordinal> {
    let mut restarted = Vec::new();
    for _ in 0..rounds {
        world.round();
        restarted.extend(world.plan().restart.clone());
        world.work();
    }
    restarted
}

#[test]
fn nodes_that_are_merely_not_heard_are_not_restarted_one_after_the_other() {
    let mut world = World::formed(spec(5, 3));
    world.spec.revision = "r2".into();
    world.unheard = (0..5).map(Ordinal).collect();
    assert_eq!(restarted(&mut world, 8), [], "nobody is heard");
    world.unheard = [Ordinal(1), Ordinal(2)].into();
    assert_eq!(restarted(&mut world, 8), [], "two may be working");
    world.unheard.clear();
    assert_eq!(restarted(&mut world, 8).len(), 5);
}

#[test]
fn a_node_that_is_not_heard_while_another_one_is_restarted_is_left_alone() {
    let mut world = World::formed(spec(3, 3));
    world.spec.revision = "r2".into();
    world.terminating = [Ordinal(2)].into();
    world.node(2).up = false;
    world.unheard = [Ordinal(1)].into();
    assert_eq!(restarted(&mut world, 3), []);
    // The pod of node 2 is there again, and starts.
    world.terminating.clear();
    world.node(2).revision = "r2".into();
    assert_eq!(restarted(&mut world, 3), [], "a quorum would be gone");
    world.node(2).up = true;
    assert_eq!(
        restarted(&mut world, 1),
        [Ordinal(1)],
        "the only one that is not heard comes before those that work"
    );
}

#[test]
fn a_node_that_is_stopped_for_ever_does_not_keep_others_from_being_healed() {
    let mut world = World::formed(spec(5, 3));
    // Its machine is gone, so nobody says that its pod has ended.
    world.node(1).up = false;
    world.terminating = [Ordinal(1)].into();
    world.spec.revision = "r2".into();
    world.node(4).up = false;
    assert_eq!(restarted(&mut world, 1), [Ordinal(4)]);
    // Given up, it does not keep the others from their settings either.
    world.now += world.spec.repair_after_ms;
    world.settle(4);
    let table = world.view().stable().unwrap();
    assert!(table.member(Ordinal(1)).unwrap().out);
    world.settle(6);
    for ordinal in [0, 2, 3, 4] {
        assert_eq!(world.node(ordinal).revision, "r2", "node {ordinal}");
    }
}

#[test]
fn nothing_but_broken_nodes_is_restarted_within_a_change_or_before_the_cluster_is_formed() {
    let mut world = World::new(spec(3, 3));
    world.round();
    world.spec.revision = "r2".into();
    world.unheard = [Ordinal(0)].into();
    assert_eq!(restarted(&mut world, 3), []);
    world.node(0).up = false;
    assert_eq!(restarted(&mut world, 1), [Ordinal(0)]);

    let mut world = World::formed(spec(4, 3));
    world.spec.nodes = 5;
    world.round();
    world.round();
    assert!(is_joint(&world));
    world.spec.revision = "r2".into();
    world.unheard = [Ordinal(0)].into();
    world.round();
    assert_eq!(world.plan().restart, []);
}

#[test]
fn a_new_node_that_cannot_start_does_not_keep_the_members_from_new_settings() {
    let mut world = World::formed(spec(3, 3));
    world.spec.nodes = 4;
    world.round();
    world.spec.revision = "r2".into();
    world.node(3).up = false;
    world.node(3).revision = "r2".into();
    assert_eq!(
        restarted(&mut world, 6),
        [Ordinal(2), Ordinal(1), Ordinal(0)]
    );
}
