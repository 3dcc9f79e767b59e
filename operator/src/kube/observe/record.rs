//! The cluster's record, read: the ConfigMap `NAME-view` with the view in force, the
//! planner's memory, and what was settled when the cluster was formed.

use std::sync::Arc;

use chord_planner::plan::{Memory, Stored};
use chord_types::{ClusterUid, View};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

/// The view, encoded.
pub const VIEW: &str = "view";
/// What stood in the place of the view and could not be read.
pub const UNREADABLE: &str = "view-unreadable";
/// The planner's memory, as JSON.
pub const MEMORY: &str = "memory";
/// The full reference of the nodes' image.
pub const IMAGE: &str = "image";
/// The UID that the disks belong to.
pub const CLUSTER: &str = "cluster";
/// The view, for people.
pub const SUMMARY: &str = "summary";

/// What the record holds.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The view as it is stored.
    pub view: Stored,
    /// What the planner remembers; absent where that is lost.
    pub memory: Option<Memory>,
    /// What was settled when the cluster was formed.
    pub pinned: Pinned,
    /// The object that it was read from.
    pub object: Option<Arc<ConfigMap>>,
}

/// What was settled when the cluster was formed, and stays so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// The full reference of the nodes' image.
    pub image: Option<String>,
    /// The UID that the disks belong to.
    pub cluster: Option<ClusterUid>,
}

impl Pinned {
    /// This, and where it says nothing, the other.
    pub fn or(self, other: Pinned) -> Pinned {
        Pinned {
            image: self.image.or(other.image),
            cluster: self.cluster.or(other.cluster),
        }
    }
}

impl Record {
    /// Reads the ConfigMap.
    pub fn read(object: Option<Arc<ConfigMap>>) -> Record {
        let Some(map) = object else {
            return Record::default();
        };
        let text = |key: &str| {
            map.data
                .as_ref()
                .and_then(|d| d.get(key))
                .filter(|t| !t.is_empty())
                .cloned()
        };
        let view = match map.binary_data.as_ref().and_then(|d| d.get(VIEW)) {
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
        Record {
            view,
            memory,
            pinned: Pinned {
                image: text(IMAGE),
                cluster: text(CLUSTER).map(ClusterUid),
            },
            object: Some(map),
        }
    }
}
