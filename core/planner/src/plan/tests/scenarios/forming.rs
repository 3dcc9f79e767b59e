//! How a cluster is formed, and over which disks none is.

use super::*;

#[test]
fn a_cluster_forms_when_every_node_answers_and_is_empty() {
    let mut world = World::new(spec(3, 3));
    world.round();
    assert_eq!(world.plan().status.phase, Phase::Pending);
    assert_eq!(world.plan().slots.len(), 3, "all are started");
    world.node(2).up = false;
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
    world.node(2).up = true;
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
        let disk = world.node(1).disk.as_mut().unwrap();
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
fn a_wrong_number_of_nodes_can_be_corrected_before_the_cluster_is_formed() {
    let mut world = World::new(spec(5, 3));
    world.unplaced = [Ordinal(3), Ordinal(4)].into();
    world.settle(4);
    assert_eq!(world.stored, Stored::Missing);
    let ready = world.condition("Ready").message.clone();
    assert!(
        ready.contains("waiting for 2 of 5") && ready.contains("no machine has room"),
        "{ready}"
    );
    world.spec.nodes = 3;
    world.settle(4);
    assert_eq!(world.members(), [0, 1, 2]);
    world.settle(4);
    assert!(
        world.nodes.values().filter(|p| p.wanted).count() == 3,
        "those that never had a disk are gone"
    );
}

#[test]
fn a_disk_above_the_number_of_nodes_is_asked_first() {
    let mut world = World::new(spec(5, 3));
    world.round();
    world.spec.nodes = 3;
    world.unheard = [Ordinal(4)].into();
    world.settle(4);
    assert_eq!(world.stored, Stored::Missing, "it may hold a view");
    world.unheard.clear();
    world.settle(1);
    assert_eq!(world.members(), [0, 1, 2]);
}
