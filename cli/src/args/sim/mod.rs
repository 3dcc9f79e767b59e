//! What can be typed after `chord sim`.

mod check;
mod ring;
#[cfg(test)]
mod tests;
mod values;

use clap::{Args, Subcommand};

pub use self::check::FAULTS_AT;
pub use self::ring::{
    ChurnArgs, CrashArgs, Experiment, FaultsArgs, JoinArgs, PaceArgs, PathsArgs, ReportArgs,
    SimRingArgs, Timing, UpkeepArgs, ViewArgs,
};
use self::values::weight;

#[derive(Debug, Args)]
pub struct SimArgs {
    #[command(subcommand)]
    pub simulator: Simulator,
}

#[derive(Debug, Subcommand)]
pub enum Simulator {
    /// How even assigned tokens are, and how little a change moves
    Placement(PlacementArgs),
    /// How many hops a look-up takes, and what the ring bears
    Ring(SimRingArgs),
}

#[derive(Debug, Args)]
pub struct PlacementArgs {
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub nodes: u32,
    /// Spread the nodes over so many zones, in turn (0: without zones)
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub zones: u32,
    /// Weights of the nodes, in turn: 1,1,2 makes every third twice as large
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = weight)]
    pub weights: Vec<f64>,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub tokens: u32,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub replication: u8,
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub keys: u64,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}
