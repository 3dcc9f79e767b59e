//! Applying what was built: server-side, with one field manager, only where
//! something differs, and never over an object that is not the cluster's own.

use std::collections::HashMap;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

use crate::crd::node_settings::revision_of;
use crate::kube::api::cache::{Cache, Kind};
use crate::kube::error::Error;
use crate::kube::names::{APPLIED, MANAGER, is_owned};
use crate::metrics::Metrics;

/// What was applied last, and what the object was then: when an API server has
/// normalised something (`1000m` is `1`), the object differs from what was applied
/// and yet nothing is to be done.
pub type Applied = HashMap<(String, String), (String, String)>;

/// Applies the objects of one cluster.
pub struct Applier<'a> {
    pub client: &'a Client,
    pub metrics: &'a Metrics,
    pub namespace: &'a str,
    /// The UID of the ChordCluster.
    pub owner: &'a str,
    pub applied: &'a mut Applied,
}

impl Applier<'_> {
    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    /// The object of this name, if there is one and it is the cluster's own.
    pub async fn find<K: Kind>(
        &self,
        cache: &Cache<K>,
        name: &str,
    ) -> Result<Option<Arc<K>>, Error> {
        let found = match cache.get(self.namespace, name) {
            Some(object) => Some(object),
            // What the watch does not show may be there without our labels.
            None => self
                .api::<K>()
                .get_opt(name)
                .await
                .map_err(Error::api(format!("reading {} {name}", K::kind(&()))))?
                .map(Arc::new),
        };
        match found {
            Some(object) if !is_owned(object.meta(), self.owner) => Err(Error::NameConflict {
                kind: K::kind(&()).into_owned(),
                name: name.to_string(),
            }),
            other => Ok(other),
        }
    }

    /// Brings an object about. `exactly`: only if it is still as it was read.
    pub async fn ensure<K: Kind + Serialize>(
        &mut self,
        cache: &Cache<K>,
        mut wanted: K,
        exactly: bool,
    ) -> Result<Arc<K>, Error> {
        let kind = K::kind(&()).into_owned();
        let name = wanted.name_any();
        let live = self.find(cache, &name).await?;
        let hash = revision_of(&wanted);
        wanted
            .annotations_mut()
            .insert(APPLIED.to_string(), hash.clone());
        let key = (kind.clone(), name.clone());
        if let Some(live) = &live {
            if live.meta().deletion_timestamp.is_some() {
                return Err(Error::Waiting(format!("{kind} {name} is being deleted")));
            }
            let remembered = self.applied.get(&key).is_some_and(|(marker, applied)| {
                *marker == marker_of(live.as_ref()) && *applied == hash
            });
            if remembered || same(&wanted, live.as_ref()) {
                return Ok(live.clone());
            }
            wanted.meta_mut().uid = live.uid();
            if exactly {
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
            .map_err(Error::api(format!("applying {kind} {name}")))?;
        self.metrics
            .write(&kind, if live.is_some() { "apply" } else { "create" });
        tracing::info!(
            "{kind} {}/{name} {}",
            self.namespace,
            if live.is_some() { "changed" } else { "made" }
        );
        let object = cache.put(object);
        self.applied.insert(key, (marker_of(object.as_ref()), hash));
        Ok(object)
    }

    /// Deletes an object of ours, as it was seen and no other.
    pub async fn delete<K: Kind>(
        &self,
        cache: &Cache<K>,
        object: &K,
        params: DeleteParams,
    ) -> Result<(), Error> {
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
            .map_err(Error::api(format!("deleting {kind} {name}")))?;
        self.metrics.write(&kind, "delete");
        tracing::info!("{kind} {}/{name} deleted", self.namespace);
        match answer.left() {
            Some(going) => {
                cache.put(going);
            }
            None => cache.forget(self.namespace, &name),
        }
        Ok(())
    }
}

/// Which object it is and as what: changes when somebody changes the object, and not with its status where the
/// API server tells them apart.
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
