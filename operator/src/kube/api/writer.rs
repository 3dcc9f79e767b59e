//! Writing to the API server: server-side, with one field manager, only where
//! something differs, and never over an object that is not the cluster's own.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cache::{Cache, Caches, Watched};
use super::error::Error;
use crate::crd::node_settings::revision_of;
use crate::kube::names::{APPLIED, MANAGER, is_owned};
use crate::metrics::Metrics;

/// What was applied last, and what the object was then: when an API server has
/// normalised something (`1000m` is `1`), the object differs from what was applied
/// and yet nothing is to be done.
pub type Applied = HashMap<(String, String), (String, String)>;

/// Reads and writes the objects of one cluster.
pub struct Writer<'a> {
    /// The way to the API server.
    pub client: &'a Client,
    /// The objects as they were last seen.
    pub caches: &'a Caches,
    /// Every write is counted.
    pub metrics: &'a Metrics,
    /// The cluster's namespace.
    pub namespace: &'a str,
    /// The UID of the ChordCluster.
    pub owner: &'a str,
    /// What was applied last.
    pub applied: &'a mut Applied,
}

/// Whether an object may have been changed since it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Whatever it is now: what is applied does not depend on it.
    Anything,
    /// Only as it was read.
    AsRead,
}

impl Writer<'_> {
    /// The kind's own API in the cluster's namespace.
    pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    /// The object as it was last seen.
    pub fn seen<K: Watched>(&self, name: &str) -> Option<Arc<K>> {
        K::cache(self.caches).get(self.namespace, name)
    }

    fn cache<K: Watched>(&self) -> &Cache<K> {
        K::cache(self.caches)
    }

    /// The object of this name as the API server has it now, whoever it belongs to.
    pub async fn read<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        self.api::<K>()
            .get_opt(name)
            .await
            .map_err(Error::request(format!("reading {} {name}", K::kind(&()))))
    }

    /// The object of this name, if there is one and it is the cluster's own.
    pub async fn find<K: Watched>(&self, name: &str) -> Result<Option<Arc<K>>, Error> {
        let found = match self.seen::<K>(name) {
            Some(object) => Some(object),
            // What the watch does not show may be there without our labels.
            None => self.read(name).await?.map(Arc::new),
        };
        match found {
            Some(object) if !is_owned(object.meta(), self.owner) => Err(Error::NameConflict {
                kind: K::kind(&()).into_owned(),
                name: name.to_string(),
            }),
            other => Ok(other),
        }
    }

    /// Brings an object about.
    pub async fn ensure<K: Watched + Serialize>(&mut self, wanted: K) -> Result<Arc<K>, Error> {
        self.bring_about(wanted, Over::Anything).await
    }

    /// Brings an object about, only if it is still as it was read.
    pub async fn ensure_as_read<K: Watched + Serialize>(
        &mut self,
        wanted: K,
    ) -> Result<Arc<K>, Error> {
        self.bring_about(wanted, Over::AsRead).await
    }

    async fn bring_about<K: Watched + Serialize>(
        &mut self,
        mut wanted: K,
        over: Over,
    ) -> Result<Arc<K>, Error> {
        let kind = K::kind(&()).into_owned();
        let name = wanted.name_any();
        let live = self.find::<K>(&name).await?;
        let hash = revision_of(&wanted);
        wanted
            .annotations_mut()
            .insert(APPLIED.to_string(), hash.clone());
        let key = (kind.clone(), name.clone());
        if let Some(live) = &live {
            if live.meta().deletion_timestamp.is_some() {
                return Err(Error::BeingDeleted { kind, name });
            }
            let remembered = self.applied.get(&key).is_some_and(|(marker, applied)| {
                *marker == marker_of(live.as_ref()) && *applied == hash
            });
            if remembered || same(&wanted, live.as_ref()) {
                return Ok(live.clone());
            }
            wanted.meta_mut().uid = live.uid();
            if over == Over::AsRead {
                wanted.meta_mut().resource_version = live.resource_version();
            }
        }
        let mut params = PatchParams::apply(MANAGER);
        // Only over what is ours: in the moment between the look and the write,
        // somebody else's object may have come.
        params.force = live.is_some();
        let object = self
            .api::<K>()
            .patch(&name, &params, &Patch::Apply(&wanted))
            .await
            .map_err(Error::request(format!("applying {kind} {name}")))?;
        let (verb, done) = match live {
            Some(_) => ("apply", "changed"),
            None => ("create", "made"),
        };
        self.metrics.api_write(&kind, verb);
        tracing::info!("{kind} {}/{name} {done}", self.namespace);
        let object = self.cache().put(object);
        self.applied.insert(key, (marker_of(object.as_ref()), hash));
        Ok(object)
    }

    /// Creates an object where there is none.
    pub async fn create<K>(&self, object: &K) -> Result<K, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let (kind, name) = (K::kind(&()), object.name_any());
        let created = self
            .api::<K>()
            .create(&by_us(), object)
            .await
            .map_err(Error::request(format!("creating {kind} {name}")))?;
        self.metrics.api_write(&kind, "create");
        Ok(created)
    }

    /// The same of a kind that is watched: the next read sees it.
    pub async fn create_watched<K: Watched + Serialize>(
        &self,
        object: &K,
    ) -> Result<Arc<K>, Error> {
        let created = self.create(object).await?;
        Ok(self.cache().put(created))
    }

    /// Replaces an object of ours, under the resourceVersion in it.
    pub async fn replace<K: Watched + Serialize>(&self, object: &K) -> Result<Arc<K>, Error> {
        let (kind, name) = (K::kind(&()), object.name_any());
        let replaced = self
            .api::<K>()
            .replace(&name, &by_us(), object)
            .await
            .map_err(Error::request(format!("replacing {kind} {name}")))?;
        self.metrics.api_write(&kind, "replace");
        Ok(self.cache().put(replaced))
    }

    /// Changes some fields of an object of ours.
    pub async fn merge<K: Watched>(&self, name: &str, patch: &Value) -> Result<(), Error> {
        let kind = K::kind(&());
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..Default::default()
        };
        let object = self
            .api::<K>()
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .map_err(Error::request(format!("changing {kind} {name}")))?;
        self.metrics.api_write(&kind, "patch");
        self.cache::<K>().put(object);
        Ok(())
    }

    /// Deletes an object of ours, as it was seen and no other.
    pub async fn delete<K: Watched>(&self, object: &K, params: DeleteParams) -> Result<(), Error> {
        let name = object.name_any();
        let kind = K::kind(&());
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: object.uid(),
                resource_version: object.resource_version(),
            }),
            ..params
        };
        let answer = self
            .api::<K>()
            .delete(&name, &params)
            .await
            .map_err(Error::request(format!("deleting {kind} {name}")))?;
        self.metrics.api_write(&kind, "delete");
        tracing::info!("{kind} {}/{name} deleted", self.namespace);
        match answer.left() {
            Some(going) => {
                self.cache().put(going);
            }
            None => self.cache::<K>().forget(self.namespace, &name),
        }
        Ok(())
    }
}

/// In our name.
fn by_us() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.into()),
        ..Default::default()
    }
}

/// Which object it is and as what: changes when somebody changes the object, and not
/// with its status where the API server tells them apart.
pub fn marker_of(object: &impl Resource) -> String {
    let meta = object.meta();
    let uid = meta.uid.as_deref().unwrap_or_default();
    let going = if meta.deletion_timestamp.is_some() {
        " going"
    } else {
        ""
    };
    match meta.generation {
        Some(generation) if generation > 0 => format!("{uid} g{generation}{going}"),
        _ => format!(
            "{uid} v{}{going}",
            meta.resource_version.as_deref().unwrap_or_default()
        ),
    }
}

/// Whether the live object has everything that is wanted.
fn same(wanted: &impl Serialize, live: &impl Serialize) -> bool {
    match (serde_json::to_value(wanted), serde_json::to_value(live)) {
        (Ok(wanted), Ok(live)) => within(&wanted, &live),
        _ => false,
    }
}

/// Whether all of `wanted` is in `live`; what the API server filled in is more.
fn within(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Null, _) => true,
        (Value::Object(wanted), Value::Object(live)) => {
            wanted.iter().all(|(key, value)| match live.get(key) {
                Some(live) => within(value, live),
                // An API server drops what is empty.
                None => is_empty(value),
            })
        }
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(w, l)| within(w, l))
        }
        (wanted, live) => wanted == live,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_api_server_filled_in_is_no_difference() {
        let wanted =
            json!({"spec": {"replicas": 3, "ports": [{"port": 8080}]}, "status": null, "x": {}});
        let live = json!({"spec": {"replicas": 3, "ports": [{"port": 8080, "protocol": "TCP"}], "more": 1}});
        assert!(within(&wanted, &live));
    }

    #[test]
    fn what_somebody_changed_is_a_difference() {
        let wanted = json!({"spec": {"replicas": 3, "ports": [{"port": 8080}]}});
        assert!(!within(
            &wanted,
            &json!({"spec": {"replicas": 1, "ports": [{"port": 8080}]}})
        ));
        assert!(!within(
            &wanted,
            &json!({"spec": {"replicas": 3, "ports": []}})
        ));
        assert!(!within(&wanted, &json!({"spec": {"replicas": 3}})));
    }
}
