//! From which seeds tests draw their cases.
//!
//! `make test` draws from fixed seeds, so that a red run means a regression and not
//! an unlucky draw. `make soak` draws from fresh ones: it sets [`SEED`] to a number
//! that nobody chose, and prints it, so that the run can be repeated. A seed that
//! finds a fault becomes a test of its own.
//!
//! Every test in this repository that draws goes through here; `tests/draws.rs`
//! checks that.

#![warn(missing_docs)]

use std::ops::Range;

use proptest::test_runner::{Config, RngSeed};

/// The variable with the first seed: a number; left out, 0.
pub const SEED: &str = "CHORD_SEED";

/// The variable that says how many times the usual number of cases a property is
/// tested with; left out, once.
pub const TIMES: &str = "CHORD_CASES_TIMES";

/// The first seed of this run.
///
/// # Panics
/// Where [`SEED`] is no number: a run that silently drew something else could not be
/// repeated.
pub fn first_seed() -> u64 {
    match set(SEED) {
        Some(seed) => {
            println!("drawn from {SEED}={seed}");
            seed
        }
        None => 0,
    }
}

/// The seeds of a simulation: `few`, or as many as `variable` says, from the first
/// seed on.
///
/// # Panics
/// Where a variable is set to something other than a number.
pub fn seeds(variable: &str, few: u64) -> Range<u64> {
    range(first_seed(), set(variable).unwrap_or(few))
}

/// What a property is tested with: `few` cases, or [`TIMES`] as many, from the first
/// seed. No file is written.
///
/// # Panics
/// Where a variable is set to something other than a number.
pub fn cases(few: u32) -> Config {
    config(first_seed(), few, set(TIMES).unwrap_or(1))
}

fn set(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(number(variable, &text))
}

#[expect(clippy::panic, reason = "only tests call this")]
fn number(variable: &str, text: &str) -> u64 {
    match text.parse() {
        Ok(number) => number,
        Err(why) => panic!("{variable} is \"{text}\": {why}; give a whole number"),
    }
}

fn range(first: u64, many: u64) -> Range<u64> {
    // Far from the last, so that the range is as long as it says.
    let first = first.min(u64::MAX - many);
    first..first + many
}

fn config(seed: u64, few: u32, times: u64) -> Config {
    let cases = u64::from(few).saturating_mul(times);
    Config {
        cases: u32::try_from(cases).unwrap_or(u32::MAX),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;

    fn drawn(config: Config) -> Vec<u64> {
        let mut runner = TestRunner::new(config);
        let draw = |_| any::<u64>().new_tree(&mut runner).unwrap().current();
        (0..5).map(draw).collect()
    }

    #[test]
    fn a_seed_draws_the_same_cases_each_time_and_another_others() {
        assert_eq!(drawn(config(7, 10, 1)), drawn(config(7, 10, 1)));
        assert_ne!(drawn(config(7, 10, 1)), drawn(config(8, 10, 1)));
    }

    #[test]
    fn cases_are_few_or_times_as_many_and_leave_no_file() {
        assert_eq!(config(0, 12, 1).cases, 12);
        assert_eq!(config(0, 12, 20).cases, 240);
        assert_eq!(config(0, 12, u64::MAX).cases, u32::MAX);
        assert!(config(0, 12, 1).failure_persistence.is_none());
    }

    #[test]
    fn seeds_follow_the_first() {
        assert_eq!(range(0, 6), 0..6);
        assert_eq!(range(90, 3), 90..93);
        assert_eq!(range(u64::MAX, 3), u64::MAX - 3..u64::MAX);
    }

    #[test]
    #[should_panic(expected = "CHORD_SEED is \"fresh\"")]
    fn what_is_no_number_is_not_taken_for_one() {
        number(SEED, "fresh");
    }
}
