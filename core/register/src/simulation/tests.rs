//! Every seed of the sound protocol passes, and every mutant is found.

use super::{Mutant, Story, World};
use crate::proposer::End;

fn run(seed: u64, mutant: Mutant, story: Story) -> Result<usize, String> {
    let mut world = World::new(seed, mutant, story);
    world.run();
    world.judge()?;
    Ok(world
        .operations
        .iter()
        .filter(|o| matches!(o.end, Some((_, End::Done(..) | End::Refused(_)))))
        .count())
}

fn every_seed(story: Story) {
    let mut done = 0;
    let seeds = chord_testing::seeds("CHORD_SEEDS", 300);
    let many = seeds.end - seeds.start;
    for seed in seeds {
        match run(seed, Mutant::None, story) {
            Ok(finished) => done += finished,
            Err(why) => panic!("{story:?}, seed {seed}: {why}"),
        }
    }
    println!("register simulation, {story:?}: {many} seeds, {done} operations finished");
    assert!(
        done as u64 > many * 6,
        "most operations must finish, or nothing was tested: {done}"
    );
}

#[test]
fn sim_every_acknowledged_operation_is_applied_exactly_once() {
    every_seed(Story::Moves);
}

#[test]
fn sim_two_copies_survive_the_loss_of_one_and_take_writes_again() {
    every_seed(Story::Loses);
    let finishes = (0..50).filter(|seed| {
        let mut world = World::new(*seed, Mutant::None, Story::Loses);
        world.run();
        world.epoch() == 3
    });
    let finishes = finishes.count();
    assert!(finishes >= 45, "the change is completed: {finishes} of 50");
}

#[test]
fn sim_every_mutant_is_found() {
    for (mutant, story) in [
        (Mutant::ForgetsPromises, Story::Moves),
        (Mutant::NewTableOnly, Story::Moves),
        (Mutant::NoSettling, Story::Moves),
        (Mutant::NoSettling, Story::Loses),
        (Mutant::ForgetsOperation, Story::Moves),
        (Mutant::AnyEpoch, Story::Moves),
        (Mutant::RefusesAtOnce, Story::Moves),
        (Mutant::OldOwnersVoteNoMore, Story::Moves),
        (Mutant::NobodyGoesOnVoting, Story::Moves),
        (Mutant::NobodyGoesOnVoting, Story::Loses),
    ] {
        let found =
            (0..20_000).find_map(|seed| run(seed, mutant, story).err().map(|why| (seed, why)));
        match found {
            Some((seed, why)) => println!("{mutant:?}, {story:?}: seed {seed}: {why}"),
            None => panic!("{mutant:?} was not found in {story:?}"),
        }
    }
}
