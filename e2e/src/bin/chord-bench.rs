//! `make bench`: what a user's bytes cost, beside what the machine allows.
//!
//! It starts a cluster under `chord up` on the disk that `target/` is on, measures
//! it in rounds with the yardsticks between ([`phases`]), and adds a line for each
//! figure to `target/bench/figures.jsonl`. Everything is on one machine: client and
//! servers share its processors, and three nodes one disk.

#[path = "../bench/client.rs"]
mod client;
#[path = "../bench/cluster.rs"]
mod cluster;
#[path = "../bench/figures.rs"]
mod figures;
#[path = "../bench/phases.rs"]
mod phases;
#[path = "../bench/threshold.rs"]
mod threshold;
#[path = "../bench/yardsticks.rs"]
mod yardsticks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use chord_e2e::program::repo;
use clap::{Parser, Subcommand};
use serde_json::json;

use client::Source;
use cluster::{Cluster, keep_logs};
use figures::Figures;
use phases::{Bench, Extent};

/// Rounds at most: every round leaves 1.5 GiB on three disks of 8 GiB.
const MOST_ROUNDS: usize = 10;

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
        None => {
            tokio::select! {
                done = bench(&args) => done,
                _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("ended by hand")),
            }
        }
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
    ensure!(
        (1..=MOST_ROUNDS).contains(&args.rounds),
        "--rounds is 1 to {MOST_ROUNDS}"
    );
    let extent = if args.short {
        Extent::short()
    } else {
        Extent::long(args.rounds)
    };
    let home = repo().join("target/bench");
    std::fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
    let work = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(&home)
        .context("making a folder to work in")?;
    let mut figures = Figures::default();
    println!("{}", machine());
    let measured = measure(args, extent, work.path(), &mut figures).await;
    if measured.is_err() {
        let to = home.join("failed");
        match keep_logs(&work.path().join("cluster"), &to) {
            Ok(()) => eprintln!("the logs are in {}", to.display()),
            Err(e) => eprintln!("the logs could not be kept: {e}"),
        }
    }
    // What was measured before something failed was measured all the same.
    let to = home.join(if args.short {
        "figures-short.jsonl"
    } else {
        "figures.jsonl"
    });
    figures.append(&to)?;
    println!("{}", figures.table());
    println!("added to {}", to.display());
    measured
}

async fn measure(args: &Args, extent: Extent, work: &Path, figures: &mut Figures) -> Result<()> {
    let source = Source::new();
    if args.only != "threshold" {
        let spec = json!({
            "nodes": 3,
            "replication": 3,
            "storage": {"size": "8Gi"},
            "durability": "Durable",
        });
        let cluster = Cluster::start(&work.join("cluster"), &spec, 3).await?;
        let bench = Bench {
            cluster: &cluster,
            dir: work,
            source: source.clone(),
            extent,
        };
        let result = bench.run(figures).await;
        let stopped = cluster.stop().await;
        result.and(stopped)?;
    }
    if args.only != "data" {
        for round in 0..extent.rounds {
            eprintln!("threshold, round {} of {}", round + 1, extent.rounds);
            let beside = work.join("cluster");
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
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load
        .split(' ')
        .next()
        .filter(|l| !l.is_empty())
        .map_or(String::new(), |l| format!("; load before: {l}"));
    format!(
        "client, three nodes, operator and file server share {cores} processors, and three copies one disk{load}\n\
         client: HTTP/1.1 kept alive, to the nodes' own ports in turn; all bytes read are compared; MB are 10^6 bytes\n\
         file server: hyper, 256 KiB at a time from the page cache, without sendfile\n\
         limit of writes: files of 4 MiB, three times, each synced and its folder too, by 4 and by\n\
         12 threads, the better of the two; appends: 4 KiB and fdatasync"
    )
}
