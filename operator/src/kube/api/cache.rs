//! The API server's objects as they were last seen, by watches.
//!
//! A round reads from here, so that a thousand idle clusters cost no requests.
//! What this operator has just written is remembered until the watch has caught
//! up: a round never works from something older than its own last write. Every
//! write and deletion carries preconditions, so a stale read costs a retry only.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Pod, PodSpec, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::kube::controller::Cluster;
use crate::kube::names::{INSTANCE, WATCHED};

/// After this long, what was written counts as seen: an object that is missing
/// then was deleted by somebody.
const WRITTEN_FOR: Duration = Duration::from_secs(30);

/// Asks for a round of a cluster.
pub type Trigger = mpsc::Sender<ObjectRef<Cluster>>;

/// A namespaced kind that is known at compile time.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}
impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// One kind of objects.
pub struct Cache<K: Kind> {
    store: Store<K>,
    written: Mutex<Written<K>>,
}

/// What was written when, by namespace and name.
type Written<K> = HashMap<(String, String), (Instant, Arc<K>)>;

/// The order in which an object was written. API servers number them; where one
/// does not, what was read counts as newer.
fn version(meta: &impl Resource) -> u64 {
    meta.meta()
        .resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

impl<K: Kind> Cache<K> {
    fn new(store: Store<K>) -> Cache<K> {
        Cache {
            store,
            written: Mutex::default(),
        }
    }

    /// The object as it was last seen or written.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let seen = self.store.get(&ObjectRef::new(name).within(namespace));
        let key = (namespace.to_string(), name.to_string());
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, ours)) = written.get(&key) else {
            return seen;
        };
        let newer = match &seen {
            Some(seen) => version(seen.as_ref()) < version(ours.as_ref()),
            None => true,
        };
        if newer && at.elapsed() < WRITTEN_FOR {
            return Some(ours.clone());
        }
        written.remove(&key);
        seen
    }

    /// The object as an answer to a write has it.
    pub fn put(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.retain(|_, (at, _)| at.elapsed() < WRITTEN_FOR);
        written.insert(key, (Instant::now(), object.clone()));
        object
    }

    /// The object is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_string(), name.to_string());
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
    }
}

/// Every kind that a cluster is made of.
pub struct Caches {
    pub stateful_sets: Cache<StatefulSet>,
    pub services: Cache<Service>,
    pub config_maps: Cache<ConfigMap>,
    pub budgets: Cache<PodDisruptionBudget>,
    pub policies: Cache<NetworkPolicy>,
    pub accounts: Cache<ServiceAccount>,
    pub pods: Cache<Pod>,
    pub claims: Cache<PersistentVolumeClaim>,
}

impl Caches {
    /// Caches that have seen nothing.
    #[cfg(test)]
    pub fn empty() -> Caches {
        fn none<K: Kind>() -> Cache<K> {
            Cache::new(reflector::store().0)
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
    ) -> Result<Caches, reflector::store::WriterDropped> {
        let caches = Caches {
            stateful_sets: watch(client, namespace, trigger, tasks, |_: &mut StatefulSet| {}),
            services: watch(client, namespace, trigger, tasks, |_: &mut Service| {}),
            config_maps: watch(client, namespace, trigger, tasks, |_: &mut ConfigMap| {}),
            budgets: watch(
                client,
                namespace,
                trigger,
                tasks,
                |_: &mut PodDisruptionBudget| {},
            ),
            policies: watch(
                client,
                namespace,
                trigger,
                tasks,
                |_: &mut NetworkPolicy| {},
            ),
            accounts: watch(
                client,
                namespace,
                trigger,
                tasks,
                |_: &mut ServiceAccount| {},
            ),
            // A pod's spec is the longest part of it, and only its machine is read here.
            pods: watch(client, namespace, trigger, tasks, |pod: &mut Pod| {
                pod.spec = pod.spec.take().map(|spec| PodSpec {
                    node_name: spec.node_name,
                    ..PodSpec::default()
                })
            }),
            claims: watch(
                client,
                namespace,
                trigger,
                tasks,
                |_: &mut PersistentVolumeClaim| {},
            ),
        };
        caches.stateful_sets.store.wait_until_ready().await?;
        caches.services.store.wait_until_ready().await?;
        caches.config_maps.store.wait_until_ready().await?;
        caches.budgets.store.wait_until_ready().await?;
        caches.policies.store.wait_until_ready().await?;
        caches.accounts.store.wait_until_ready().await?;
        caches.pods.store.wait_until_ready().await?;
        caches.claims.store.wait_until_ready().await?;
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

fn watch<K: Kind>(
    client: &Client,
    namespace: Option<&str>,
    trigger: &Trigger,
    tasks: &mut JoinSet<()>,
    trim: fn(&mut K),
) -> Cache<K> {
    let (store, writer) = reflector::store::<K>();
    let stream = watcher(
        api::<K>(client, namespace),
        watcher::Config::default().labels(WATCHED),
    )
    .default_backoff()
    .modify(move |object| {
        object.managed_fields_mut().clear();
        trim(object);
    })
    .reflect(writer)
    .touched_objects();
    let trigger = trigger.clone();
    tasks.spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(object) = stream.next().await {
            match object {
                Ok(object) => {
                    let Some(cluster) = object.labels().get(INSTANCE) else {
                        continue;
                    };
                    let whose =
                        ObjectRef::new(cluster).within(&object.namespace().unwrap_or_default());
                    if trigger.send(whose).await.is_err() {
                        return;
                    }
                }
                Err(e) => tracing::warn!("watching {}: {e}", K::plural(&())),
            }
        }
    });
    Cache::new(store)
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
        let cache = Cache::new(store);
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
    }
}
