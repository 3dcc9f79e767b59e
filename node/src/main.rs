//! The storage node's process.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chord_api::host::Descriptors;
use chord_node::http;
use chord_node::http::peer_port;
use chord_node::http::this_node::supervisor::Supervisor;
use chord_node::node::config::{Args, Durability};
use chord_node::node::{Node, Outside};
use chord_node::peer::address::AddressBook;
use chord_node::peer::client::PeerClient;
use chord_node::store::{self, Store};
use chord_node::world::World;
use chord_types::ClusterUid;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let args = Args::parse();
    let descriptors = Descriptors::raise();
    let filter = tracing_subscriber::EnvFilter::try_from_env("CHORD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be told on standard error as well, and panic where that is full.
        .log_internal_errors(false)
        .with_ansi(false);
    if args.log_format == "json" {
        log.json().init()
    } else {
        log.init()
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(args, descriptors)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Says why it ends; where it is said may be on a full disk, too.
fn complain(why: &str) {
    let _ = writeln!(std::io::stderr(), "chord-node: {why}");
}

async fn run(args: Args, descriptors: Descriptors) -> anyhow::Result<()> {
    let ordinal = args.ordinal()?;
    let secret = std::fs::read_to_string(&args.secret_file)
        .with_context(|| {
            format!(
                "cannot read the cluster's secret from {}",
                args.secret_file.display()
            )
        })?
        .trim()
        .to_string();
    anyhow::ensure!(
        !secret.is_empty(),
        "the secret in {} is empty",
        args.secret_file.display()
    );
    let options = store::Options {
        dir: args.data.clone(),
        capacity: args.capacity,
        cluster: Some(ClusterUid(args.cluster_uid.clone())),
        durability: match args.durability {
            Durability::Durable => store::Durability::Durable,
            Durability::Relaxed => store::Durability::Relaxed,
        },
    };
    let store = tokio::task::spawn_blocking(move || Store::open(options)).await??;
    let book = match (&args.addresses, &args.client_url, &args.peer_url) {
        (Some(path), ..) => AddressBook::file(path.clone()),
        (None, Some(client), Some(peer)) => AddressBook::Pattern {
            client: client.clone(),
            peer: peer.clone(),
        },
        _ => anyhow::bail!("give --addresses, or --peer-url and --client-url"),
    };
    let book = Arc::new(book);
    let peers = PeerClient::new(secret.clone(), book.clone());
    let peers = Arc::new(peers.context("cannot make an HTTP client")?);
    let clients = listen(args.client_listen).await?;
    let others = listen(args.peer_listen).await?;
    tracing::info!(name = %args.name, disk = %store.disk(), boot = store.boot(), clients = %args.client_listen, "started");
    let supervisor = Supervisor::new(args.supervisor.clone(), secret.clone());
    let outside = Outside {
        ordinal,
        secret,
        supervisor: supervisor.context("cannot make an HTTP client")?,
        store,
        peers,
        book,
        world: World::default(),
    };
    let node = Node::new(&args, outside);
    let tasks = &node.world.tasks;

    let stop = CancellationToken::new();
    node.start();
    let router = http::router(node.files.clone(), node.itself.clone(), &node.world);
    let limits = http::Limits::within(descriptors);
    let stopped = stop.clone().cancelled_owned();
    let client_port = tasks.to_its_end(http::serve(
        clients,
        router,
        limits.clone(),
        tasks.clone(),
        stopped,
    ));
    let router = peer_port::router(node.peer_port.clone());
    let stopped = stop.clone().cancelled_owned();
    let peer_port = tasks.to_its_end(http::serve(others, router, limits, tasks.clone(), stopped));
    wait_for_end(args.exit_with_stdin).await?;
    tracing::info!("stopping");
    stop.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(25), async {
        let _ = client_port.await;
        tasks.stop().await;
        let _ = peer_port.await;
    })
    .await;
    node.store.close().await.context("cannot close the disk")?;
    Ok(())
}

async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    chord_api::host::listen::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// SIGTERM, Ctrl-C, or the end of standard input where the parent holds it open.
async fn wait_for_end(stdin: bool) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let parent_gone = async move {
        if stdin {
            chord_api::host::parent::gone().await
        } else {
            std::future::pending().await
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = parent_gone => {}
    }
    Ok(())
}
