//! The operator on Kubernetes from its start to its end: the API server reached, the
//! Lease held, the clusters run, and probes answered all the while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, try_join_all};
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;

use super::api::Cause;
use super::apply::turns::Turns;
use super::controller::{self, Stopped};
use super::observe::machines::Machines;
use super::process::leader::{self, Candidacy};
use super::process::serve::{self, Readiness};
use super::reconcile::Shared;
use super::status::Publisher;
use crate::clock::Clock;
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
    /// The operator's own pod, where it runs in one.
    pub pod_name: Option<String>,
    /// The namespace of that pod.
    pub pod_namespace: Option<String>,
}

/// Why the operator ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pod has no service account that can be read.
    #[error("reading the pod's service account")]
    ServiceAccount(#[source] kube::config::InClusterError),
    /// There is no kubeconfig that can be read.
    #[error("reading the kubeconfig")]
    Kubeconfig(#[source] kube::config::InferConfigError),
    /// The client for the API server cannot be made.
    #[error("preparing the client for the API server")]
    Client(#[source] kube::Error),
    /// The API server cannot be reached.
    #[error("reaching the API server")]
    Unreached(#[source] Cause),
    /// No Lease can be held.
    #[error(transparent)]
    Leader(#[from] leader::Error),
    /// The clusters are run no longer.
    #[error(transparent)]
    Clusters(#[from] Stopped),
    /// Probes and metrics are not served.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// The task that serves them ended before its time.
    #[error("the server of probes and metrics broke down")]
    ServerBrokeDown(#[source] tokio::task::JoinError),
}

/// Inside a cluster by the address in the environment: a static binary looks up no
/// names. Outside: by kubeconfig.
async fn config() -> Result<Config, Error> {
    let mut config = if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        Config::incluster().map_err(Error::ServiceAccount)?
    } else {
        Config::infer().await.map_err(Error::Kubeconfig)?
    };
    config.read_timeout = Some(SILENCE);
    Ok(config)
}

/// Runs the operator until `stop`.
pub async fn run(options: Options, clock: Clock, stop: CancellationToken) -> Result<(), Error> {
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
        result = operate(&options, metrics, readiness, &clock, stop) => result,
        () = async {
            // It ends only where its port cannot be had.
            while !server.is_finished() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        } => Ok(()),
    };
    served.cancel();
    let server = server.await.map_err(Error::ServerBrokeDown)?;
    result.and(server.map_err(Error::Serve))
}

async fn operate(
    options: &Options,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    clock: &Clock,
    stop: CancellationToken,
) -> Result<(), Error> {
    let config = config().await?;
    let home = options
        .pod_namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(Error::Client)?;
    let identity = options
        .pod_name
        .clone()
        .unwrap_or_else(|| format!("chord-operator-{}", uuid::Uuid::new_v4()));
    let shared = Arc::new(shared(options, &client, &identity, &metrics, clock));
    let scopes: Vec<Option<String>> = match options.watch_namespaces.as_slice() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let work = move |stop| run_clusters(shared.clone(), scopes.clone(), stop);
    let leads = |leads: bool| {
        // Who stands by is ready too: ready to take over.
        readiness.set(true);
        metrics.leads(leads);
        if !leads {
            metrics.forget_all();
        }
    };
    if options.leader_elect {
        let candidacy = Candidacy {
            client,
            namespace: &home,
            name: &options.lease_name,
            identity: &identity,
            clock,
        };
        let ended = leader::lead(candidacy, stop, leads, work).await?;
        ended.map_err(Error::Clusters)
    } else {
        let reached = client.apiserver_version().await;
        reached.map_err(|e| Error::Unreached(e.into()))?;
        leads(true);
        Ok(work(stop).await?)
    }
}

fn shared(
    options: &Options,
    client: &Client,
    identity: &str,
    metrics: &Arc<Metrics>,
    clock: &Clock,
) -> Shared {
    Shared {
        publisher: Publisher::new(
            client.clone(),
            Some(identity.to_string()),
            metrics.clone(),
            clock.clone(),
        ),
        client: client.clone(),
        metrics: metrics.clone(),
        turns: Turns::new(clock.clone()),
        machines: Machines::new(clock.clone()),
        clock: clock.clone(),
        node_image: options.node_image.clone(),
        operator_namespace: options.pod_namespace.clone(),
    }
}

/// Runs the clusters of these namespaces until `stop`, and lets rounds that are under
/// way end, within reason.
fn run_clusters(
    shared: Arc<Shared>,
    scopes: Vec<Option<String>>,
    stop: CancellationToken,
) -> BoxFuture<'static, Result<(), Stopped>> {
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
                let seconds = LAST_ROUNDS.as_secs();
                tracing::warn!("rounds that did not end within {seconds} s are given up");
                Ok(())
            }
        }
    })
}
