//! What is checked: the core as it is, in every interleaving, and that the check
//! finds each of seven mistakes.
//!
//! The short form keeps to the models that are explored in seconds; `MODELS=all`,
//! as `make soak` has it, adds the others.

#![cfg(test)]

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::*;

fn long() -> bool {
    std::env::var("MODELS").is_ok_and(|m| m == "all")
}

/// Explores a model to its end.
fn explore(successors: usize, nodes: usize, grain: Grain, network: Network) {
    let started = Instant::now();
    let checker = RingModel::new(successors, nodes, grain, network)
        .checker()
        .threads(2)
        .spawn_bfs()
        .join();
    println!(
        "r = {successors}, N = {nodes}, {grain:?}, {network:?}: {} states, {} steps, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64(),
    );
    let broken: Vec<String> = checker
        .discoveries()
        .into_iter()
        .map(|(what, path)| format!("not so: {what}\n{}", story::tell(checker.model(), path)))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(checker.is_done());
}

#[test]
fn two_successors_four_nodes() {
    explore(2, 4, Grain::Coarse, Network::Reliable);
    explore(2, 4, Grain::Coarse, Network::Hostile);
}

#[test]
fn three_successors_five_nodes() {
    explore(3, 5, Grain::Coarse, Network::Reliable);
    if long() {
        explore(3, 5, Grain::Coarse, Network::Hostile);
    }
}

#[test]
fn two_successors_four_nodes_every_message_a_step() {
    if long() {
        explore(2, 4, Grain::Fine, Network::Reliable);
        explore(2, 4, Grain::Fine, Network::Hostile);
    }
}

#[test]
fn two_successors_five_nodes() {
    if long() {
        explore(2, 5, Grain::Coarse, Network::Reliable);
    }
}

/// Explores a model with a mistake until this is broken, and tells how. One
/// thread, so that the way told is a shortest one.
fn finds(flaw: Flaw, successors: usize, nodes: usize, property: &'static str) {
    let checker = RingModel::new(successors, nodes, Grain::Coarse, Network::Reliable)
        .flawed(flaw)
        .checker()
        .finish_when(HasDiscoveries::AllOf([property].into_iter().collect()))
        .spawn_bfs()
        .join();
    let found: Vec<&str> = checker.discoveries().into_keys().collect();
    let path = checker
        .discovery(property)
        .unwrap_or_else(|| panic!("{flaw:?}: not found that {property}, but {found:?}"));
    println!(
        "{flaw:?}, r = {successors}, N = {nodes}; after {} states it is not so that {property}:\n{}",
        checker.unique_state_count(),
        story::tell(checker.model(), path)
    );
}

#[test]
fn a_ring_that_starts_from_one_node_is_found() {
    finds(Flaw::BootstrapAlone, 2, 4, ONE_ORDERED_RING);
}

#[test]
fn failures_beyond_the_stable_base_are_found() {
    finds(Flaw::NoStableBase, 2, 4, ONE_ORDERED_RING);
}

#[test]
fn who_joins_with_an_unasked_head_is_found() {
    finds(Flaw::JoinCopiesHead, 2, 5, ONE_LIVE_SUCCESSOR);
}

#[test]
fn a_predecessor_that_nobody_asks_is_found() {
    finds(Flaw::RectifyUnasked, 2, 4, REPAIR_LEADS_HOME);
}

#[test]
fn merged_lists_are_found() {
    finds(Flaw::MergeLists, 2, 4, REPAIR_LEADS_HOME);
}

#[test]
fn a_restart_that_goes_on_with_old_pointers_is_found() {
    finds(Flaw::ResumePointers, 2, 5, ONE_ORDERED_RING);
}

#[test]
fn a_successor_adopted_before_it_answered_is_found() {
    finds(Flaw::AdoptUnanswered, 2, 4, ADOPTED_ON_ANSWER);
}
