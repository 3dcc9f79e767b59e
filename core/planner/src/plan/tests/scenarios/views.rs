//! Which view is in force, and what completes a change of it.

use super::*;
use chord_types::{ProtocolVersion, Speaks};

#[test]
fn a_lost_view_is_taken_from_a_majority_and_from_nobody_less() {
    let mut world = World::formed(spec(3, 3));
    let view = world.view().clone();
    for damaged in [Stored::Missing, Stored::Unreadable("damaged".into())] {
        world.stored = damaged.clone();
        world.node(0).up = false;
        world.node(1).up = false;
        world.round();
        assert_eq!(world.stored, damaged, "one of three is no majority");
        assert!(
            world
                .plan()
                .slots
                .values()
                .all(|s| matches!(s, Slot::Running { .. }))
        );
        assert_eq!(world.plan().status.phase, Phase::Degraded);
        world.node(0).up = true;
        world.node(1).up = true;
        world.round();
        assert_eq!(world.view(), &view);
    }
}

#[test]
fn the_newest_view_is_taken_or_none() {
    let mut world = World::formed(spec(4, 3));
    let old = world.view().clone();
    world.spec.nodes = 5;
    world.round();
    world.round();
    let new = world.view().clone();
    assert!(is_joint(&world));
    world.give(Ordinal(0), &new);
    // The store goes back to what it was, and one node has heard of the newer one.
    world.stored = Stored::View(Box::new(old.clone()));
    world.round();
    assert_eq!(world.view(), &old, "it is neither taken nor contradicted");
    assert_eq!(world.condition("Degraded").reason, "ViewConflict");
    for n in 1..5 {
        world.give(Ordinal(n), &new);
    }
    world.round();
    assert_eq!(world.view(), &new);
    world.settle(3);
    assert_eq!(world.plan().status.phase, Phase::Ready);
}

#[test]
fn two_views_of_one_number_stop_everything() {
    let mut world = World::formed(spec(3, 3));
    let view = world.view().clone();
    let one = view.change_to(view.old().clone()).unwrap();
    let mut table = view.old().clone();
    table.replication = 2;
    let two = view.change_to(table).unwrap();
    world.stored = Stored::View(Box::new(one));
    world.give(Ordinal(1), &two);
    world.spec.nodes = 4;
    world.round();
    let plan = world.plan();
    assert!(plan.view.is_none() && plan.slots.len() == 3);
    assert!(
        world
            .condition("Degraded")
            .message
            .contains("files-1 holds another view of number 2")
    );
    // A person may take that disk's say away.
    world.spec.replace = Some(world.view().old().member(Ordinal(1)).unwrap().disk);
    world.round();
    assert!(world.plan().view.is_some());
}

#[test]
fn a_stored_view_of_another_cluster_is_left_alone() {
    let mut other = spec(3, 3);
    other.cluster = ClusterUid("another".into());
    let other = World::formed(other);
    let mut world = World::new(spec(3, 3));
    world.stored = other.stored.clone();
    world.settle(4);
    assert_eq!(world.stored, other.stored);
    assert_eq!(world.plan().status.phase, Phase::Degraded);
}

#[test]
fn only_word_of_exactly_this_view_completes_a_change() {
    let mut world = World::formed(spec(3, 3));
    world.spec.nodes = 4;
    world.round();
    world.round();
    world.work();
    let settled = world.observed();
    let think = |observed: &Observed| {
        plan(&world.spec, observed, &world.memory, Millis(world.now))
            .0
            .view
    };
    assert!(think(&settled).is_some_and(|v| v.stable().is_some()));
    type Falsify = fn(&mut chord_types::report::NodeReport);
    let falsify: [Falsify; 5] = [
        |r| r.sync.settled = false,
        |r| r.sync.epoch = Epoch(r.sync.epoch.0 - 1),
        |r| r.sync.hash = chord_types::view::ViewHash([7; 32]),
        |r| r.disk = chord_types::DiskId::random(),
        |r| r.view = None,
    ];
    for (n, change) in falsify.into_iter().enumerate() {
        let mut observed = settled.clone();
        for node in observed.nodes.values_mut().take(2) {
            node.report.as_mut().into_iter().for_each(change);
        }
        assert!(think(&observed).is_none_or(|v| v.stable().is_none()), "{n}");
    }
}

#[test]
fn a_node_of_a_release_that_is_not_understood_is_named_and_not_given_up() {
    let mut world = World::formed(spec(3, 3));
    let think = |world: &World, ordinal: u32, speaks: Speaks| {
        let mut observed = world.observed();
        let node = observed.nodes.get_mut(&Ordinal(ordinal)).unwrap();
        node.report.as_mut().unwrap().speaks = speaks;
        plan(&world.spec, &observed, &world.memory, Millis(world.now)).0
    };
    let speaks = |oldest, newest| Speaks {
        oldest: ProtocolVersion(oldest),
        newest: ProtocolVersion(newest),
    };
    let degraded = |plan: &Plan| {
        let all = plan.status.conditions.iter();
        let found = all.clone().find(|c| c.kind == "Degraded").unwrap();
        (found.reason.to_string(), found.message.clone())
    };
    let ours = Speaks::OURS;
    let far = speaks(ours.newest.0 + 1, ours.newest.0 + 2);
    let ahead = think(&world, 1, far);
    assert_eq!(ahead.view, None, "it lives, and is given up by nobody");
    let (reason, message) = degraded(&ahead);
    assert_eq!(reason, "VersionsApart");
    assert!(
        message.contains("upgrade the operator to the release of files-1"),
        "{message}"
    );
    // The release before and the one after are understood.
    for near in [Speaks::UNTOLD, speaks(ours.newest.0, ours.newest.0 + 1)] {
        let (reason, message) = degraded(&think(&world, 1, near));
        assert_ne!(reason, "VersionsApart", "{message}");
    }
    // Nor does such a node become a member.
    world.spec.nodes = 4;
    world.round();
    assert!(world.observed().nodes.contains_key(&Ordinal(3)));
    assert!(think(&world, 3, ours).view.is_some(), "else it would");
    assert_eq!(think(&world, 3, far).view, None);
}
