//! Running the suites one after the other.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use chord_api::human;
use clap::{Args, Parser, Subcommand};

use crate::program::repo;
use crate::stage::Stage;
use crate::stage::kube::{Access, Kube, operator, release};
use crate::stage::local::Local;
use crate::suite::{Ctx, Place, Suite};
use crate::suites::ALL;
use crate::tally::{Cases, Reported, Tally, print_line};
use crate::traffic::content::mix;
use crate::wait::PATIENCE;

/// Runs whole clusters and looks at them from outside.
#[derive(Debug, Parser)]
#[command(name = "chord-e2e", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run suites
    Run(Run),
    /// Name the suites
    List,
}

#[derive(Debug, Args)]
struct Run {
    /// Where: processes on this machine, or a Kubernetes
    #[arg(long, value_enum)]
    on: Place,
    /// Just these suites
    #[arg(long, value_delimiter = ',', value_name = "SUITE")]
    only: Vec<String>,
    /// Tag of the images under test
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    image_tag: String,
    /// Append the counts to this file
    #[arg(long, value_name = "FILE")]
    tally: Option<PathBuf>,
    /// What the contents of files are made from
    #[arg(long, env = "CHORD_SEED", default_value_t = 0)]
    seed: u64,
}

/// Whether everything passed.
pub async fn main(cli: Cli) -> Result<bool> {
    match cli.command {
        Command::List => {
            for suite in ALL {
                let on: Vec<&str> = suite.on.iter().map(|p| p.name()).collect();
                print_line(&format!(
                    "{:<18} {:<12} {}",
                    suite.name,
                    on.join(","),
                    suite.about
                ));
            }
            Ok(true)
        }
        Command::Run(run) => {
            let tally = tokio::select! {
                tally = run_stage(&run) => tally?,
                _ = tokio::signal::ctrl_c() => bail!("interrupted: what runs on Kubernetes may be left there"),
            };
            if let Some(path) = &run.tally {
                tally.append(path)?;
            }
            print_line(&tally.to_string());
            Ok(tally.failed == 0)
        }
    }
}

async fn run_stage(run: &Run) -> Result<Tally> {
    for name in &run.only {
        ensure!(
            ALL.iter().any(|s| s.name == name),
            "there is no suite {name}: `chord-e2e list` names them"
        );
    }
    let suites: Vec<&Suite> = ALL
        .iter()
        .filter(|s| s.on.contains(&run.on))
        .filter(|s| run.only.is_empty() || run.only.iter().any(|name| name == s.name))
        .collect();
    let seed = run.seed;
    print_line(&format!("   contents are made from --seed {seed}"));
    let mut total = Tally::default();
    match run.on {
        Place::Local => {
            let stage = Stage::Local(Arc::new(Local::new()?));
            run_suites(&suites, &stage, seed, &mut total).await?;
        }
        Place::Kube => {
            if let Err(why) = Access::find() {
                return skip_all(&suites, &format!("{why:#}"));
            }
            let kube = Arc::new(Kube::connect(&run.image_tag).await?);
            // Two runs would share one operator, and the first to end takes it away.
            let _alone = lock_context(&kube.access.context)?;
            release::check_free(&kube).await?;
            let begun = Instant::now();
            let installed = release::install(&kube).await;
            let result = match installed {
                Ok(()) => {
                    print_line(&format!(
                        "   the operator is installed ({})",
                        human::span(begun.elapsed())
                    ));
                    run_suites(&suites, &Stage::Kube(Arc::clone(&kube)), seed, &mut total).await
                }
                Err(e) => {
                    operator::keep_logs(&kube.client, &log_folder("install")).await;
                    Err(e)
                }
            };
            if let Err(e) = release::uninstall(&kube).await {
                print_line(&format!("   the operator could not be taken away: {e:#}"));
            }
            result?;
        }
    }
    Ok(total)
}

/// Held while a run is at work on a cluster.
fn lock_context(context: &str) -> Result<File> {
    let folder = repo().join("target/e2e");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let name: String = context
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let path = folder.join(format!("kube-{name}.lock"));
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let lock = lock.with_context(|| format!("opening {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another run is at work on the cluster of the context {context}: wait until it has ended"
            )
        }
        Err(TryLockError::Error(e)) => {
            Err(e).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// Where there is no cluster the suites are skipped, which on CI is a failure.
fn skip_all(suites: &[&Suite], why: &str) -> Result<Tally> {
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    let mut total = Tally::default();
    for suite in suites {
        let cases = Cases::new(&format!("kube/{}", suite.name));
        if ci {
            cases.failed("all of it", why)
        } else {
            cases.skipped("all of it", why)
        }
        total.add(cases.tally());
    }
    Ok(total)
}

/// Where the logs of a failed suite are kept.
fn log_folder(suite: &str) -> PathBuf {
    repo().join("target/e2e").join(suite)
}

async fn run_suites(suites: &[&Suite], stage: &Stage, seed: u64, total: &mut Tally) -> Result<()> {
    for suite in suites {
        let begun = Instant::now();
        let tally = run_suite(suite, stage, seed).await?;
        total.add(tally);
        print_line(&format!(
            "   {}/{}: {tally} in {}",
            stage.name(),
            suite.name,
            human::span(begun.elapsed())
        ));
    }
    Ok(())
}

/// Runs a suite. Whatever becomes of it, the next one finds a clean place.
async fn run_suite(suite: &Suite, stage: &Stage, seed: u64) -> Result<Tally> {
    let shown = format!("{}/{}", stage.name(), suite.name);
    let folder = log_folder(&format!("{}-{}", stage.name(), suite.name));
    let _ = std::fs::remove_dir_all(&folder);
    let cases = Cases::new(&shown);
    let seed = suite
        .name
        .bytes()
        .fold(seed, |state, byte| mix(state ^ u64::from(byte)));
    let ctx = Ctx {
        stage: stage.clone(),
        cases: cases.clone(),
        seed,
    };
    let limit = Duration::from_secs(suite.limit) * PATIENCE;
    // A task of its own, so that a panic ends it alone.
    let mut task = tokio::task::spawn_local((suite.run)(ctx));
    match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(e))) if e.is::<Reported>() => {}
        Ok(Ok(Err(e))) => cases.failed("beside its cases", &format!("{e:#}")),
        Ok(Err(e)) => cases.failed("beside its cases", &format!("it panicked: {e}")),
        Err(_) => {
            task.abort();
            let _ = task.await;
            cases.failed(
                "beside its cases",
                &format!("it has not ended after {}", human::span(limit)),
            );
        }
    }
    let keep = (cases.tally().failed > 0).then_some(folder.as_path());
    if let Err(e) = stage.clear(keep).await {
        cases.failed("cleaning up", &format!("{e:#}"));
    }
    if cases.tally().failed > 0 {
        let path = folder.strip_prefix(repo()).unwrap_or(&folder);
        print_line(&format!("   {shown}: logs are in {}", path.display()));
    }
    let tally = cases.tally();
    ensure!(
        tally != Tally::default(),
        "the suite {shown} has run no case"
    );
    Ok(tally)
}

impl Run {
    #[cfg(test)]
    fn parsed(line: &[&str]) -> Result<Run> {
        match Cli::try_parse_from(line)?.command {
            Command::Run(run) => Ok(run),
            Command::List => bail!("list"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_chosen_by_their_names() {
        let run = Run::parsed(&[
            "chord-e2e",
            "run",
            "--on",
            "local",
            "--only",
            "chunks,faults",
        ])
        .unwrap();
        assert_eq!(run.only, ["chunks", "faults"]);
        assert_eq!(run.on, Place::Local);
    }

    #[test]
    fn only_one_run_works_on_a_cluster() {
        let context = format!("test/{}", std::process::id());
        let first = lock_context(&context).unwrap();
        assert!(
            lock_context(&context)
                .unwrap_err()
                .to_string()
                .contains("another run")
        );
        drop(first);
        drop(lock_context(&context).unwrap());
        let name = format!("target/e2e/kube-test-{}.lock", std::process::id());
        std::fs::remove_file(repo().join(name)).unwrap();
    }

    #[tokio::test]
    async fn a_suite_that_is_none_is_named() {
        let run = Run::parsed(&["chord-e2e", "run", "--on", "local", "--only", "nothing"]).unwrap();
        assert!(
            run_stage(&run)
                .await
                .unwrap_err()
                .to_string()
                .contains("nothing")
        );
    }
}
