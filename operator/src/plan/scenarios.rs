//! What the planner does in the situations that people ask about.

use chord_api::view::Epoch;
use chord_api::{ClusterUid, Ordinal, Tables};

use super::testing::*;
use super::*;

fn is_joint(world: &World) -> bool {
    matches!(world.view().tables, Tables::Joint(..))
}

#[test]
fn a_cluster_forms_when_every_node_answers_and_is_empty() {
    let mut world = World::new(spec(3, 3));
    world.round();
    assert_eq!(world.plan().status.phase, Phase::Pending);
    assert_eq!(world.plan().slots.len(), 3, "all are started");
    world.place(2).up = false;
    world.round();
    assert!(world.plan().view.is_none());
    assert!(
        world
            .condition("Ready")
            .message
            .contains("waiting for 1 of 3"),
        "{:?}",
        world.condition("Ready")
    );
    world.place(2).up = true;
    world.round();
    assert_eq!(world.view().epoch, Epoch(1));
    assert_eq!(world.members(), [0, 1, 2]);
    assert!(world.events.iter().any(|e| e.reason == "Formed"));
}

#[test]
fn no_cluster_forms_over_disks_that_hold_something() {
    for foreign in [true, false] {
        let mut other = spec(3, 3);
        other.cluster = ClusterUid("another".into());
        let old = World::formed(other);
        let mut world = World::new(spec(3, 3));
        world.round();
        let disk = world.place(1).disk.as_mut().unwrap();
        match foreign {
            true => disk.view = Some(old.view().clone()),
            false => {
                disk.keys.insert(0, (1, true));
            }
        }
        world.settle(5);
        assert_eq!(world.stored, Stored::Missing, "foreign: {foreign}");
        let ready = world.condition("Ready");
        assert!(
            !ready.status && ready.message.contains("files-1"),
            "{ready:?}"
        );
    }
}

#[test]
fn scaling_out_starts_nodes_and_joins_them_in_one_change() {
    let mut world = World::formed(spec(3, 3));
    world.spec.nodes = 5;
    world.round();
    assert!(world.plan().view.is_none(), "first they are started");
    assert_eq!(world.plan().status.phase, Phase::ScalingOut);
    world.place(4).up = false;
    world.round();
    assert!(!is_joint(&world), "the first waits a while for the second");
    world.place(4).up = true;
    world.round();
    assert!(is_joint(&world));
    assert_eq!(world.members(), [0, 1, 2, 3, 4]);
    world.spread();
    world.round();
    assert!(is_joint(&world), "nobody has settled");
    assert!(
        world
            .condition("Progressing")
            .message
            .contains("is copying")
    );
    world.settle(3);
    assert_eq!(world.plan().status.phase, Phase::Ready);
    assert_eq!(world.view().stable().unwrap().members.len(), 5);
    assert!(world.whole());
}

#[test]
fn a_new_node_does_not_wait_for_ever_for_another_one() {
    let mut world = World::formed(spec(3, 3));
    world.spec.nodes = 5;
    world.round();
    world.place(4).up = false;
    world.settle(3);
    assert_eq!(world.members(), [0, 1, 2]);
    world.now += wanted::WAIT_FOR_JOINERS_MS;
    world.settle(4);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    world.place(4).up = true;
    world.settle(4);
    assert_eq!(world.members(), [0, 1, 2, 3, 4]);
}

#[test]
fn scaling_in_goes_one_by_one_and_deletes_a_disk_only_when_it_is_empty() {
    let mut world = World::formed(spec(5, 3));
    world.spec.nodes = 3;
    world.round();
    assert_eq!(world.members(), [0, 1, 2, 3], "the highest only");
    assert!(is_joint(&world));
    world.work();
    world.round();
    assert!(!is_joint(&world));
    world.spread();
    let proven = |world: &World| {
        world.places[&Ordinal(4)]
            .disk
            .as_ref()
            .unwrap()
            .keys
            .is_empty()
    };
    assert!(!proven(&world));
    world.round();
    assert!(world.places[&Ordinal(4)].wanted, "it still holds copies");
    assert!(
        world
            .condition("ScaleDownBlocked")
            .message
            .contains("files-4")
    );
    assert_eq!(
        world.members(),
        [0, 1, 2, 3],
        "the next leaves when the first is gone"
    );
    world.work();
    assert!(proven(&world));
    world.round();
    assert!(!world.places.contains_key(&Ordinal(4)));
    world.settle(6);
    assert_eq!(world.members(), [0, 1, 2]);
    assert_eq!(world.places.len(), 3);
    assert!(world.whole());
}

#[test]
fn retained_disks_stay_and_come_back_as_new_members() {
    let mut world = World::formed(spec(4, 3));
    world.spec.delete_scaled_disks = false;
    world.spec.nodes = 3;
    world.settle(6);
    let disk = world.places[&Ordinal(3)].disk.clone().unwrap();
    assert!(!world.places[&Ordinal(3)].wanted);
    world.settle(3);
    assert!(
        !world.places[&Ordinal(3)].wanted,
        "a kept disk is not started"
    );
    world.spec.nodes = 4;
    world.settle(5);
    assert_eq!(
        world
            .view()
            .stable()
            .unwrap()
            .member(Ordinal(3))
            .unwrap()
            .disk,
        disk.id
    );
    assert!(world.whole());
}

#[test]
fn who_changes_his_mind_gets_the_old_table_back() {
    let mut world = World::formed(spec(4, 3));
    let before = world.view().old().clone();
    world.spec.nodes = 3;
    world.round();
    assert!(is_joint(&world));
    world.spec.nodes = 4;
    world.round();
    assert_eq!(world.view().stable(), Some(&before));
    assert!(world.events.iter().any(|e| e.reason == "ChangeGivenUp"));
}

#[test]
fn a_node_that_was_leaving_is_taken_in_again() {
    let mut world = World::formed(spec(4, 3));
    let tokens = world
        .view()
        .old()
        .member(Ordinal(3))
        .unwrap()
        .tokens
        .clone();
    world.spec.nodes = 3;
    world.round();
    world.work();
    world.round();
    world.spread();
    assert_eq!(world.members(), [0, 1, 2]);
    world.spec.nodes = 4;
    world.settle(4);
    assert_eq!(
        world
            .view()
            .stable()
            .unwrap()
            .member(Ordinal(3))
            .unwrap()
            .tokens,
        tokens
    );
    assert!(world.whole());
}

#[test]
fn scaling_in_waits_for_silent_members_room_and_copies() {
    let mut world = World::formed(spec(5, 3));
    world.spec.nodes = 4;
    world.place(1).up = false;
    world.round();
    assert!(world.plan().view.is_none());
    assert!(
        world
            .condition("ScaleDownBlocked")
            .message
            .contains("files-1")
    );
    world.place(1).up = true;
    let fullest = world
        .places
        .values()
        .map(|p| p.disk.as_ref().unwrap().keys.len())
        .max()
        .unwrap() as u64;
    world.capacity = fullest * world.key_bytes + 1;
    world.round();
    assert!(world.plan().view.is_none());
    assert!(
        world
            .condition("ScaleDownBlocked")
            .message
            .contains("% full"),
        "{:?}",
        world.condition("ScaleDownBlocked")
    );
    world.capacity = 1 << 30;
    world.spec.nodes = 2;
    world.settle(30);
    assert_eq!(
        world.members(),
        [0, 1, 2],
        "three copies need three members"
    );
    assert!(
        world
            .condition("ScaleDownBlocked")
            .message
            .contains("2 members would be left for 3 copies")
    );
}

#[test]
fn a_silent_member_is_repaired_around_after_a_while_and_comes_back() {
    let mut world = World::formed(spec(4, 3));
    world.place(2).up = false;
    world.settle(10);
    assert!(
        world.view().stable().unwrap().live().count() == 4,
        "it is not given up at once"
    );
    assert_eq!(world.plan().status.phase, Phase::Degraded);
    assert!(world.condition("Degraded").message.contains("files-2"));
    assert!(
        world.condition("Ready").status,
        "two of three answer everywhere"
    );
    world.now += world.spec.repair_after_ms;
    world.settle(3);
    let member = world.view().stable().unwrap().member(Ordinal(2)).unwrap();
    assert!(member.out);
    assert!(world.whole(), "the others have all copies");
    world.place(2).up = true;
    world.settle(3);
    assert!(
        !world
            .view()
            .stable()
            .unwrap()
            .member(Ordinal(2))
            .unwrap()
            .out
    );
    assert_eq!(world.plan().status.phase, Phase::Ready);
    assert!(world.events.iter().any(|e| e.reason == "Recovered"));
}

#[test]
fn with_too_few_members_nothing_is_given_up_until_a_node_is_added() {
    let mut world = World::formed(spec(3, 3));
    world.place(1).up = false;
    world.settle(1);
    world.now += world.spec.repair_after_ms;
    world.settle(3);
    assert!(world.view().old().live().count() == 3 && !is_joint(&world));
    assert_eq!(world.condition("Degraded").reason, "RepairBlocked");
    world.spec.nodes = 4;
    world.settle(5);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    assert!(
        world
            .view()
            .stable()
            .unwrap()
            .member(Ordinal(1))
            .unwrap()
            .out
    );
    assert!(world.whole());
}

#[test]
fn a_lost_disk_is_replaced_at_once() {
    let mut world = World::formed(spec(3, 3));
    let fresh = world.fresh_disk();
    let id = fresh.id;
    world.place(0).disk = Some(fresh);
    world.round();
    assert!(is_joint(&world));
    assert_eq!(
        world.view().new_table().member(Ordinal(0)).unwrap().disk,
        id
    );
    world.work();
    world.settle(2);
    assert_eq!(
        world
            .view()
            .stable()
            .unwrap()
            .member(Ordinal(0))
            .unwrap()
            .disk,
        id
    );
    assert!(world.whole());
}

#[test]
fn a_disk_that_dies_while_it_joins_does_not_stick_the_change() {
    let mut world = World::formed(spec(4, 3));
    world.spec.nodes = 5;
    world.round();
    world.round();
    world.spread();
    assert!(is_joint(&world));
    world.place(4).up = false;
    world.settle(3);
    assert!(is_joint(&world), "a moment of silence is waited out");
    world.now += world.spec.repair_after_ms;
    world.settle(1);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    assert!(!is_joint(&world));
    world.place(4).up = true;
    let fresh = world.fresh_disk();
    world.place(4).disk = Some(fresh);
    world.settle(5);
    assert_eq!(world.members(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_change_is_redirected_around_a_member_that_dies_in_it() {
    let mut world = World::formed(spec(5, 3));
    world.spec.nodes = 6;
    world.round();
    world.round();
    world.spread();
    assert!(is_joint(&world));
    world.place(1).up = false;
    world.settle(1);
    world.now += world.spec.repair_after_ms;
    world.settle(4);
    let table = world.view().stable().unwrap();
    assert!(table.member(Ordinal(1)).unwrap().out && table.member(Ordinal(5)).is_some());
    assert!(world.whole());
}

#[test]
fn two_silent_owners_of_one_range_stop_all_changes() {
    let mut world = World::formed(spec(5, 3));
    world.place(1).up = false;
    world.place(2).up = false;
    world.settle(1);
    world.now += world.spec.repair_after_ms;
    world.spec.nodes = 6;
    world.settle(5);
    assert!(
        !is_joint(&world),
        "nobody knows what they alone have decided"
    );
    assert!(!world.condition("Ready").status);
    world.place(2).up = true;
    world.settle(5);
    assert!(
        world
            .view()
            .stable()
            .unwrap()
            .member(Ordinal(1))
            .unwrap()
            .out
    );
    assert_eq!(world.members(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_disk_is_given_up_only_while_other_copies_answer() {
    let mut world = World::formed(spec(4, 1));
    let disk = world.view().old().member(Ordinal(1)).unwrap().disk;
    world.spec.replace = Some(disk);
    world.place(1).up = false;
    world.settle(3);
    assert!(world.view().old().live().count() == 4 && !is_joint(&world));
    assert!(
        world
            .condition("Degraded")
            .message
            .contains("no other copy"),
        "{:?}",
        world.condition("Degraded")
    );

    let mut world = World::formed(spec(4, 3));
    let disk = world.view().old().member(Ordinal(1)).unwrap().disk;
    world.spec.replace = Some(disk);
    world.settle(3);
    assert!(
        world
            .view()
            .stable()
            .unwrap()
            .member(Ordinal(1))
            .unwrap()
            .out,
        "at once, though it answers"
    );
    world.settle(3);
    assert!(
        world
            .view()
            .stable()
            .unwrap()
            .member(Ordinal(1))
            .unwrap()
            .out,
        "and it stays so"
    );
    let fresh = world.fresh_disk();
    let id = fresh.id;
    world.place(1).disk = Some(fresh);
    world.settle(3);
    assert_eq!(
        world
            .view()
            .stable()
            .unwrap()
            .member(Ordinal(1))
            .unwrap()
            .disk,
        id
    );
}

#[test]
fn disks_of_other_clusters_and_copies_of_disks_do_not_join() {
    let mut other = spec(3, 3);
    other.cluster = ClusterUid("another".into());
    let other = World::formed(other);
    let mut world = World::formed(spec(3, 3));
    world.spec.nodes = 4;
    world.round();
    world.place(3).disk.as_mut().unwrap().view = Some(other.view().clone());
    world.settle(4);
    assert_eq!(world.members(), [0, 1, 2]);
    assert!(
        world
            .condition("ScalingLimited")
            .message
            .contains("another cluster")
    );
    let copy = world.place(0).disk.clone();
    world.place(3).disk = copy;
    world.settle(4);
    assert_eq!(world.members(), [0, 1, 2]);
    assert!(
        world
            .condition("ScalingLimited")
            .message
            .contains("copy of a disk")
    );
}

#[test]
fn draining_empties_a_node_that_stays_and_is_undone() {
    let mut world = World::formed(spec(5, 3));
    world.spec.drained = [Ordinal(1), Ordinal(2), Ordinal(3)].into();
    world.settle(12);
    assert_eq!(world.members(), [0, 3, 4], "never fewer than copies");
    assert!(
        world
            .condition("ScaleDownBlocked")
            .message
            .contains("files-3 must stay")
    );
    assert!(
        world.places[&Ordinal(1)].wanted
            && world.places[&Ordinal(1)]
                .disk
                .as_ref()
                .unwrap()
                .keys
                .is_empty()
    );
    world.spec.drained.clear();
    world.settle(6);
    assert_eq!(world.members(), [0, 1, 2, 3, 4]);
    assert!(world.whole());
}

#[test]
fn replication_follows_the_spec_when_members_suffice() {
    let mut world = World::formed(spec(3, 3));
    world.spec.replication = 4;
    world.settle(3);
    assert_eq!(world.view().stable().unwrap().replication, 3);
    assert!(
        world
            .condition("ScalingLimited")
            .message
            .contains("4 copies need 4 members")
    );
    world.spec.nodes = 4;
    world.settle(8);
    assert_eq!(world.view().stable().unwrap().replication, 4);
    assert!(world.whole());
    world.spec.replication = 2;
    world.settle(4);
    assert_eq!(world.view().stable().unwrap().replication, 2);
}

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
    world.place(1).up = false;
    world.round();
    assert_eq!(world.plan().restart, [Ordinal(1)]);
    world.place(1).up = false;
    world.round();
    assert!(
        world.plan().restart.is_empty(),
        "the restarted one must be back first"
    );
    world.place(1).up = true;
    let mut restarted = Vec::new();
    for _ in 0..6 {
        world.round();
        restarted.extend(world.plan().restart.clone());
        assert!(world.plan().restart.len() <= 1);
    }
    assert_eq!(restarted, [Ordinal(3), Ordinal(2), Ordinal(0)]);
    assert_eq!(world.plan().disruptions_allowed, 1);
    world.spec.revision = "r3".into();
    world.place(0).disk.as_mut().unwrap().keys.clear();
    world.round();
    assert!(world.plan().restart.is_empty(), "copies are missing");
    assert_eq!(world.plan().disruptions_allowed, 0);
}

#[test]
fn a_lost_view_is_taken_from_a_majority_and_from_nobody_less() {
    let mut world = World::formed(spec(3, 3));
    let view = world.view().clone();
    for damaged in [Stored::Missing, Stored::Unreadable("damaged".into())] {
        world.stored = damaged.clone();
        world.place(0).up = false;
        world.place(1).up = false;
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
        world.place(0).up = true;
        world.place(1).up = true;
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
fn nobody_is_removed_unseen() {
    let mut world = World::formed(spec(4, 3));
    world.spec.nodes = 3;
    world.round();
    world.work();
    world.round();
    world.place(3).up = false;
    world.settle(3);
    assert!(
        world.places[&Ordinal(3)].wanted,
        "its disk may hold what nobody knows of"
    );
    assert!(
        world
            .condition("ScaleDownBlocked")
            .message
            .contains("files-3 does not answer")
    );
    world.place(3).up = true;
    world.settle(2);
    assert!(!world.places.contains_key(&Ordinal(3)));
    // A node that never got a disk has nothing to lose.
    world.spec.nodes = 4;
    world.round();
    world.place(3).up = false;
    world.place(3).disk = None;
    world.spec.nodes = 3;
    world.round();
    assert!(matches!(
        world.plan().slots.get(&Ordinal(3)),
        Some(Slot::Absent { .. })
    ));
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
    type Falsify = fn(&mut chord_api::report::NodeReport);
    let falsify: [Falsify; 5] = [
        |r| r.sync.settled = false,
        |r| r.sync.epoch = Epoch(r.sync.epoch.0 - 1),
        |r| r.sync.hash = chord_api::view::ViewHash([7; 32]),
        |r| r.disk = chord_api::DiskId::random(),
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
