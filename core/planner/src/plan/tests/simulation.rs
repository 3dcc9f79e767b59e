//! The planner against a cluster in which everything goes wrong at random: what
//! must hold in every round, and that it comes to rest when the faults stop.

use std::collections::BTreeSet;

use chord_placement::Placement;
use chord_placement::Placements;
use chord_types::{Ordinal, Tables, View};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::*;
use crate::plan::*;

const FAULTY_ROUNDS: usize = 220;
const QUIET_ROUNDS: usize = 400;

/// What must hold for any plan, whatever was seen.
fn check(world: &World, plan: &Plan, seed: u64) {
    if let Some(next) = &plan.view {
        check_view(world, next, seed);
        let live = next.new_table().live().count();
        assert!(
            live >= usize::from(next.new_table().replication),
            "seed {seed}: {live} live members"
        );
    }
    let absent: Vec<Ordinal> = plan
        .slots
        .iter()
        .filter(|(_, s)| matches!(s, Slot::Absent { .. }))
        .map(|(o, _)| *o)
        .collect();
    assert!(absent.len() <= 1, "seed {seed}: one node at a time");
    for ordinal in absent {
        assert!(
            plan.view.is_none(),
            "seed {seed}: no node goes while the view changes"
        );
        let Stored::View(stored) = &world.stored else {
            panic!("seed {seed}: a node goes without a view")
        };
        assert!(stored.stable().is_some());
        let sim = &world.nodes[&ordinal];
        assert!(
            world.nodes.iter().all(|(o, p)| *o <= ordinal || !p.wanted),
            "seed {seed}: the highest first"
        );
        if let Some(disk) = &sim.disk {
            assert!(
                stored.old().by_disk(disk.id).is_none(),
                "seed {seed}: its disk is in the view"
            );
            assert!(stored.old().member(ordinal).is_none());
            assert!(disk.keys.is_empty(), "seed {seed}: its disk is not empty");
            assert_eq!(
                disk.view.as_ref(),
                Some(&**stored),
                "seed {seed}: proven at another view"
            );
        }
    }
    assert!(plan.restart.len() <= 1);
    for ordinal in &plan.restart {
        let joint = matches!(&world.stored, Stored::View(v) if v.stable().is_none());
        let up = world.nodes[ordinal].up;
        assert!(
            !up || (!joint && plan.view.is_none()),
            "seed {seed}: a working node restarted in a change"
        );
        let member =
            |o: &Ordinal| matches!(&world.stored, Stored::View(v) if v.old().member(*o).is_some());
        assert!(
            !up || world
                .nodes
                .iter()
                .all(|(o, p)| p.up || !p.wanted || !member(o)),
            "seed {seed}: another member is down"
        );
    }
    if world.spec.paused {
        assert!(plan.view.is_none() && plan.slots.is_empty() && plan.restart.is_empty());
    }
}

fn check_view(world: &World, next: &View, seed: u64) {
    let held: Vec<View> = world
        .nodes
        .values()
        .filter_map(|p| p.disk.as_ref()?.view.clone())
        .collect();
    if held.contains(next) {
        assert!(
            held.iter()
                .all(|v| v.epoch <= next.epoch || v.cluster != next.cluster),
            "seed {seed}: not the newest"
        );
        return;
    }
    let Stored::View(stored) = &world.stored else {
        assert!(held.is_empty(), "seed {seed}: a second cluster formed");
        assert_eq!(next.epoch.0, 1);
        return;
    };
    assert_eq!(next.epoch.0, stored.epoch.0 + 1, "seed {seed}");
    assert_eq!(next.parent, stored.hash(), "seed {seed}: views chain");
    assert!(
        held.iter().all(|v| v.epoch < next.epoch),
        "seed {seed}: two views of one number"
    );
    if let Tables::Joint(old, new) = &next.tables {
        for (was, is) in old
            .members
            .iter()
            .filter_map(|m| Some((m, new.by_disk(m.disk)?)))
        {
            let kept =
                |m: &chord_types::Member| (m.tokens.clone(), m.zone.clone(), m.machine.clone());
            assert_eq!(
                kept(was),
                kept(is),
                "seed {seed}: a disk keeps its tokens and its place"
            );
        }
    }
    match (&stored.tables, &next.tables) {
        (Tables::Stable(t), Tables::Joint(old, new)) => {
            assert_eq!(t, old, "seed {seed}");
            let gone = t
                .members
                .iter()
                .filter(|m| new.member(m.ordinal).is_none())
                .count();
            assert!(gone <= 1, "seed {seed}: {gone} members leave at once");
        }
        (Tables::Joint(t, _), Tables::Joint(old, _)) => assert_eq!(t, old, "seed {seed}"),
        (Tables::Joint(t, _), Tables::Stable(back)) if t == back => {}
        (Tables::Joint(_, u), Tables::Stable(done)) => {
            assert_eq!(u, done, "seed {seed}");
            for change in Placements::new(stored).changed() {
                let settled = change.from.iter().filter(|m| {
                    world
                        .up(m)
                        .is_some_and(|d| d.settled == Some(stored.reference()))
                });
                assert!(
                    settled.count() >= stored.old().blocking(),
                    "seed {seed}: completed without evidence"
                );
            }
        }
        (Tables::Stable(_), Tables::Stable(_)) => {
            panic!("seed {seed}: a change without a joint view")
        }
    }
}

/// No write that was acknowledged may become invisible to a quorum.
fn check_data(world: &World, seed: u64, round: usize) {
    let Some(view) = world.newest() else { return };
    // Where only some hold the newest view, what the old table holds decides.
    let old = Placement::new(view.old());
    for k in 0..KEYS {
        assert!(
            world.safe(k, &old, None),
            "seed {seed} round {round}: key {k} is lost at view {}",
            view.epoch
        );
    }
}

fn majority_holds(world: &World) -> bool {
    let Stored::View(view) = &world.stored else {
        return false;
    };
    let held = |m: &&chord_types::Member| {
        world
            .nodes
            .get(&m.ordinal)
            .and_then(|p| p.disk.as_ref())
            .is_some_and(|d| d.id == m.disk && d.view.as_ref() == Some(&**view))
    };
    [view.old(), view.new_table()]
        .iter()
        .all(|t| t.members.iter().filter(held).count() * 2 > t.members.len())
}

/// Something goes wrong, or somebody changes his mind.
fn fault(world: &mut World, rng: &mut StdRng, history: &[View]) {
    let ordinals: Vec<Ordinal> = world.nodes.keys().copied().collect();
    let some = |rng: &mut StdRng| ordinals[rng.random_range(0..ordinals.len())];
    match rng.random_range(0..100) {
        0..=7 => world.nodes.get_mut(&some(rng)).unwrap().up = false,
        8..=19 => {
            let sim = world.nodes.get_mut(&some(rng)).unwrap();
            sim.up = sim.wanted;
        }
        20..=23 => {
            // A disk is lost, where the others can bear it.
            let ordinal = some(rng);
            let lost = world.nodes[&ordinal].disk.as_ref().map(|d| d.id);
            let newest = world.newest();
            let bearable = newest.as_ref().is_none_or(|v| {
                let old = Placement::new(v.old());
                let rest = |k| {
                    old.owners(&key(k))
                        .filter(|m| Some(m.disk) != lost && world.up(m).is_some())
                        .count()
                };
                (0..KEYS).all(|k| world.safe(k, &old, lost) && rest(k) >= v.old().quorum())
            });
            let alone = world
                .nodes
                .values()
                .filter(|p| p.disk.as_ref().is_some_and(|d| d.view.is_some()))
                .count()
                > 2;
            if bearable && alone && majority_holds(world) {
                let disk = world.fresh_disk();
                world.nodes.get_mut(&ordinal).unwrap().disk = Some(disk);
            }
        }
        24..=27 => world.memory = Memory::default(),
        28..=31 if majority_holds(world) => world.stored = Stored::Missing,
        32..=33 if majority_holds(world) => world.stored = Stored::Unreadable("damaged".into()),
        34..=36 if majority_holds(world) && !history.is_empty() => {
            let old = history[rng.random_range(0..history.len())].clone();
            world.stored = Stored::View(Box::new(old));
        }
        37..=44 => world.spec.nodes = rng.random_range(u32::from(world.spec.replication)..9),
        45..=48 => {
            let ordinal = Ordinal(rng.random_range(0..6));
            if !world.spec.drained.remove(&ordinal) {
                world.spec.drained.insert(ordinal);
            }
        }
        49..=50 => world.spec.replication = rng.random_range(2..=4).min(world.spec.nodes as u8),
        58..=65 if !world.sites.is_empty() => {
            // A pod is started on another machine of its zone, or of another one.
            let ordinal = some(rng).0;
            let zone = ["a", "b", "c"][(ordinal as usize + usize::from(rng.random_bool(0.2))) % 3];
            world.moves(ordinal, zone, &format!("{zone}{}", rng.random_range(0..4)));
        }
        51..=52 => world.spec.paused = !world.spec.paused,
        53..=54 => world.spec.revision = format!("r{}", rng.random_range(0..5)),
        55..=57 => world.now += 70_000,
        58..=62 => {
            // It works, and the operator does not hear of it.
            let ordinal = some(rng);
            if !world.unheard.remove(&ordinal) {
                world.unheard.insert(ordinal);
            }
        }
        _ => {}
    }
}

/// The members that there should be.
fn expected(world: &World) -> Vec<u32> {
    (0..world.spec.nodes)
        .filter(|o| !world.spec.drained.contains(&Ordinal(*o)))
        .collect()
}

fn at_rest(world: &World) -> bool {
    let running = world.nodes.values().filter(|p| p.wanted).count();
    matches!(&world.stored, Stored::View(v) if v.stable().is_some())
        && world.plan().status.phase == Phase::Ready
        && world.plan().view.is_none()
        && world
            .nodes
            .values()
            .all(|p| !p.wanted || p.revision == world.spec.revision)
        && world.members() == expected(world)
        && running == world.spec.nodes as usize
        && world.whole()
}

fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let nodes = rng.random_range(3..6);
    // Half of the clusters know where their nodes run.
    let sites: Vec<(&str, &str)> = [("a", "a0"), ("b", "b0"), ("c", "c0")].repeat(4);
    let sites = if seed.is_multiple_of(2) {
        &sites[..]
    } else {
        &[]
    };
    let mut world = World::formed_at(spec(nodes, 3), sites);
    let mut history: Vec<View> = Vec::new();
    let mut asked = false;
    for round in 0..FAULTY_ROUNDS + QUIET_ROUNDS {
        let faulty = round < FAULTY_ROUNDS;
        if faulty {
            fault(&mut world, &mut rng, &history);
        } else if round == FAULTY_ROUNDS {
            quiet(&mut world);
        }
        // Somebody asks for another number: one that nobody remembers to have been
        // obeyed may be that of a time before.
        if let (false, false, Some(obeyed)) = (faulty, asked, world.memory.nodes_obeyed) {
            asked = true;
            world.spec.nodes = rng.random_range(4..8);
            if world.spec.nodes == obeyed {
                world.spec.nodes = 4 + (obeyed - 3) % 4;
            }
        }
        let (plan, memory) = world.think();

        check(&world, &plan, seed);
        if let Stored::View(view) = &world.stored
            && !history.contains(view)
        {
            history.push((**view).clone());
        }
        // The operator may die before or after any step.
        if !faulty || rng.random_bool(0.8) {
            world.carry_out(&plan);
            world.memory = memory;
        } else if rng.random_bool(0.5)
            && let Some(view) = &plan.view
        {
            world.stored = Stored::View(Box::new(view.clone()));
        }
        world.last = Some(plan);
        world.now += 1_000;
        nodes_work(&mut world, &mut rng);
        check_data(&world, seed, round);
        if asked && at_rest(&world) {
            break;
        }
    }
    check_end(&mut world, seed);
    check_rest(&mut world, seed);
}

/// All faults end, and what is wanted is so much that there is something to do.
fn quiet(world: &mut World) {
    for sim in world.nodes.values_mut() {
        sim.up = sim.wanted;
    }
    world.unheard.clear();
    world.spec.paused = false;
    world.spec.drained.retain(|o| o.0 == 0);
    world.spec.replication = 3;
    world.spec.nodes = 7;
}

/// Nodes hear of views from the operator and from each other, and work; clients write.
fn nodes_work(world: &mut World, rng: &mut StdRng) {
    let newest = world.newest();
    let ordinals: Vec<Ordinal> = world.nodes.keys().copied().collect();
    for ordinal in ordinals {
        if let Stored::View(view) = &world.stored
            && rng.random_bool(0.6)
        {
            let view = (**view).clone();
            world.give(ordinal, &view);
        }
        if let Some(view) = &newest
            && rng.random_bool(0.4)
        {
            world.give(ordinal, view);
        }
        if rng.random_bool(0.5) {
            world.work_of(ordinal);
        }
    }
    for _ in 0..3 {
        world.write(rng.random_range(0..KEYS));
    }
}

/// What was wanted last is so, and nothing was lost on the way.
fn check_end(world: &mut World, seed: u64) {
    let status = world.plan().status.clone();
    assert!(world.view().stable().is_some(), "seed {seed}: {status:?}");
    assert_eq!(world.members(), expected(world), "seed {seed}: {status:?}");
    let running: BTreeSet<u32> = world
        .nodes
        .iter()
        .filter(|(_, p)| p.wanted)
        .map(|(o, _)| o.0)
        .collect();
    let wanted: BTreeSet<u32> = (0..world.spec.nodes).collect();
    assert_eq!(running, wanted, "seed {seed}: {status:?}");
    assert_eq!(status.phase, Phase::Ready, "seed {seed}: {status:?}");
    for _ in 0..3 {
        world.work();
    }
    assert!(world.whole(), "seed {seed}");
}

/// A round in which nothing happens plans nothing and changes nothing.
fn check_rest(world: &mut World, seed: u64) {
    world.round();
    world.round();
    let quiet = world.think();
    assert!(
        quiet.0.view.is_none() && quiet.0.restart.is_empty(),
        "seed {seed}: {:?}",
        quiet.0
    );
    assert_eq!(quiet.0.events, [], "seed {seed}");
    world.now += 60_000;
    assert_eq!(
        world.think(),
        quiet,
        "seed {seed}: a round in which nothing happened changes nothing"
    );
    assert_eq!(quiet.1, world.memory);
}

#[test]
fn whatever_happens_the_rules_hold_and_it_comes_to_rest() {
    for seed in chord_testing::seeds("CHORD_PLAN_SEEDS", 10) {
        simulate(seed);
    }
}
