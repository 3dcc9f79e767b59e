//! What cannot be made a second time: the view with the planner's memory, in the
//! ConfigMap `NAME-view`, and the cluster's secret.
//!
//! The ConfigMap is created where there is none, and replaced under the
//! resourceVersion with which it was read; never applied, and never written from a
//! guess. The Secret is created once.

use std::collections::BTreeMap;
use std::sync::Arc;

use chord_types::{ClusterUid, View};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::crd::ChordCluster;
use crate::kube::api::cache::Cache;
use crate::kube::api::writer::Applier;
use crate::kube::error::Error;
use crate::kube::names::{
    INSTANCE, MANAGED_BY, MANAGER, Names, SECRET_KEY, VERSION, is_labelled, is_owned, meta,
};
use crate::kube::validate::Pinned;
use chord_planner::plan::{Memory, Stored};

const VIEW: &str = "view";
const UNREADABLE: &str = "view-unreadable";
const MEMORY: &str = "memory";
const IMAGE: &str = "image";
const CLUSTER: &str = "cluster";
const SUMMARY: &str = "summary";

/// What the ConfigMap holds.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub stored: Stored,
    pub memory: Option<Memory>,
    pub pinned: Pinned,
    /// The object that it was read from.
    pub object: Option<Arc<ConfigMap>>,
}

/// Reads the ConfigMap.
pub fn read(object: Option<Arc<ConfigMap>>) -> Kept {
    let Some(map) = object else {
        return Kept::default();
    };
    let text = |key: &str| {
        map.data
            .as_ref()
            .and_then(|d| d.get(key))
            .filter(|t| !t.is_empty())
            .cloned()
    };
    let stored = match map.binary_data.as_ref().and_then(|d| d.get(VIEW)) {
        None => Stored::Missing,
        Some(ByteString(bytes)) => match View::decode(bytes) {
            Ok(view) => Stored::View(Box::new(view)),
            Err(e) => Stored::Unreadable(e.to_string()),
        },
    };
    let memory = text(MEMORY).and_then(|json| {
        serde_json::from_str(&json)
            .inspect_err(|e| {
                tracing::warn!("the planner's memory of {} is lost: {e}", map.name_any())
            })
            .ok()
    });
    Kept {
        stored,
        memory,
        pinned: Pinned {
            image: text(IMAGE),
            cluster: text(CLUSTER).map(ClusterUid),
        },
        object: Some(map),
    }
}

/// The ConfigMap that keeps this; `view`: one that takes the place of what is stored.
fn written(
    cluster: &ChordCluster,
    kept: &Kept,
    view: Option<&View>,
    memory: &Memory,
    pinned: &Pinned,
) -> Result<ConfigMap, Error> {
    let mut map = match &kept.object {
        Some(object) => (**object).clone(),
        None => {
            let image = pinned.image.as_deref();
            let mut metadata = meta(
                cluster,
                Names::of(cluster).view(),
                image.unwrap_or_default(),
            );
            if let (None, Some(labels)) = (image, &mut metadata.labels) {
                labels.remove(VERSION);
            }
            ConfigMap {
                metadata,
                ..Default::default()
            }
        }
    };
    map.metadata.managed_fields = None;
    let memory = serde_json::to_string(memory)
        .map_err(|e| Error::Refused(format!("the planner's memory cannot be written down: {e}")))?;
    let data = map.data.get_or_insert_default();
    data.insert(MEMORY.into(), memory);
    for (key, value) in [
        (IMAGE, &pinned.image),
        (CLUSTER, &pinned.cluster.as_ref().map(|c| c.0.clone())),
    ] {
        if let Some(value) = value {
            data.insert(key.into(), value.clone());
        }
    }
    if let Some(view) = view {
        if let Stored::View(stored) = &kept.stored
            && (view.epoch <= stored.epoch || view.cluster != stored.cluster)
        {
            return Err(Error::Refused(format!(
                "view {} must not take the place of view {}: it is not newer, or of another cluster",
                view.epoch, stored.epoch
            )));
        }
        data.insert(SUMMARY.into(), summary(view));
        let binary = map.binary_data.get_or_insert_default();
        // What cannot be read is kept beside it, for people.
        if matches!(kept.stored, Stored::Unreadable(_))
            && let Some(bytes) = binary.get(VIEW).cloned()
        {
            binary.insert(UNREADABLE.into(), bytes);
        }
        binary.insert(VIEW.into(), ByteString(view.encode()));
    }
    Ok(map)
}

/// The view for people who look at the object.
fn summary(view: &View) -> String {
    let members = |table: &chord_types::Table| {
        table
            .members
            .iter()
            .map(|m| {
                format!(
                    "{} {}{}",
                    m.ordinal,
                    m.disk,
                    if m.out { " out" } else { "" }
                )
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut text = format!(
        "epoch {}, {}, members: {}",
        view.epoch,
        view.state(),
        members(view.old())
    );
    if view.stable().is_none() {
        text.push_str(&format!("; then: {}", members(view.new_table())));
    }
    text
}

impl Applier<'_> {
    /// Writes the ConfigMap: created if it was not there, replaced if it is still as
    /// it was read; otherwise an error, and the next round starts from what is there.
    pub async fn keep(
        &self,
        cache: &Cache<ConfigMap>,
        cluster: &ChordCluster,
        kept: &Kept,
        view: Option<&View>,
        memory: &Memory,
        pinned: &Pinned,
    ) -> Result<Kept, Error> {
        let map = written(cluster, kept, view, memory, pinned)?;
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace);
        let params = PostParams {
            field_manager: Some(MANAGER.into()),
            ..Default::default()
        };
        let name = map.name_any();
        let (object, verb) = match &kept.object {
            None => (api.create(&params, &map).await, "create"),
            Some(_) => (api.replace(&name, &params, &map).await, "replace"),
        };
        let object = object.map_err(Error::api(format!("writing ConfigMap {name}")))?;
        self.metrics.write("ConfigMap", verb);
        if let Some(view) = view {
            tracing::info!(
                "view of {}/{} is now {}",
                self.namespace,
                cluster.name_any(),
                summary(view)
            );
        }
        Ok(read(Some(cache.put(object))))
    }

    /// The cluster's secret: read, or made where there is none. `known`: the one
    /// that nodes run with already; if the object was deleted it gets that back.
    /// `in_use`: nodes may run with one; a new one would keep the operator from them.
    pub async fn secret(
        &self,
        cluster: &ChordCluster,
        image: &str,
        known: Option<&str>,
        in_use: bool,
    ) -> Result<String, Error> {
        let name = Names::of(cluster).secret();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let found = api
            .get_opt(&name)
            .await
            .map_err(Error::api(format!("reading Secret {name}")))?;
        if let Some(secret) = found {
            let ours = is_owned(&secret.metadata, self.owner)
                || is_labelled(&secret.metadata, &cluster.name_any());
            if !ours {
                return Err(Error::NameConflict {
                    kind: "Secret".into(),
                    name,
                });
            }
            let bytes = secret.data.as_ref().and_then(|d| d.get(SECRET_KEY));
            return bytes
                .and_then(|b| std::str::from_utf8(&b.0).ok())
                .map(|text| text.trim().to_string())
                .filter(|text| !text.is_empty())
                .ok_or_else(|| {
                    Error::Refused(format!(
                        "Secret {name} has no `{SECRET_KEY}`, which the nodes run with: put it back"
                    ))
                });
        }
        let value = to_make(known, in_use)?
            .ok_or_else(|| Error::Refused(lost_secret(&name, &cluster.name_any())))?;
        let secret = Secret {
            metadata: meta(cluster, name.clone(), image),
            data: Some(BTreeMap::from([(
                SECRET_KEY.to_string(),
                ByteString(value.clone().into_bytes()),
            )])),
            type_: Some("Opaque".into()),
            ..Default::default()
        };
        let params = PostParams {
            field_manager: Some(MANAGER.into()),
            ..Default::default()
        };
        api.create(&params, &secret)
            .await
            .map_err(Error::api(format!("creating Secret {name}")))?;
        self.metrics.write("Secret", "create");
        Ok(value)
    }
}

/// The secret to make where there is none; `None`: none may be made.
fn to_make(known: Option<&str>, in_use: bool) -> Result<Option<String>, Error> {
    match known {
        Some(known) => Ok(Some(known.to_string())),
        None if in_use => Ok(None),
        None => random_secret().map(Some),
    }
}

/// How to go on when the secret that nodes run with is gone.
fn lost_secret(name: &str, cluster: &str) -> String {
    format!(
        "Secret {name} is gone, and the nodes run with it; none is made in its place, since no node would answer to it. \
         Put it back from a copy, with the labels {MANAGED_BY}={MANAGER} and {INSTANCE}={cluster}. \
         If there is none: make one of that name and with those labels, with 32 random bytes in hex as `{SECRET_KEY}`, \
         and delete all pods of the cluster at once; its files cannot be reached until they are back"
    )
}

fn random_secret() -> Result<String, Error> {
    let mut bytes = [0u8; 32];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|e| Error::Refused(format!("there is no randomness for a secret: {e}")))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use chord_types::{DiskId, Member, Ordinal, Table, Token};

    use super::*;
    use crate::crd::parse_cluster_manifest;

    fn cluster() -> ChordCluster {
        let mut cluster = parse_cluster_manifest(
            "{apiVersion: chord.storage/v1alpha1, kind: ChordCluster, metadata: {name: files, namespace: data}, spec: {}}",
        )
        .unwrap();
        cluster.metadata.uid = Some("u1".into());
        cluster
    }

    fn view() -> View {
        let member = |n: u32| Member {
            ordinal: Ordinal(n),
            disk: DiskId::random(),
            tokens: vec![Token(u64::from(n) + 1)],
            zone: None,
            machine: None,
            out: false,
        };
        let table = Table {
            replication: 3,
            members: (0..3).map(member).collect(),
        };
        View::first(ClusterUid("u1".into()), table).unwrap()
    }

    fn pinned() -> Pinned {
        Pinned {
            image: Some("r/n:1".into()),
            cluster: Some(ClusterUid("u1".into())),
        }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let memory = Memory {
            target: Some(5),
            ..Default::default()
        };
        let view = view();
        let map = written(
            &cluster(),
            &Kept::default(),
            Some(&view),
            &memory,
            &pinned(),
        )
        .unwrap();
        assert_eq!(map.metadata.name.as_deref(), Some("files-view"));
        let kept = read(Some(Arc::new(map)));
        assert_eq!(kept.stored, Stored::View(Box::new(view)));
        assert_eq!(kept.memory, Some(memory));
        assert_eq!(kept.pinned, pinned());
    }

    #[test]
    fn nothing_stored_is_told_from_something_unreadable() {
        let map = written(
            &cluster(),
            &Kept::default(),
            None,
            &Memory::default(),
            &pinned(),
        )
        .unwrap();
        assert_eq!(read(Some(Arc::new(map.clone()))).stored, Stored::Missing);
        let mut broken = map;
        broken.binary_data = Some([("view".to_string(), ByteString(vec![9, 9]))].into());
        let kept = read(Some(Arc::new(broken)));
        assert!(matches!(kept.stored, Stored::Unreadable(_)));
        let repaired = written(
            &cluster(),
            &kept,
            Some(&view()),
            &Memory::default(),
            &pinned(),
        )
        .unwrap();
        let binary = repaired.binary_data.unwrap();
        assert_eq!(binary[UNREADABLE], ByteString(vec![9, 9]));
    }

    #[test]
    fn an_older_or_a_foreign_view_never_takes_the_place_of_a_newer() {
        let first = view();
        let second = first
            .change_to(first.old().clone())
            .and_then(|v| v.abandon())
            .unwrap();
        let kept = |view: &View| Kept {
            stored: Stored::View(Box::new(view.clone())),
            ..Default::default()
        };
        let write = |kept: &Kept, view: &View| {
            written(&cluster(), kept, Some(view), &Memory::default(), &pinned())
        };
        assert!(write(&kept(&first), &second).is_ok());
        assert!(write(&kept(&second), &first).is_err());
        assert!(write(&kept(&second), &second).is_err());
        let foreign = View {
            cluster: ClusterUid("u2".into()),
            ..second
        };
        assert!(write(&kept(&first), &foreign).is_err());
    }

    #[test]
    fn before_the_cluster_is_formed_no_image_is_settled() {
        let none = Pinned::default();
        let map = written(
            &cluster(),
            &Kept::default(),
            None,
            &Memory::default(),
            &none,
        )
        .unwrap();
        let labels = map.metadata.labels.clone().unwrap();
        assert!(!labels.contains_key(VERSION) && labels.contains_key(INSTANCE));
        let kept = read(Some(Arc::new(map)));
        assert_eq!((kept.pinned, kept.stored), (none, Stored::Missing));
    }

    #[test]
    fn a_secret_that_nodes_run_with_is_never_replaced_by_another() {
        assert_eq!(to_make(None, true).unwrap(), None);
        let known = Some("k".to_string());
        for in_use in [true, false] {
            assert_eq!(to_make(Some("k"), in_use).unwrap(), known);
        }
        assert!(to_make(None, false).unwrap().is_some());
        let words = lost_secret("files-secret", "files");
        let labels = [
            "app.kubernetes.io/instance=files",
            "managed-by=chord-operator",
        ];
        assert!(labels.iter().all(|l| words.contains(l)), "{words}");
    }

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (a, b) = (random_secret().unwrap(), random_secret().unwrap());
        assert_eq!(a.len(), 64);
        assert_ne!(a, b);
    }
}
