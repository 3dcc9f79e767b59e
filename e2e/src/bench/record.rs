//! What every bench does around its measurements: a folder to work in, logs kept
//! where something failed, figures appended and shown.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::signal::unix::{SignalKind, signal};

use crate::program::repo;

use super::cluster::keep_logs;
use super::figures::Figures;
use super::loads::Extent;

/// Rounds at most: every round leaves 1.5 GiB on three disks of 8 GiB.
const MOST_ROUNDS: usize = 10;
/// The folder of chord in the folder to work in.
pub const CLUSTER: &str = "cluster";
/// The folder of the peer in the folder to work in.
pub const PEER: &str = "peer";

/// How much is done.
pub fn extent(rounds: usize, short: bool) -> Result<Extent> {
    ensure!(
        (1..=MOST_ROUNDS).contains(&rounds),
        "--rounds is 1 to {MOST_ROUNDS}"
    );
    Ok(if short {
        Extent::short()
    } else {
        Extent::long(rounds)
    })
}

/// Measures in a folder below `target/bench`, which is then removed; appends the
/// figures and shows them, those too that came before something failed.
pub async fn recorded(
    short: bool,
    measure: impl AsyncFnOnce(&Path, &mut Figures) -> Result<()>,
    table: impl FnOnce(&Figures) -> String,
) -> Result<()> {
    let home = repo().join("target/bench");
    std::fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
    let work = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(&home)
        .context("making a folder to work in")?;
    let mut figures = Figures::default();
    let measured = measure(work.path(), &mut figures).await;
    if measured.is_err() {
        let to = home.join("failed");
        let kept = [CLUSTER, PEER].map(|store| keep_logs(&work.path().join(store), &to));
        match kept.into_iter().find_map(Result::err) {
            None => eprintln!("the logs are in {}", to.display()),
            Some(e) => eprintln!("the logs could not be kept: {e}"),
        }
    }
    let to = home.join(if short {
        "figures-short.jsonl"
    } else {
        "figures.jsonl"
    });
    figures.append(&to)?;
    println!("{}", table(&figures));
    println!("added to {}", to.display());
    measured
}

/// Runs a bench until it is done or somebody ends it; then what it has started ends
/// with it, as nothing would by a signal that just kills.
pub async fn unless_ended(bench: impl Future<Output = Result<()>>) -> Result<()> {
    let mut terminated =
        signal(SignalKind::terminate()).context("listening for the signal to end")?;
    tokio::select! {
        done = bench => done,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("ended by hand")),
        _ = terminated.recv() => Err(anyhow!("told to end")),
    }
}

/// How busy the machine has been in the last minute, where the system tells.
pub fn busy() -> Option<String> {
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    Some(load.split(' ').next()?.to_string())
}
