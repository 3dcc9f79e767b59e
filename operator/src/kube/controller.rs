//! Which cluster gets a round when: after a change of it or of anything it is made
//! of, when its plan says so, and after a failure, ever more slowly.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Config, WatchStreamExt, applier, watcher};
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::api::cache::{self, Caches, Cluster, Trigger, api};
use super::failure::Kind;
use super::reconcile::{Error, Shared, State, back_off, reconcile};
use chord_api::causes;

/// How many clusters have a round at the same time.
const AT_ONCE: u16 = 32;
/// The longest that a round may take.
const ROUND: Duration = Duration::from_secs(120);
/// How many requests for a round may wait; the watches wait beyond that.
const QUEUE: usize = 1024;

/// Why the clusters are run no longer.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// A watch ended before it had its first list.
    #[error("reading the objects of {scope} for the first time")]
    Watch {
        /// Which namespace, or all.
        scope: String,
        /// Why it ended.
        source: reflector::store::WriterDropped,
    },
}

struct Context {
    shared: Arc<Shared>,
    caches: Caches,
    /// By namespace and name. parking_lot's mutex, and not tokio's: nothing is awaited
    /// while it is held. A cluster's own state is tokio's: a round awaits.
    states: Mutex<HashMap<String, Entry>>,
}

/// What is remembered of a cluster, and of which: a name may be used again.
struct Entry {
    uid: Option<String>,
    failures: u32,
    state: Arc<tokio::sync::Mutex<State>>,
}

fn key(object: &impl ResourceExt) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}

impl Context {
    fn with<T>(&self, object: &Cluster, run: impl FnOnce(&mut Entry) -> T) -> T {
        let mut states = self.states.lock();
        let uid = object.meta().uid.clone();
        let fresh = || Entry {
            uid: uid.clone(),
            failures: 0,
            state: Arc::default(),
        };
        let entry = states.entry(key(object)).or_insert_with(fresh);
        if entry.uid != uid {
            *entry = fresh();
        }
        run(entry)
    }

    fn forget(&self, namespace: &str, name: &str) {
        let key = format!("{namespace}/{name}");
        self.states.lock().remove(&key);
        self.shared.turns.done(&key);
        self.shared.metrics.forget(namespace, name);
    }
}

/// Runs the clusters of one namespace, or of all, until `stop`; then lets the
/// rounds that are under way come to their end.
pub async fn run(
    shared: Arc<Shared>,
    namespace: Option<String>,
    stop: CancellationToken,
) -> Result<(), Stopped> {
    let (trigger, mut triggered) = mpsc::channel::<ObjectRef<Cluster>>(QUEUE);
    let mut watches = JoinSet::new();
    let scope = match &namespace {
        None => "all namespaces".to_string(),
        Some(namespace) => format!("namespace {namespace}"),
    };
    let clusters = watch_clusters(&shared, namespace.as_deref(), &trigger, &mut watches);
    let started = async {
        let (client, clock) = (&shared.client, &shared.clock);
        let namespace = namespace.as_deref();
        let caches = Caches::start(client, namespace, &trigger, &mut watches, clock).await?;
        clusters.wait_until_ready().await?;
        Ok::<_, reflector::store::WriterDropped>(caches)
    };
    let started = drained(started, &mut triggered);
    // What was asked for meanwhile is asked for again below.
    let caches = tokio::select! {
        caches = started => caches.map_err(|source| Stopped::Watch {
            scope: scope.clone(),
            source,
        })?,
        () = stop.cancelled() => return Ok(()),
    };
    let first: Vec<ObjectRef<Cluster>> = clusters
        .state()
        .iter()
        .map(|c| ObjectRef::from_obj(c.as_ref()))
        .collect();
    tracing::info!("{} clusters in {scope}", first.len());
    let context = Arc::new(Context {
        shared,
        caches,
        states: Mutex::default(),
    });
    let queue = futures::stream::iter(first)
        .chain(futures::stream::poll_fn(move |cx| triggered.poll_recv(cx)))
        .map(Ok::<_, Infallible>)
        .take_until(stop.cancelled_owned());
    let finished = context.clone();
    applier(
        |cluster, context| Box::pin(guarded(cluster, context)),
        |cluster: Arc<Cluster>, error: &Error, context: Arc<Context>| {
            let failures = context.with(&cluster, |entry| entry.failures);
            Action::requeue(back_off(error, failures))
        },
        context,
        clusters,
        queue.boxed(),
        Config::default().concurrency(AT_ONCE),
    )
    .for_each(move |result| {
        if let Err(ended) = result {
            log_or_forget(&finished, ended);
        }
        std::future::ready(())
    })
    .await;
    watches.shutdown().await;
    Ok(())
}

/// Watches the ChordClusters themselves.
fn watch_clusters(
    shared: &Shared,
    namespace: Option<&str>,
    trigger: &Trigger,
    watches: &mut JoinSet<()>,
) -> Store<Cluster> {
    let (store, writer) = reflector::store::<Cluster>();
    let clusters = watcher(
        api::<Cluster>(&shared.client, namespace),
        watcher::Config::default(),
    )
    .default_backoff()
    .modify(|cluster| cluster.managed_fields_mut().clear())
    .reflect(writer)
    .touched_objects();
    let trigger = trigger.clone();
    watches.spawn(async move {
        let mut clusters = std::pin::pin!(clusters);
        while let Some(cluster) = clusters.next().await {
            match cluster {
                Ok(cluster) => {
                    let whose = ObjectRef::from_obj(&cluster);
                    if trigger.send(whose).await.is_err() {
                        return;
                    }
                }
                Err(e) => tracing::warn!(
                    "watching chordclusters: {}; is the CRD there, and may this operator read it?",
                    cache::failed(e)
                ),
            }
        }
    });
    store
}

/// What a future gives, while the queue is emptied: nobody reads it yet, and the watches
/// must not wait for that.
async fn drained<T>(
    future: impl Future<Output = T>,
    queue: &mut mpsc::Receiver<ObjectRef<Cluster>>,
) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        tokio::select! {
            done = &mut future => return done,
            Some(_) = queue.recv() => {}
        }
    }
}

/// Takes down how a round ended that did not come to its end, or that there was no
/// cluster for it.
fn log_or_forget(context: &Context, ended: controller::Error<Error, Infallible>) {
    match ended {
        controller::Error::ObjectNotFound(gone) => {
            context.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
        }
        controller::Error::ReconcilerFailed(why, whose) => {
            let namespace = whose.namespace.as_deref().unwrap_or_default();
            let (name, words) = (&whose.name, causes::words(&why));
            match why.kind() {
                Kind::Waiting => tracing::info!("{namespace}/{name}: {words}"),
                _ => tracing::warn!("{namespace}/{name}: {words}"),
            }
        }
        e => tracing::error!("{}", causes::words(&e)),
    }
}

/// A round that can break down or hang without taking others along.
async fn guarded(cluster: Arc<Cluster>, context: Arc<Context>) -> Result<Action, Error> {
    let begun = context.shared.clock.uptime();
    // A round that nobody waits for any more ends: it would write for an operator that
    // no longer leads.
    let round = AbortOnDropHandle::new(tokio::spawn(tokio::time::timeout(
        ROUND,
        one(cluster.clone(), context.clone()),
    )));
    let result = match round.await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::TookTooLong { limit: ROUND }),
        Err(e) => Err(Error::BrokeDown(e)),
    };
    let waits = matches!(&result, Err(e) if e.kind() == Kind::Waiting);
    let name = match &result {
        Ok(_) => "ok",
        Err(_) if waits => "waiting",
        Err(_) => "failed",
    };
    let took = context.shared.clock.since(begun);
    context.shared.metrics.round(name, took);
    context.with(&cluster, |entry| match &result {
        Err(_) if waits => {}
        Err(_) => entry.failures = entry.failures.saturating_add(1),
        Ok(_) => entry.failures = 0,
    });
    result
}

async fn one(cluster: Arc<Cluster>, context: Arc<Context>) -> Result<Action, Error> {
    let state = context.with(&cluster, |entry| entry.state.clone());
    let mut state = state.lock().await;
    match &cluster.0 {
        Ok(cluster) => reconcile(&context.shared, &context.caches, cluster, &mut state).await,
        Err(invalid) => {
            let unreadable = Error::Unreadable {
                why: invalid.to_string(),
            };
            if context.with(&cluster, |entry| entry.failures) == 0 {
                let about = cluster.object_ref(&());
                let (publisher, why) = (&context.shared.publisher, unreadable.to_string());
                publisher.event_of(&about, true, "Unreadable", &why).await;
            }
            Err(unreadable)
        }
    }
}
