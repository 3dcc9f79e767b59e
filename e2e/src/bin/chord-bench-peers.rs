//! `make bench-peers`: chord beside another store, in one run on this machine.
//!
//! Three nodes of each on loopback and on the disk that `target/` is on, in turns; a
//! line for each figure and for each ratio goes to `target/bench/figures.jsonl`. The
//! peer is Garage, which `scripts/bench-peers.sh` installs.

use std::process::ExitCode;

use anyhow::Result;
use chord_e2e::bench::{garage, peers, record};
use clap::Parser;

/// Measures chord beside a peer on this machine.
#[derive(Parser)]
struct Args {
    /// How often everything is measured; a figure is the median.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One small round, to see that it works; its figures go to figures-short.jsonl.
    #[arg(long)]
    short: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match record::unless_ended(bench(&args)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("chord-bench-peers: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(args: &Args) -> Result<()> {
    let extent = record::extent(args.rounds, args.short)?;
    // Asked first: without a peer there is nothing to compare with.
    println!("{}", conditions(&garage::version().await?));
    record::recorded(
        args.short,
        async |work, figures| peers::run(work, extent, figures).await,
        peers::table,
    )
    .await
}

/// What one must know to read the figures.
fn conditions(garage: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = record::busy().map_or(String::new(), |load| format!("; load before: {load}"));
    format!(
        "client and three nodes share {cores} processors, and three copies one disk; one store runs\n\
         at a time{load}\n\
         peer: {garage}; as its crate is built and configured by default, three copies; synced:\n\
         metadata_fsync and data_fsync, so that an answer promises what chord's does\n\
         client: HTTP/1.1 kept alive, to the nodes in turn; requests to the peer are signed before\n\
         the clock is started; all bytes read are compared; MB are 10^6 bytes"
    )
}
