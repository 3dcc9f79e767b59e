//! What can be typed after `chord sim ring`.

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};

use super::values::{MOST_LOOKUPS, racks, rate, ring_size};

/// How many hops a look-up takes, or one of the experiments.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SimRingArgs {
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
    Paths(PathsArgs),
    /// Look-ups after a share of the nodes died at once, before and after the repair
    Crash(CrashArgs),
    /// Look-ups while nodes join and leave all the time
    Churn(ChurnArgs),
    /// How long it takes half a ring to join the other half
    Join(JoinArgs),
    /// What the ring's upkeep sends, when nothing happens and when much does
    Upkeep(UpkeepArgs),
    /// Hops of a node that has the view, beside those by the ring alone
    View(ViewArgs),
    /// A script of faults: a partition that heals, racks lost, a mass failure
    Faults(FaultsArgs),
    /// How fast the core and the simulator are on this machine
    Pace(PaceArgs),
    /// All experiments of docs/ring.md: renews its tables and plots
    Report(ReportArgs),
}

/// What all experiments take.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Draws the figures into this file; more than one get numbers
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub struct PathsArgs {
    /// Up to so many nodes, in powers of two from 8
    #[arg(long, default_value_t = 131_072, value_parser = value_parser!(u32).range(8..=1_000_000))]
    pub most: u32,
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=MOST_LOOKUPS))]
    pub lookups: u32,
    /// Rings of each size, with other tokens each; one from 32 768 nodes on
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=1000))]
    pub rings: u32,
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Clone, Debug, Args)]
pub struct CrashArgs {
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
    pub common: CommonArgs,
}

#[derive(Clone, Debug, Args)]
pub struct ChurnArgs {
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
    pub like: Timing,
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Timing {
    Paper,
    Node,
}

#[derive(Clone, Debug, Args)]
pub struct JoinArgs {
    /// Numbers of nodes, the new half included
    #[arg(long, value_delimiter = ',', default_value = "8,32,128,512,2048,8192", value_parser = value_parser!(u32).range(2..=100_000))]
    pub nodes: Vec<u32>,
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Clone, Debug, Args)]
pub struct UpkeepArgs {
    /// Rings as NODESxTOKENS
    #[arg(long, value_delimiter = ',', default_value = "3x64,10x64,50x64,100x64,1000x1,10000x1", value_parser = ring_size)]
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
    pub common: CommonArgs,
}

#[derive(Clone, Debug, Args)]
pub struct ViewArgs {
    #[arg(long, value_delimiter = ',', default_value = "8,64,512,4096,32768", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub nodes: Vec<u32>,
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=MOST_LOOKUPS))]
    pub lookups: u32,
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Clone, Debug, Args)]
pub struct FaultsArgs {
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
    pub common: CommonArgs,
}

#[derive(Clone, Debug, Args)]
pub struct PaceArgs {
    #[arg(long, value_delimiter = ',', default_value = "1000,100000", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub nodes: Vec<u32>,
    /// Virtual seconds that are simulated
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// The folder with ring.md, whose tables are renewed between their markers; the
    /// plots go into its folder figures
    #[arg(default_value = "docs")]
    pub dir: PathBuf,
    /// Small sizes, to see whether it works
    #[arg(long)]
    pub short: bool,
    /// Only these experiments, such as churn,join
    #[arg(long, value_delimiter = ',', value_name = "EXPERIMENT")]
    pub only: Vec<String>,
}
