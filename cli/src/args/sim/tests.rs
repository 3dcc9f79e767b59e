//! Which numbers experiments take, and how the others are refused.

use clap::Parser;

use super::ring::SimRingArgs;
use super::values::rate;

#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Typed {
    #[command(flatten)]
    ring: SimRingArgs,
}

/// What is wrong with the words after `chord sim ring`, if anything.
fn wrong(words: &str) -> Option<String> {
    match Typed::try_parse_from(words.split_whitespace()) {
        Err(error) => Some(error.to_string()),
        Ok(typed) => typed.ring.what.and_then(|what| what.check().err()),
    }
}

#[test]
fn numbers_that_no_experiment_can_take_are_refused_with_the_bounds() {
    for (words, said) in [
        ("churn --rates nan", "from 0.000001 to 100"),
        ("churn --rates inf", "from 0.000001 to 100"),
        ("churn --rates 1e9", "from 0.000001 to 100"),
        ("churn --rates -1", "from 0.000001 to 100"),
        ("churn --rates=-1", "from 0.000001 to 100"),
        ("churn --rates 0.1,100.1", "from 0.000001 to 100"),
        ("churn --rates 1e-300", "from 0.000001 to 100"),
        ("churn --rates 0.1,,0.2", "from 0.000001 to 100"),
        ("upkeep --churn nan", "from 0.000001 to 100"),
        ("upkeep --churn -0.1", "from 0.000001 to 100"),
        ("upkeep --rings 100000x100000", "10000000000 virtual nodes"),
        ("upkeep --rings 0x1", "NODESxTOKENS"),
        ("upkeep --rings 3x-1", "NODESxTOKENS"),
        (
            "faults --nodes 100000 --tokens 256",
            "25600000 virtual nodes",
        ),
        (
            "faults --nodes 3 --racks 6:5",
            "3 nodes cannot stand in 6 racks",
        ),
        ("faults --racks 6:6", "not all can be lost"),
        ("faults --racks 6:0", "RACKS:LOST"),
        ("faults --nodes 3 --partition 1", "34 % is one node"),
        ("faults --nodes 3 --partition 33", "34 % is one node"),
        ("faults --nodes 3 --crash 99", "leaves nobody"),
        ("faults --nodes 12 --racks 6:5 --crash 50", "leaves nobody"),
        (
            "faults --lookups 1000 --lasts 86400",
            "86540 virtual seconds",
        ),
        ("crash --nodes 2 --dead 90", "leaves nobody"),
        ("crash --dead 91", "0..=90"),
        ("paths --lookups 4294967295", "10000000"),
        ("paths --lookups 0", "1..=10000000"),
        ("--nodes 0", "1..=1000000"),
        ("--lookups 99999999", "1..=10000000"),
    ] {
        let error = wrong(words).unwrap_or_else(|| panic!("{words} is taken"));
        assert!(error.contains(said), "{words}: {error}");
    }
}

#[test]
fn numbers_at_the_bounds_are_taken() {
    for words in [
        "churn --rates 0,0.000001,100",
        "churn --rates -0",
        "upkeep --rings 100000x40,1x100000 --churn 0",
        "faults --nodes 3 --partition 34",
        "faults --nodes 3 --partition 99",
        "faults --nodes 6 --racks 6:5",
        "faults --nodes 100 --crash 95",
        "crash --nodes 3 --dead 0,10",
        "paths --lookups 10000000 --seed 18446744073709551615",
    ] {
        assert_eq!(wrong(words), None, "{words}");
    }
    // A sign that says nothing must not be shown.
    assert_eq!(rate("-0").map(|r| r.to_string()), Ok("0".to_string()));
}

/// The least share that the message advises is one that is taken.
#[test]
fn the_share_advised_for_a_partition_is_enough() {
    for nodes in 3..200 {
        let advised = format!(
            "faults --nodes {nodes} --partition {}",
            100_u32.div_ceil(nodes)
        );
        assert_eq!(wrong(&advised), None, "{advised}");
    }
}
