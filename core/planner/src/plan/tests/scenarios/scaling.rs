//! Nodes come and go, by hand: who joins, who leaves, and what becomes of disks.

use chord_types::{Token, View};

use super::*;
use crate::plan::view::goal::joiners::WAIT_FOR_JOINERS_MS;

#[test]
fn scaling_out_starts_nodes_and_joins_them_in_one_change() {
    let mut world = World::formed(spec(3, 3));
    world.spec.nodes = 5;
    world.round();
    assert!(world.plan().view.is_none(), "first they are started");
    assert_eq!(world.plan().status.phase, Phase::ScalingOut);
    world.node(4).up = false;
    world.round();
    assert!(!is_joint(&world), "the first waits a while for the second");
    world.node(4).up = true;
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

/// Tokens are chosen once. What an operator of another version would choose today moves
/// nothing that is on record.
#[test]
fn tokens_on_record_stay_whatever_would_be_chosen_now() {
    let mut world = World::formed(spec(3, 3));
    let mut table = world.view().stable().unwrap().clone();
    for member in &mut table.members {
        for token in &mut member.tokens {
            token.0 = token.0.wrapping_add(0x0123_4567_89ab_cdef);
        }
        member.tokens.sort_unstable();
    }
    let cluster = world.view().cluster.clone();
    let recorded = View::first(cluster, table.clone()).unwrap();
    world.stored = Stored::View(Box::new(recorded.clone()));
    for node in world.nodes.values_mut() {
        let disk = node.disk.as_mut().unwrap();
        (disk.view, disk.settled) = (Some(recorded.clone()), Some(recorded.reference()));
    }
    let tokens = |world: &World, n: usize| -> Vec<Vec<Token>> {
        let members = world.view().new_table().members.iter().take(n);
        members.map(|m| m.tokens.clone()).collect()
    };
    let before = tokens(&world, 3);
    assert_eq!(
        before,
        table
            .members
            .iter()
            .map(|m| m.tokens.clone())
            .collect::<Vec<_>>()
    );
    for nodes in [5, 4, 6] {
        world.spec.nodes = nodes;
        world.settle(10);
        assert_eq!(world.members().len(), nodes as usize);
        assert_eq!(tokens(&world, 3), before, "{nodes} nodes");
    }
    assert!(world.whole());
}

#[test]
fn a_new_node_does_not_wait_for_ever_for_another_one() {
    let mut world = World::formed(spec(3, 3));
    world.spec.nodes = 5;
    world.round();
    world.node(4).up = false;
    world.settle(3);
    assert_eq!(world.members(), [0, 1, 2]);
    world.now += WAIT_FOR_JOINERS_MS;
    world.settle(4);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    world.node(4).up = true;
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
        world.nodes[&Ordinal(4)]
            .disk
            .as_ref()
            .unwrap()
            .keys
            .is_empty()
    };
    assert!(!proven(&world));
    world.round();
    assert!(world.nodes[&Ordinal(4)].wanted, "it still holds copies");
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
    assert!(!world.nodes.contains_key(&Ordinal(4)));
    world.settle(6);
    assert_eq!(world.members(), [0, 1, 2]);
    assert_eq!(world.nodes.len(), 3);
    assert!(world.whole());
}

#[test]
fn retained_disks_stay_and_come_back_as_new_members() {
    let mut world = World::formed(spec(4, 3));
    world.spec.delete_scaled_disks = false;
    world.spec.nodes = 3;
    world.settle(6);
    let disk = world.nodes[&Ordinal(3)].disk.clone().unwrap();
    assert!(!world.nodes[&Ordinal(3)].wanted);
    world.settle(3);
    assert!(
        !world.nodes[&Ordinal(3)].wanted,
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
    world.node(1).up = false;
    world.round();
    assert!(world.plan().view.is_none());
    assert!(
        world
            .condition("ScaleDownBlocked")
            .message
            .contains("files-1")
    );
    world.node(1).up = true;
    let fullest = world
        .nodes
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
        world.nodes[&Ordinal(1)].wanted
            && world.nodes[&Ordinal(1)]
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
fn nobody_is_removed_unseen() {
    let mut world = World::formed(spec(4, 3));
    world.spec.nodes = 3;
    world.round();
    world.work();
    world.round();
    world.node(3).up = false;
    world.settle(3);
    assert!(
        world.nodes[&Ordinal(3)].wanted,
        "its disk may hold what nobody knows of"
    );
    assert!(
        world
            .condition("ScaleDownBlocked")
            .message
            .contains("files-3 does not answer")
    );
    world.node(3).up = true;
    world.settle(2);
    assert!(!world.nodes.contains_key(&Ordinal(3)));
    // A node that never got a disk has nothing to lose.
    world.spec.nodes = 4;
    world.round();
    world.node(3).up = false;
    world.node(3).disk = None;
    world.spec.nodes = 3;
    world.round();
    assert!(matches!(
        world.plan().slots.get(&Ordinal(3)),
        Some(Slot::Absent { .. })
    ));
}

#[test]
fn a_new_node_that_does_not_start_is_told_of() {
    let mut world = World::formed(spec(3, 3));
    world.spec.nodes = 4;
    world.unplaced = [Ordinal(3)].into();
    world.settle(3);
    assert_eq!(world.plan().status.phase, Phase::ScalingOut);
    for kind in ["Progressing", "ScalingLimited"] {
        let condition = world.condition(kind);
        assert!(
            condition.status && condition.message.contains("no machine has room"),
            "{condition:?}"
        );
    }
    world.unplaced.clear();
    world.settle(6);
    assert_eq!(world.members(), [0, 1, 2, 3]);
    assert!(!world.condition("ScalingLimited").status);
}

#[test]
fn below_a_member_every_ordinal_has_its_node() {
    let mut world = World::formed(spec(5, 3));
    world.spec.drained = [Ordinal(3)].into();
    world.settle(10);
    assert_eq!(world.members(), [0, 1, 2, 4]);
    // Too full to let node 4 go, and somebody has stopped both.
    world.capacity = KEYS as u64 * world.key_bytes * 100 / 94;
    world.spec.nodes = 3;
    for ordinal in [3, 4] {
        world.node(ordinal).wanted = false;
        world.node(ordinal).up = false;
    }
    world.round();
    let slots: Vec<u32> = world.plan().slots.keys().map(|o| o.0).collect();
    assert_eq!(slots, [0, 1, 2, 3, 4], "a StatefulSet knows no gaps");
    world.settle(3);
    assert_eq!(world.members(), [0, 1, 2, 4]);
    assert!(world.condition("Ready").status);
}
