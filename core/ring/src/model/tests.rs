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

/// Explores a model to its end. Answers how many states it has.
fn explore(successors: usize, nodes: usize, grain: Grain, network: Network) -> usize {
    explore_all(RingModel::new(successors, nodes, grain, network))
}

fn explore_all(model: RingModel) -> usize {
    let started = Instant::now();
    let (successors, nodes) = (model.rules.successors, model.peers.len());
    let (grain, network) = (model.grain, model.network);
    let mut more = match model.mailbox {
        1 => String::new(),
        waiting => format!(", {waiting} notifications to each"),
    };
    for (is, what) in [
        (model.wide, ", with what a host adds"),
        (model.turned, ", up to turns"),
    ] {
        more.push_str(if is { what } else { "" });
    }
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!(
        "r = {successors}, N = {nodes}, {grain:?}, {network:?}{more}: {} states, {} steps, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64(),
    );
    let broken: Vec<String> = checker
        .discoveries()
        .into_iter()
        .map(|(what, path)| format!("not so: {what}\n{}", story::of_path(checker.model(), path)))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(checker.is_done());
    checker.unique_state_count()
}

#[test]
fn two_successors_four_nodes() {
    for network in [Network::Reliable, Network::Hostile] {
        let all = explore(2, 4, Grain::Coarse, network);
        let turned = explore_all(RingModel::new(2, 4, Grain::Coarse, network).turned());
        // Few worlds of these stay the same when turned.
        assert!(
            (all / 4..all / 4 + all / 100).contains(&turned),
            "{all} {turned}"
        );
    }
}

#[test]
fn three_successors_five_nodes() {
    explore(3, 5, Grain::Coarse, Network::Reliable);
    if long() {
        explore(3, 5, Grain::Coarse, Network::Hostile);
    }
}

#[test]
fn what_a_host_adds() {
    let model = |mailbox, network| {
        let model = RingModel::new(2, 4, Grain::Coarse, network);
        model.wide(mailbox).turned()
    };
    explore_all(model(1, Network::Reliable));
    if long() {
        // Each of the others may have one on its way.
        explore_all(model(3, Network::Reliable));
        explore_all(model(3, Network::Hostile));
    }
}

/// How many states there are when rounds are whole, as in the models of others.
#[test]
fn rounds_that_are_whole() {
    for (successors, nodes) in [(2, 4), (3, 5)] {
        explore(successors, nodes, Grain::Whole, Network::Reliable);
    }
    if long() {
        explore(2, 5, Grain::Whole, Network::Reliable);
    }
}

#[test]
fn two_successors_four_nodes_every_message_a_step() {
    if long() {
        explore_all(RingModel::new(2, 4, Grain::Fine, Network::Reliable).turned());
        explore_all(RingModel::new(2, 4, Grain::Fine, Network::Hostile).turned());
    }
}

#[test]
fn two_successors_five_nodes() {
    if long() {
        explore_all(RingModel::new(2, 5, Grain::Coarse, Network::Reliable).turned());
        explore_all(RingModel::new(2, 5, Grain::Coarse, Network::Hostile).turned());
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
        story::of_path(checker.model(), path)
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
