//! `make bench`: what a user's bytes cost, beside what the machine allows.
//!
//! It starts a cluster under `chord up` on the disk that `target/` is on, measures
//! it in rounds with the yardsticks between ([`phases`]), and adds a line for each
//! figure to `target/bench/figures.jsonl`. Everything is on one machine: client and
//! servers share its processors, and three nodes one disk.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use chord_e2e::bench::client::Source;
use chord_e2e::bench::cluster::Cluster;
use chord_e2e::bench::figures::Figures;
use chord_e2e::bench::loads::Extent;
use chord_e2e::bench::phases::Bench;
use chord_e2e::bench::record::{self, CLUSTER};
use chord_e2e::bench::{threshold, yardsticks};
use clap::{Parser, Subcommand};
use serde_json::json;

/// Measures a cluster on this machine.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Sub>,
    /// How often everything is measured; a figure is the median.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One small round, to see that it works; its figures go to figures-short.jsonl.
    #[arg(long)]
    short: bool,
    /// Which part: data, threshold or all.
    #[arg(long, default_value = "all", value_parser = ["all", "data", "threshold"])]
    only: String,
}

#[derive(Subcommand)]
enum Sub {
    /// Serves a folder, as the yardstick for reads (the bench starts it by itself).
    #[command(hide = true)]
    FileServer { dir: PathBuf },
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        Some(Sub::FileServer { dir }) => yardsticks::serve(dir.clone()).await,
        None => record::unless_ended(bench(&args)).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("chord-bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(args: &Args) -> Result<()> {
    let extent = record::extent(args.rounds, args.short)?;
    println!("{}", machine());
    record::recorded(
        args.short,
        async |work, figures| measure(args, extent, work, figures).await,
        Figures::table,
    )
    .await
}

async fn measure(args: &Args, extent: Extent, work: &Path, figures: &mut Figures) -> Result<()> {
    let source = Source::default();
    if args.only != "threshold" {
        let spec = json!({
            "nodes": 3,
            "replication": 3,
            "storage": {"size": "8Gi"},
            "durability": "Durable",
        });
        let cluster = Cluster::start(&work.join(CLUSTER), &spec, 3).await?;
        let result = match Bench::new(&cluster, work, &source, extent) {
            Ok(bench) => bench.run(figures).await,
            Err(e) => Err(e),
        };
        let stopped = cluster.stop().await;
        result.and(stopped)?;
    }
    if args.only != "data" {
        for round in 0..extent.rounds {
            eprintln!("threshold, round {} of {}", round + 1, extent.rounds);
            let beside = work.join(CLUSTER);
            if let Err(e) = std::fs::remove_dir_all(&beside)
                && e.kind() != std::io::ErrorKind::NotFound
            {
                bail!("removing {}: {e}", beside.display());
            }
            threshold::run(&beside, &source, figures)
                .await
                .context("the threshold")?;
        }
    }
    Ok(())
}

/// What one must know to read the figures.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = record::busy().map_or(String::new(), |load| format!("; load before: {load}"));
    format!(
        "client, three nodes, operator and file server share {cores} processors, and three copies one disk{load}\n\
         client: HTTP/1.1 kept alive, to the nodes' own ports in turn; all bytes read are compared; MB are 10^6 bytes\n\
         file server: hyper, 256 KiB at a time from the page cache, without sendfile\n\
         limit of writes: files of 4 MiB, three times, each synced and its folder too, by 4 and by\n\
         12 threads, the better of the two; appends: 4 KiB and fdatasync"
    )
}
