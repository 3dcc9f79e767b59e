//! `chord-operator`: the operator for Kubernetes, and its helpers.

use std::io::{IsTerminal, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chord_api::causes::innermost;
use chord_api::client::builder;
use chord_api::host::Descriptors;
use chord_api::retry::{self, Retryable as _};
use chord_operator::clock::Clock;
use chord_operator::crd::schema;
use chord_operator::kube::{self, Options};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// How long one try of a probe may take.
const ONE_PROBE: Duration = Duration::from_secs(5);

/// Runs and resizes chord clusters.
#[derive(Parser)]
#[command(name = "chord-operator", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator (the default).
    Run(Box<Run>),
    /// Print the CustomResourceDefinition.
    Crd {
        /// Write the files of the repository that are made from it, from its root.
        #[arg(long)]
        write: bool,
    },
    /// Run a ChordCluster as processes on this machine, out of a folder that
    /// `chord up` has prepared.
    Local {
        /// The folder.
        #[arg(long)]
        dir: PathBuf,
        /// Stop when standard input ends: the parent holds it open.
        #[arg(long)]
        exit_with_stdin: bool,
    },
    /// Ask a URL and end well if it answers 200.
    Probe {
        /// The URL.
        url: String,
        /// How long to go on trying, in seconds.
        #[arg(long, default_value_t = 30)]
        within: u64,
    },
}

#[derive(Args)]
struct Run {
    /// A namespace whose clusters are run; can be given several times. Default: all.
    #[arg(
        long = "watch-namespace",
        env = "WATCH_NAMESPACES",
        value_delimiter = ','
    )]
    watch_namespaces: Vec<String>,
    /// The image of nodes whose spec names none.
    #[arg(long, env = "NODE_IMAGE", default_value = concat!("docker.io/chord/chord-node:", env!("CARGO_PKG_VERSION")))]
    node_image: String,
    /// Where probes and metrics are served.
    #[arg(long, env = "METRICS_LISTEN", default_value = "[::]:8082")]
    metrics_listen: SocketAddr,
    /// Work only as the holder of a Lease, so that several operators may run.
    #[arg(long, env = "LEADER_ELECT", num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// The name of the Lease: operators that share one take turns.
    #[arg(long, env = "LEASE_NAME", default_value = "chord-operator")]
    lease_name: String,
    /// The form of the log.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// The operator's own pod.
    #[arg(long, env = "POD_NAME")]
    pod_name: Option<String>,
    /// The namespace that the operator runs in.
    #[arg(long, env = "POD_NAMESPACE")]
    pod_namespace: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    Descriptors::raise();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // Where it is said may be on a full disk.
            let _ = writeln!(std::io::stderr(), "chord-operator: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let command = cli
        .command
        .unwrap_or_else(|| Command::Run(Box::new(cli.run)));
    let format = match &command {
        Command::Run(run) => run.log_format,
        _ => LogFormat::Text,
    };
    log(format);
    if let Command::Crd { write } = command {
        return crd(write);
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(async {
            match command {
                Command::Run(run) => operator(*run).await,
                Command::Local {
                    dir,
                    exit_with_stdin,
                } => local(dir, exit_with_stdin).await,
                Command::Probe { url, within } => probe(&url, Duration::from_secs(within)).await,
                Command::Crd { .. } => Ok(()),
            }
        })
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("info,kube_lease_manager=warn,kube_client=warn,kube_runtime=warn")
    });
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be told on standard error as well, and panic where that is full.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

fn crd(write: bool) -> anyhow::Result<()> {
    if !write {
        print!("{}", schema::definition_yaml()?);
        return Ok(());
    }
    for (file, text) in schema::generated_files()? {
        std::fs::write(file, text).with_context(|| {
            format!("writing {file}; this is run from the root of the repository")
        })?;
    }
    Ok(())
}

/// Cancelled on Ctrl-C and on SIGTERM.
fn stopped() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("listening for SIGTERM")?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping");
        token.cancel();
    });
    Ok(stop)
}

async fn operator(run: Run) -> anyhow::Result<()> {
    let non_empty = |text: Option<String>| text.filter(|t| !t.is_empty());
    let options = Options {
        watch_namespaces: run
            .watch_namespaces
            .into_iter()
            .filter(|n| !n.is_empty())
            .collect(),
        node_image: run.node_image,
        metrics_listen: run.metrics_listen,
        leader_elect: run.leader_elect,
        lease_name: run.lease_name,
        pod_name: non_empty(run.pod_name),
        pod_namespace: non_empty(run.pod_namespace),
    };
    tracing::info!(
        "chord-operator {}, nodes of {}",
        env!("CARGO_PKG_VERSION"),
        options.node_image
    );
    kube::run(options, Clock::system(), stopped()?).await?;
    Ok(())
}

async fn local(dir: PathBuf, exit_with_stdin: bool) -> anyhow::Result<()> {
    let stop = stopped()?;
    if exit_with_stdin {
        let stop = stop.clone();
        tokio::spawn(async move {
            chord_api::host::parent::gone().await;
            stop.cancel();
        });
    }
    chord_operator::local::run(dir, Clock::system(), stop.cancelled_owned()).await?;
    Ok(())
}

async fn probe(url: &str, within: Duration) -> anyhow::Result<()> {
    let client = builder::probe(ONE_PROBE)?;
    let ask = || async {
        match client.get(url).send().await {
            Ok(answer) if answer.status().is_success() => Ok(answer.status()),
            Ok(answer) => Err(anyhow::anyhow!("it answers {}", answer.status())),
            Err(e) => Err(anyhow::anyhow!(innermost(&e))),
        }
    };
    let status = ask
        .retry(retry::until_it_answers(within))
        .await
        .with_context(|| format!("{url} did not answer 200 within {} s", within.as_secs()))?;
    println!("{url} answers {status}");
    Ok(())
}
