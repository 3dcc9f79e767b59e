//! The API server's objects as they were last seen, by watches.
//!
//! A round reads from here, so that a thousand idle clusters cost no requests.
//! What this operator has just written is remembered until the watch has caught
//! up: a round never works from something older than its own last write. Every
//! write and deletion carries preconditions, so a stale read costs a retry only.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Pod, PodSpec, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::error::Cause;
use crate::clock::Clock;
use crate::crd::ChordCluster;
use crate::kube::names::{INSTANCE, WATCHED};
use chord_api::causes;

/// After this long, what was written counts as seen: an object that is missing
/// then was deleted by somebody.
const WRITTEN_FOR: Duration = Duration::from_secs(30);

/// A ChordCluster that may not be readable: one such must not hide the others.
pub type Cluster = DeserializeGuard<ChordCluster>;

/// Asks for a round of a cluster.
pub type Trigger = mpsc::Sender<ObjectRef<Cluster>>;

/// A kind of objects that clusters are made of, and that is watched.
pub trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The objects of this kind.
    fn cache(caches: &Caches) -> &Cache<Self>;
}

/// One kind of objects.
pub struct Cache<K: Watched> {
    watched: Store<K>,
    /// What was written when, by namespace and name. parking_lot's mutex, and not
    /// tokio's: nothing is awaited while it is held.
    written: Mutex<Written<K>>,
    clock: Clock,
}

/// Since the uptime, by namespace and name.
type Written<K> = HashMap<(String, String), (Duration, Arc<K>)>;

/// The order in which an object was written. API servers number them; where one
/// does not, what was read counts as newer.
fn version(meta: &impl Resource) -> u64 {
    meta.meta()
        .resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

impl<K: Watched> Cache<K> {
    fn new(watched: Store<K>, clock: Clock) -> Cache<K> {
        Cache {
            watched,
            written: Mutex::default(),
            clock,
        }
    }

    /// The object as it was last seen or written.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let seen = self.watched.get(&ObjectRef::new(name).within(namespace));
        let key = (namespace.to_string(), name.to_string());
        let mut written = self.written.lock();
        let Some((at, ours)) = written.get(&key) else {
            return seen;
        };
        let newer = match &seen {
            Some(seen) => version(seen.as_ref()) < version(ours.as_ref()),
            None => true,
        };
        if newer && self.clock.since(*at) < WRITTEN_FOR {
            return Some(ours.clone());
        }
        written.remove(&key);
        seen
    }

    /// The object as an answer to a write has it.
    pub fn put(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        let mut written = self.written.lock();
        written.retain(|_, (at, _)| self.clock.since(*at) < WRITTEN_FOR);
        written.insert(key, (self.clock.uptime(), object.clone()));
        object
    }

    /// The object is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_string(), name.to_string());
        self.written.lock().remove(&key);
    }
}

/// Every kind that a cluster is made of.
pub struct Caches {
    /// The StatefulSets.
    pub stateful_sets: Cache<StatefulSet>,
    /// The Services: one for clients, one for the nodes.
    pub services: Cache<Service>,
    /// The ConfigMaps with the views.
    pub config_maps: Cache<ConfigMap>,
    /// The disruption budgets.
    pub budgets: Cache<PodDisruptionBudget>,
    /// The network policies.
    pub policies: Cache<NetworkPolicy>,
    /// The service accounts.
    pub accounts: Cache<ServiceAccount>,
    /// The pods.
    pub pods: Cache<Pod>,
    /// The claims.
    pub claims: Cache<PersistentVolumeClaim>,
}

macro_rules! watched {
    ($($kind:ty: $field:ident),* $(,)?) => {$(
        impl Watched for $kind {
            fn cache(caches: &Caches) -> &Cache<Self> {
                &caches.$field
            }
        }
    )*};
}
watched! {
    StatefulSet: stateful_sets,
    Service: services,
    ConfigMap: config_maps,
    PodDisruptionBudget: budgets,
    NetworkPolicy: policies,
    ServiceAccount: accounts,
    Pod: pods,
    PersistentVolumeClaim: claims,
}

/// Starts watches as tasks.
struct Watches<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    trigger: &'a Trigger,
    tasks: &'a mut JoinSet<()>,
    clock: &'a Clock,
}

impl Caches {
    /// Caches that have seen nothing.
    #[cfg(test)]
    pub fn empty() -> Caches {
        fn none<K: Watched>() -> Cache<K> {
            Cache::new(reflector::store().0, Clock::by_hand())
        }
        Caches {
            stateful_sets: none(),
            services: none(),
            config_maps: none(),
            budgets: none(),
            policies: none(),
            accounts: none(),
            pods: none(),
            claims: none(),
        }
    }

    /// Starts the watches as tasks of `tasks`; comes back when all have their
    /// first list.
    pub async fn start(
        client: &Client,
        namespace: Option<&str>,
        trigger: &Trigger,
        tasks: &mut JoinSet<()>,
        clock: &Clock,
    ) -> Result<Caches, reflector::store::WriterDropped> {
        let mut watches = Watches {
            client,
            namespace,
            trigger,
            tasks,
            clock,
        };
        let caches = Caches {
            stateful_sets: watches.start(|_: &mut StatefulSet| {}),
            services: watches.start(|_: &mut Service| {}),
            config_maps: watches.start(|_: &mut ConfigMap| {}),
            budgets: watches.start(|_: &mut PodDisruptionBudget| {}),
            policies: watches.start(|_: &mut NetworkPolicy| {}),
            accounts: watches.start(|_: &mut ServiceAccount| {}),
            // A pod's spec is the longest part of it, and only its machine is read here.
            pods: watches.start(|pod: &mut Pod| {
                pod.spec = pod.spec.take().map(|spec| PodSpec {
                    node_name: spec.node_name,
                    ..PodSpec::default()
                })
            }),
            claims: watches.start(|_: &mut PersistentVolumeClaim| {}),
        };
        caches.stateful_sets.watched.wait_until_ready().await?;
        caches.services.watched.wait_until_ready().await?;
        caches.config_maps.watched.wait_until_ready().await?;
        caches.budgets.watched.wait_until_ready().await?;
        caches.policies.watched.wait_until_ready().await?;
        caches.accounts.watched.wait_until_ready().await?;
        caches.pods.watched.wait_until_ready().await?;
        caches.claims.watched.wait_until_ready().await?;
        Ok(caches)
    }
}

/// An API for a kind in one namespace, or in all.
pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
    client: &Client,
    namespace: Option<&str>,
) -> Api<K> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

impl Watches<'_> {
    /// Starts one; `trim` takes out what is not read here.
    fn start<K: Watched>(&mut self, trim: fn(&mut K)) -> Cache<K> {
        let (store, writer) = reflector::store::<K>();
        let stream = watcher(
            api::<K>(self.client, self.namespace),
            watcher::Config::default().labels(WATCHED),
        )
        .default_backoff()
        .modify(move |object| {
            object.managed_fields_mut().clear();
            trim(object);
        })
        .reflect(writer)
        .touched_objects();
        let trigger = self.trigger.clone();
        self.tasks.spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(object) = stream.next().await {
                match object {
                    Ok(object) => {
                        let Some(cluster) = object.labels().get(INSTANCE) else {
                            continue;
                        };
                        let namespace = object.namespace().unwrap_or_default();
                        let whose = ObjectRef::new(cluster).within(&namespace);
                        if trigger.send(whose).await.is_err() {
                            return;
                        }
                    }
                    Err(e) => tracing::warn!("watching {}: {}", K::plural(&()), failed(e)),
                }
            }
        });
        Cache::new(store, self.clock.clone())
    }
}

/// Why a watch was interrupted, in words; it goes on by itself.
pub fn failed(error: watcher::Error) -> String {
    use watcher::Error as Why;
    match error {
        Why::InitialListFailed(e) | Why::WatchStartFailed(e) | Why::WatchFailed(e) => {
            causes::words(&Cause::from(e))
        }
        Why::WatchError(status) => causes::words(&Cause::from(kube::Error::Api(status))),
        other => causes::words(&other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(version: &str, value: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some("files-view".into());
        map.metadata.namespace = Some("data".into());
        map.metadata.resource_version = Some(version.into());
        map.data = Some([("k".to_string(), value.to_string())].into());
        map
    }

    #[test]
    fn what_was_written_is_seen_until_the_watch_has_caught_up() {
        let (store, mut writer) = reflector::store::<ConfigMap>();
        let clock = Clock::by_hand();
        let cache = Cache::new(store, clock.clone());
        let value = |c: &Cache<ConfigMap>| {
            c.get("data", "files-view")
                .and_then(|m| m.data.as_ref()?.get("k").cloned())
        };
        assert_eq!(value(&cache), None);
        writer.apply_watcher_event(&watcher::Event::Apply(map("5", "old")));
        cache.put(map("7", "ours"));
        assert_eq!(value(&cache).as_deref(), Some("ours"));
        writer.apply_watcher_event(&watcher::Event::Apply(map("6", "between")));
        assert_eq!(value(&cache).as_deref(), Some("ours"));
        writer.apply_watcher_event(&watcher::Event::Apply(map("9", "theirs")));
        assert_eq!(value(&cache).as_deref(), Some("theirs"));
        writer.apply_watcher_event(&watcher::Event::Delete(map("10", "theirs")));
        assert_eq!(value(&cache), None);
        cache.put(map("11", "ours again"));
        assert_eq!(value(&cache).as_deref(), Some("ours again"));
        clock.forward(WRITTEN_FOR);
        assert_eq!(value(&cache), None, "somebody has deleted it meanwhile");
    }
}
