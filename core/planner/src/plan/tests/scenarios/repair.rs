//! Members fall silent, disks are lost or are the wrong ones.

use super::*;

#[test]
fn a_silent_member_is_repaired_around_after_a_while_and_comes_back() {
    let mut world = World::formed(spec(4, 3));
    world.node(2).up = false;
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
    world.node(2).up = true;
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
    world.node(1).up = false;
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
fn a_disk_that_says_it_is_broken_is_repaired_around_at_once() {
    let mut world = World::formed(spec(4, 3));
    let disk = world.node(1).disk.as_ref().unwrap().id;
    world.failed.insert(disk);
    world.round();
    let degraded = world.condition("Degraded");
    assert!(
        degraded.reason == "DiskFailed" && degraded.message.contains("a record is torn"),
        "{degraded:?}"
    );
    world.work();
    world.settle(3);
    let member = |world: &World| world.view().stable().unwrap().member(Ordinal(1)).cloned();
    assert!(member(&world).unwrap().out);
    assert!(world.whole(), "the others have all copies");
    let fresh = world.fresh_disk();
    world.node(1).disk = Some(fresh);
    world.settle(4);
    assert!(!member(&world).unwrap().out);
    assert!(world.whole());
    assert_eq!(world.plan().status.phase, Phase::Ready);
}

#[test]
fn two_broken_disks_stop_what_needs_their_votes() {
    let mut world = World::formed(spec(4, 3));
    for ordinal in [1, 2] {
        let disk = world.node(ordinal).disk.as_ref().unwrap().id;
        world.failed.insert(disk);
    }
    world.settle(3);
    assert!(!is_joint(&world));
    assert_eq!(world.condition("Degraded").reason, "RepairBlocked");
    assert!(!world.condition("Ready").status, "two of three are silent");
}

#[test]
fn a_broken_disk_does_not_join() {
    let mut world = World::formed(spec(3, 3));
    world.spec.nodes = 4;
    world.round();
    let disk = world.node(3).disk.as_ref().unwrap().id;
    world.failed.insert(disk);
    world.settle(5);
    assert_eq!(world.members(), [0, 1, 2]);
    let limited = &world.condition("ScalingLimited").message;
    assert!(limited.contains("a record is torn"), "{limited}");
}

#[test]
fn a_lost_disk_is_replaced_at_once() {
    let mut world = World::formed(spec(3, 3));
    let fresh = world.fresh_disk();
    let id = fresh.id;
    world.node(0).disk = Some(fresh);
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
    world.node(4).up = false;
    world.settle(3);
    assert!(is_joint(&world), "a moment of silence is waited out");
    world.now += world.spec.repair_after_ms;
    world.settle(1);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    assert!(!is_joint(&world));
    world.node(4).up = true;
    let fresh = world.fresh_disk();
    world.node(4).disk = Some(fresh);
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
    world.node(1).up = false;
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
    world.node(1).up = false;
    world.node(2).up = false;
    world.settle(1);
    world.now += world.spec.repair_after_ms;
    world.spec.nodes = 6;
    world.settle(5);
    assert!(
        !is_joint(&world),
        "nobody knows what they alone have decided"
    );
    assert!(!world.condition("Ready").status);
    world.node(2).up = true;
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
    world.node(1).up = false;
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
    world.node(1).disk = Some(fresh);
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
    world.node(3).disk.as_mut().unwrap().view = Some(other.view().clone());
    world.settle(4);
    assert_eq!(world.members(), [0, 1, 2]);
    assert!(
        world
            .condition("ScalingLimited")
            .message
            .contains("another cluster")
    );
    let copy = world.node(0).disk.clone();
    world.node(3).disk = copy;
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
fn nobody_is_given_up_for_a_silence_that_nobody_watched() {
    let mut world = World::formed(spec(4, 3));
    world.node(2).up = false;
    world.round();
    // The operator is away: whether node 2 was meanwhile is not known.
    world.now += 20 * world.spec.repair_after_ms;
    world.settle(3);
    let out = |world: &World| world.view().new_table().member(Ordinal(2)).unwrap().out;
    assert!(!out(&world));
    // Watched on, round after round, it is.
    for _ in 0..world.spec.repair_after_ms / 1_000 {
        world.round();
    }
    world.settle(3);
    assert!(out(&world));
}

#[test]
fn watching_a_silent_member_is_hardly_ever_worth_a_write() {
    let mut world = World::formed(spec(4, 3));
    world.spec.repair_after_ms = 3_600_000;
    world.node(2).up = false;
    world.settle(2);
    let (mut changes, mut before) = (0, world.memory.clone());
    for _ in 0..300 {
        world.round();
        changes += usize::from(world.memory != before);
        before = world.memory.clone();
    }
    assert_eq!(changes, 5, "once a minute");
    world.node(2).up = true;
    world.settle(2);
    assert_eq!(
        (world.memory.watched, world.memory.silent_since.len()),
        (None, 0)
    );
}

/// Files that cannot be read must not hide behind a cluster that looks well.
#[test]
fn copies_that_nobody_can_make_again_show_in_the_status() {
    let mut world = World::formed(spec(4, 3));
    assert!(world.condition("StorageHealthy").status);
    world.unrepaired.insert(Ordinal(1), 6);
    world.unrepaired.insert(Ordinal(3), 2);
    world.settle(1);
    assert_eq!(world.plan().status.phase, Phase::Degraded);
    for name in ["Degraded", "StorageHealthy"] {
        let condition = world.condition(name);
        assert_eq!(condition.status, name == "Degraded");
        assert_eq!(condition.reason, "CopiesMissing");
        assert!(condition.message.starts_with("8 copies"), "{condition:?}");
        assert!(
            condition.message.contains("files-1") && condition.message.contains("part 2"),
            "{condition:?}"
        );
    }
    let ready = world.condition("Ready");
    assert!(ready.status && ready.message.contains("8 copies"));
    world.unrepaired.clear();
    world.settle(1);
    assert_eq!(world.plan().status.phase, Phase::Ready);
    assert!(world.condition("StorageHealthy").status);
}
