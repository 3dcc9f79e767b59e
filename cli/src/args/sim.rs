//! What can be typed after `chord sim ring`.

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};

/// What memory has room for: a look-up's figures are kept to its run's end.
const MOST_LOOKUPS: i64 = 10_000_000;
/// As many virtual nodes as a machine can simulate.
const MOST_VNODES: u64 = 4_000_000;
/// How likely it may be that an experiment kills everybody.
const MOST_CHANCE_OF_NOBODY: f64 = 0.01;

/// How many hops a look-up takes, or one of the experiments.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SimRing {
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub nodes: u32,
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=MOST_LOOKUPS))]
    pub lookups: u32,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(subcommand)]
    pub what: Option<Experiment>,
}

#[derive(Debug, Subcommand)]
pub enum Experiment {
    /// Path length against the number of nodes
    Paths(Paths),
    /// Look-ups after a share of the nodes died at once, before and after the repair
    Crash(Crash),
    /// Look-ups while nodes join and leave all the time
    Churn(Churn),
    /// How long it takes half a ring to join the other half
    Join(Join),
    /// What the ring's upkeep sends, when nothing happens and when much does
    Upkeep(Upkeep),
    /// Hops of a node that has the view, beside those by the ring alone
    View(View),
    /// A script of faults: a partition that heals, racks lost, a mass failure
    Faults(Faults),
    /// How fast the core and the simulator are on this machine
    Pace(Pace),
    /// All experiments of docs/ring.md: renews its tables and plots
    Report(Report),
}

/// What all experiments take.
#[derive(Clone, Debug, Args)]
pub struct Common {
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Draws the figures into this file; more than one get numbers
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub struct Paths {
    /// Up to so many nodes, in powers of two from 8
    #[arg(long, default_value_t = 131_072, value_parser = value_parser!(u32).range(8..=1_000_000))]
    pub most: u32,
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=MOST_LOOKUPS))]
    pub lookups: u32,
    /// Rings of each size, with other tokens each; one from 32 768 nodes on
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=1000))]
    pub rings: u32,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Crash {
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u32).range(2..=1_000_000))]
    pub nodes: u32,
    /// r: how many other hosts a successor list reaches
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u32).range(1..=100))]
    pub successors: u32,
    /// Shares that die, in percent
    #[arg(long, value_delimiter = ',', default_value = "0,10,20,30,40,50", value_parser = value_parser!(u32).range(0..=90))]
    pub dead: Vec<u32>,
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=MOST_LOOKUPS))]
    pub lookups: u32,
    /// Runs of each share, with other tokens and other dead
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Churn {
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u32).range(8..=100_000))]
    pub nodes: u32,
    /// Joins a second, and as many crashes
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0.05,0.1,0.15,0.2,0.25,0.3,0.35,0.4",
        allow_negative_numbers = true,
        value_parser = rate
    )]
    pub rates: Vec<f64>,
    /// Look-ups of each run, one a second
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=MOST_LOOKUPS))]
    pub lookups: u32,
    /// Runs of each rate
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Timing: rounds every 30 s and lists of 20, or as a node runs
    #[arg(long, value_enum, default_value = "paper")]
    pub like: Like,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Like {
    Paper,
    Node,
}

#[derive(Clone, Debug, Args)]
pub struct Join {
    /// Numbers of nodes, the new half included
    #[arg(long, value_delimiter = ',', default_value = "8,32,128,512,2048,8192", value_parser = value_parser!(u32).range(2..=100_000))]
    pub nodes: Vec<u32>,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Upkeep {
    /// Rings as NODESxTOKENS
    #[arg(long, value_delimiter = ',', default_value = "3x64,10x64,50x64,100x64,1000x1,10000x1", value_parser = ring)]
    pub rings: Vec<(u32, u32)>,
    /// Virtual seconds
    #[arg(long, default_value_t = 240, value_parser = value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// Joins a second, and as many crashes
    #[arg(long, value_delimiter = ',', default_value = "0.05,0.4", allow_negative_numbers = true, value_parser = rate)]
    pub churn: Vec<f64>,
    /// Nodes of the rings under churn
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u32).range(8..=100_000))]
    pub churn_nodes: u32,
    /// Virtual seconds under churn
    #[arg(long, default_value_t = 1200, value_parser = value_parser!(u32).range(1..=86_400))]
    pub churn_seconds: u32,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct View {
    #[arg(long, value_delimiter = ',', default_value = "8,64,512,4096,32768", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub nodes: Vec<u32>,
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=MOST_LOOKUPS))]
    pub lookups: u32,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Faults {
    #[arg(long, default_value_t = 120, value_parser = value_parser!(u32).range(3..=100_000))]
    pub nodes: u32,
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=256))]
    pub tokens: u32,
    /// Percent of the nodes that are cut off from the others
    #[arg(long, value_name = "PERCENT", value_parser = value_parser!(u32).range(1..=99))]
    pub partition: Option<u32>,
    /// Racks the nodes stand in, and how many of them are lost: 6:2
    #[arg(long, value_name = "RACKS:LOST", value_parser = racks)]
    pub racks: Option<(u32, u32)>,
    /// Percent of the nodes that crash at once
    #[arg(long, value_name = "PERCENT", value_parser = value_parser!(u32).range(1..=99))]
    pub crash: Option<u32>,
    /// Percent of batches that get lost
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = value_parser!(u32).range(0..=90))]
    pub loss: u32,
    /// Percent of batches that arrive twice
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = value_parser!(u32).range(0..=90))]
    pub doubled: u32,
    /// Percent of batches that arrive after their sender has given up
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = value_parser!(u32).range(0..=90))]
    pub late: u32,
    /// Virtual seconds that the faults last; then the partition heals and the
    /// crashed start again
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u32).range(1..=86_400))]
    pub lasts: u32,
    /// Virtual seconds after them
    #[arg(long, default_value_t = 120, value_parser = value_parser!(u32).range(10..=86_400))]
    pub after: u32,
    /// Look-ups a second
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u32).range(1..=1000))]
    pub lookups: u32,
    /// Look-ups make use of the view
    #[arg(long)]
    pub by_view: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Pace {
    #[arg(long, value_delimiter = ',', default_value = "1000,100000", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub nodes: Vec<u32>,
    /// Virtual seconds that are simulated
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Report {
    /// The folder with ring.md, whose tables are renewed between their markers; the
    /// plots go there, too
    #[arg(default_value = "docs")]
    pub dir: PathBuf,
    /// Small sizes, to see whether it works
    #[arg(long)]
    pub short: bool,
    /// Only these experiments, such as churn,join
    #[arg(long, value_delimiter = ',', value_name = "EXPERIMENT")]
    pub only: Vec<String>,
}

fn ring(text: &str) -> Result<(u32, u32), String> {
    let (nodes, tokens) =
        pair(text, 'x').ok_or("a ring is NODESxTOKENS, such as 10x64; each from 1 to 100000")?;
    not_too_large(nodes, tokens)?;
    Ok((nodes, tokens))
}

fn not_too_large(nodes: u32, tokens: u32) -> Result<(), String> {
    let all = u64::from(nodes) * u64::from(tokens);
    if all > MOST_VNODES {
        return Err(format!(
            "{nodes} nodes of {tokens} tokens are {all} virtual nodes, and a ring can have {MOST_VNODES} here: take fewer of either"
        ));
    }
    Ok(())
}

/// Events a second. Rarer ones than the least would not be seen in any run, and the
/// time to the next would leave the range of the virtual clock.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(0.0),
        Ok(rate) if (0.000_001..=100.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number a second: 0, or from 0.000001 to 100".to_string()),
    }
}

fn racks(text: &str) -> Result<(u32, u32), String> {
    pair(text, ':')
        .filter(|(of, lost)| lost < of)
        .ok_or_else(|| "RACKS:LOST, such as 6:2; not all can be lost".to_string())
}

fn pair(text: &str, between: char) -> Option<(u32, u32)> {
    let (one, other) = text.split_once(between)?;
    let number = |text: &str| text.parse().ok().filter(|n| (1..=100_000).contains(n));
    Some((number(one)?, number(other)?))
}

/// The seeds of so many runs, from the first on; past the last comes 0.
pub fn seeds(first: u64, runs: u32) -> impl Iterator<Item = u64> + Clone {
    (0..u64::from(runs)).map(move |run| first.wrapping_add(run))
}

/// When the faults begin, in virtual seconds.
pub const FAULTS_AT: u64 = 20;

impl Experiment {
    /// What no argument can be wrong about alone.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Experiment::Crash(a) => a.check(),
            Experiment::Faults(a) => a.check(),
            _ => Ok(()),
        }
    }
}

impl Crash {
    fn check(&self) -> Result<(), String> {
        let mut all = self.dead.iter();
        all.try_for_each(|dead| survivors(self.nodes, *dead, "--dead"))
    }
}

impl Faults {
    fn check(&self) -> Result<(), String> {
        let nodes = self.nodes;
        not_too_large(nodes, self.tokens)?;
        let seconds = FAULTS_AT + u64::from(self.lasts) + u64::from(self.after);
        let lookups = u64::from(self.lookups) * seconds;
        if lookups > MOST_LOOKUPS as u64 {
            return Err(format!(
                "--lookups {} in each of {seconds} virtual seconds are {lookups}, and {MOST_LOOKUPS} can be made: take fewer, or a shorter time (--lasts, --after)",
                self.lookups
            ));
        }
        if let Some(percent) = self.partition
            && self.cut_off() == 0
        {
            return Err(format!(
                "--partition {percent} of {nodes} nodes cuts off nobody: {} % is one node",
                100_u32.div_ceil(nodes)
            ));
        }
        let mut left = nodes;
        if let Some((of, lost)) = self.racks {
            if of > nodes {
                return Err(format!(
                    "--racks {of}:{lost}: {nodes} nodes cannot stand in {of} racks; at most as many racks as nodes"
                ));
            }
            left = (0..nodes).filter(|n| n % of >= lost).count() as u32;
        }
        self.crash
            .map_or(Ok(()), |percent| survivors(left, percent, "--crash"))
    }

    /// How many nodes a partition cuts off, as the simulator counts them.
    fn cut_off(&self) -> u32 {
        let share = f64::from(self.partition.unwrap_or(0)) / 100.0;
        (f64::from(self.nodes) * share) as u32
    }
}

/// Each of `nodes` dies by itself with this chance: that all do must not be likely,
/// for a ring without members has nothing to show.
fn survivors(nodes: u32, percent: u32, option: &str) -> Result<(), String> {
    let nobody = (f64::from(percent) / 100.0).powf(f64::from(nodes));
    if nobody > MOST_CHANCE_OF_NOBODY {
        return Err(format!(
            "{option} {percent} of {nodes} nodes leaves nobody in one run of {:.0}: take more nodes, or a smaller share",
            1.0 / nobody
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    struct Typed {
        #[command(flatten)]
        ring: SimRing,
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

    #[test]
    fn seeds_go_on_past_the_last() {
        let all: Vec<u64> = seeds(u64::MAX - 1, 4).collect();
        assert_eq!(all, [u64::MAX - 1, u64::MAX, 0, 1]);
    }
}
