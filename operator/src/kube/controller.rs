//! Which cluster gets a round when: after a change of it or of anything it is made
//! of, when its plan says so, and after a failure, ever more slowly.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{Config, WatchStreamExt, applier, watcher};
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::crd::ChordCluster;
use crate::kube::api::cache::{Caches, api};
use crate::kube::error::Error;
use crate::kube::reconcile::{Shared, State, back_off, reconcile};

/// A ChordCluster that may not be readable: one such must not hide the others.
pub type Cluster = DeserializeGuard<ChordCluster>;

/// How many clusters have a round at the same time.
const AT_ONCE: u16 = 32;
/// The longest that a round may take.
const ROUND: Duration = Duration::from_secs(120);
/// How many requests for a round may wait; the watches wait beyond that.
const QUEUE: usize = 1024;

struct Context {
    shared: Arc<Shared>,
    caches: Caches,
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
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
        self.shared.rolling.done(&key);
        self.shared.metrics.forget(namespace, name);
    }
}

/// Runs the clusters of one namespace, or of all, until `stop`; then lets the
/// rounds that are under way come to their end.
pub async fn run(
    shared: Arc<Shared>,
    namespace: Option<String>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (trigger, mut triggered) = mpsc::channel::<ObjectRef<Cluster>>(QUEUE);
    let mut watches = JoinSet::new();
    let (store, writer) = reflector::store::<Cluster>();
    let clusters = watcher(
        api::<Cluster>(&shared.client, namespace.as_deref()),
        watcher::Config::default(),
    )
    .default_backoff()
    .modify(|cluster| cluster.managed_fields_mut().clear())
    .reflect(writer)
    .touched_objects();
    let own_trigger = trigger.clone();
    watches.spawn(async move {
        let mut clusters = std::pin::pin!(clusters);
        while let Some(cluster) = clusters.next().await {
            match cluster {
                Ok(cluster) => {
                    if own_trigger
                        .send(ObjectRef::from_obj(&cluster))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                Err(e) => tracing::warn!(
                    "watching chordclusters: {e}; is the CRD there, and may this operator read it?"
                ),
            }
        }
    });
    let started = async {
        // The queue is not read yet, and the watches must not wait for that.
        let caches = async {
            let caches =
                Caches::start(&shared.client, namespace.as_deref(), &trigger, &mut watches).await?;
            store.wait_until_ready().await?;
            anyhow::Ok(caches)
        };
        let mut caches = std::pin::pin!(caches);
        loop {
            tokio::select! {
                caches = &mut caches => break caches,
                Some(_) = triggered.recv() => {}
            }
        }
    };
    // What was asked for meanwhile is asked for again below.
    let caches = tokio::select! {
        caches = started => caches?,
        () = stop.cancelled() => return Ok(()),
    };
    let first: Vec<ObjectRef<Cluster>> = store
        .state()
        .iter()
        .map(|c| ObjectRef::from_obj(c.as_ref()))
        .collect();
    tracing::info!(
        "{} clusters in {}",
        first.len(),
        namespace
            .as_deref()
            .map_or("all namespaces".into(), |n| format!("namespace {n}"))
    );
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
            Action::requeue(back_off(
                error,
                context.with(&cluster, |entry| entry.failures),
            ))
        },
        context,
        store,
        queue.boxed(),
        Config::default().concurrency(AT_ONCE),
    )
    .for_each(move |result| {
        match result {
            Ok(_) => {}
            Err(controller::Error::ObjectNotFound(gone)) => {
                finished.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
            }
            Err(controller::Error::ReconcilerFailed(Error::Waiting(why), whose)) => {
                tracing::info!(
                    "{}/{}: {why}",
                    whose.namespace.as_deref().unwrap_or_default(),
                    whose.name
                );
            }
            Err(controller::Error::ReconcilerFailed(why, whose)) => {
                tracing::warn!(
                    "{}/{}: {why}",
                    whose.namespace.as_deref().unwrap_or_default(),
                    whose.name
                );
            }
            Err(e) => tracing::error!("{e}"),
        }
        std::future::ready(())
    })
    .await;
    watches.shutdown().await;
    Ok(())
}

/// A round that can break down or hang without taking others along.
async fn guarded(cluster: Arc<Cluster>, context: Arc<Context>) -> Result<Action, Error> {
    let begun = Instant::now();
    // A round that nobody waits for any more ends: it would write for an operator that
    // no longer leads.
    let round = AbortOnDropHandle::new(tokio::spawn(tokio::time::timeout(
        ROUND,
        one(cluster.clone(), context.clone()),
    )));
    let result = match round.await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::Broken(format!(
            "took longer than {} s",
            ROUND.as_secs()
        ))),
        Err(e) => Err(Error::Broken(format!("broke down: {e}"))),
    };
    let name = match &result {
        Ok(_) => "ok",
        Err(Error::Waiting(_)) => "waiting",
        Err(_) => "failed",
    };
    context
        .shared
        .metrics
        .round(name, begun.elapsed().as_secs_f64());
    context.with(&cluster, |entry| match &result {
        Err(Error::Waiting(_)) => {}
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
            let why = format!(
                "the ChordCluster cannot be read ({invalid}): is the CRD of another version than the operator?"
            );
            if context.with(&cluster, |entry| entry.failures) == 0 {
                let about = cluster.object_ref(&());
                let publisher = &context.shared.publisher;
                publisher.event_of(&about, true, "Unreadable", &why).await;
            }
            Err(Error::Refused(why))
        }
    }
}
