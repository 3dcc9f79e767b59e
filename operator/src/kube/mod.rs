//! The Kubernetes shell: a `ChordCluster` in, Kubernetes objects out.
//!
//! A round of a cluster is a pipeline, one module a step: [`observe`] →
//! [`validate`] → plan → [`build`] → [`apply`] → [`status`]; [`reconcile`] is its
//! table of contents. [`controller`] decides when a cluster gets a round,
//! [`process`] which operator works and how it is asked about itself; [`api`] is
//! the API server as it was last seen, and writes to it.

pub mod api;
pub mod apply;
pub mod build;
pub mod controller;
pub mod error;
pub mod names;
pub mod observe;
pub mod process;
pub mod reconcile;
pub mod status;
pub mod validate;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::{BoxFuture, try_join_all};
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;

use self::apply::turns::Rolling;
use self::observe::machines;
use self::process::leader;
use self::process::serve::{self, Readiness};
use self::reconcile::Shared;
use self::status::publish::Publisher;
use crate::metrics::Metrics;

/// How long rounds have to end when the operator is stopped; a pod has 30 s.
const LAST_ROUNDS: Duration = Duration::from_secs(20);
/// A request that hears nothing for so long is given up; watches hear more often.
const SILENCE: Duration = Duration::from_secs(295);

/// What the operator is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespaces whose clusters are run; empty: all.
    pub watch_namespaces: Vec<String>,
    /// The image of nodes whose spec names none.
    pub node_image: String,
    /// Where probes and metrics are served.
    pub metrics_listen: SocketAddr,
    /// Whether to work only as the holder of the Lease.
    pub leader_elect: bool,
    /// The name of the Lease.
    pub lease_name: String,
    /// The operator's own pod and namespace, where it runs in one.
    pub pod_name: Option<String>,
    pub pod_namespace: Option<String>,
}

/// Inside a cluster by the address in the environment: a static binary looks up no
/// names. Outside: by kubeconfig.
async fn config() -> anyhow::Result<Config> {
    let mut config = if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        Config::incluster().context("reading the pod's service account")?
    } else {
        Config::infer().await.context("reading the kubeconfig")?
    };
    config.read_timeout = Some(SILENCE);
    Ok(config)
}

/// Runs the operator until `stop`.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let readiness = Readiness::default();
    // Probes are answered until the very end, also while the last rounds finish.
    let served = CancellationToken::new();
    let server = tokio::spawn(serve::serve(
        options.metrics_listen,
        metrics.clone(),
        readiness.clone(),
        served.clone(),
    ));
    let result = tokio::select! {
        result = operate(&options, metrics, readiness, stop) => result,
        () = async {
            // It ends only where its port cannot be had.
            while !server.is_finished() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        } => Ok(()),
    };
    served.cancel();
    result.and(server.await.context("the server of probes broke down")?)
}

async fn operate(
    options: &Options,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let config = config().await?;
    let home = options
        .pod_namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).context("preparing the client for the API server")?;
    let identity = options
        .pod_name
        .clone()
        .unwrap_or_else(|| format!("chord-operator-{}", uuid::Uuid::new_v4()));
    let shared = Arc::new(Shared {
        publisher: Publisher::new(client.clone(), Some(identity.clone())),
        client: client.clone(),
        metrics: metrics.clone(),
        rolling: Rolling::default(),
        machines: machines::Machines::default(),
        node_image: options.node_image.clone(),
        operator_namespace: options.pod_namespace.clone(),
    });
    let scopes: Vec<Option<String>> = match options.watch_namespaces.as_slice() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let work = move |stop: CancellationToken| -> BoxFuture<'static, anyhow::Result<()>> {
        let (shared, scopes) = (shared.clone(), scopes.clone());
        Box::pin(async move {
            let ended = stop.clone();
            let rounds = try_join_all(
                scopes
                    .into_iter()
                    .map(|scope| controller::run(shared.clone(), scope, stop.clone())),
            );
            tokio::select! {
                result = rounds => result.map(drop),
                () = async { ended.cancelled().await; tokio::time::sleep(LAST_ROUNDS).await } => {
                    tracing::warn!("rounds that did not end within {} s are given up", LAST_ROUNDS.as_secs());
                    Ok(())
                }
            }
        })
    };
    let leads = |leads: bool| {
        // Who stands by is ready too: ready to take over.
        readiness.set(true);
        metrics.leader(leads);
        if !leads {
            metrics.forget_all();
        }
    };
    if options.leader_elect {
        leader::lead(
            client,
            &home,
            &options.lease_name,
            &identity,
            stop,
            leads,
            work,
        )
        .await
    } else {
        client
            .apiserver_version()
            .await
            .context("reaching the API server")?;
        leads(true);
        work(stop).await
    }
}
