//! The first step of a round: what there is of a cluster.
//!
//! First what is stored ([`foundation`]), by which the resource is validated; then its
//! pods and claims, where they run, and what the nodes say ([`cluster`]).

pub mod machines;
pub mod nodes;
pub mod objects;
pub mod record;
pub mod stateful_set;

use std::collections::BTreeSet;
use std::sync::Arc;

use chord_api::client::{NodeClient, NodeError};
use chord_planner::plan::{Observed, Stored};
use chord_types::Ordinal;
use k8s_openapi::api::apps::v1::StatefulSet;

use self::machines::Machines;
use self::objects::Seen;
use self::record::{Pinned, Record};
use super::api::writer::Writer;
use super::failure::Kind;
use super::names::Names;
use crate::nodes::Reports;

/// Why a cluster could not be observed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object was not read, or is somebody else's.
    #[error(transparent)]
    Api(#[from] super::api::Error),
    /// This program could not ask its nodes, which says nothing of them.
    #[error("the nodes could not be asked")]
    Unasked(#[from] NodeError),
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Api(e) => e.kind(),
            Error::Unasked(_) => Kind::Internal,
        }
    }
}

/// What the rest of the cluster stands on.
pub struct Foundation {
    /// The record: view, memory, and what was settled.
    pub record: Record,
    /// The StatefulSet, if there is one.
    pub set: Option<Arc<StatefulSet>>,
}

impl Foundation {
    /// What was settled when the cluster was formed. Where the ConfigMap was lost, that
    /// is what the pods run with; where it is there without a view, nothing is settled
    /// yet.
    pub fn pinned(&self) -> Pinned {
        let formed_or_lost = self.record.object.is_none() || self.record.view != Stored::Missing;
        let set = self.set.as_deref().filter(|_| formed_or_lost);
        let running = set.map(stateful_set::pinned_in).unwrap_or_default();
        self.record.pinned.clone().or(running)
    }

    /// Whether pods may run, with the secret that there was.
    pub fn in_use(&self) -> bool {
        self.record.view != Stored::Missing || self.set.is_some()
    }

    /// Pods of the StatefulSet, if there is one.
    fn replicas(&self) -> Option<u32> {
        self.set.as_deref().map(stateful_set::replicas_of)
    }
}

/// Reads what is stored of a cluster.
pub async fn foundation(writer: &Writer<'_>, names: &Names) -> Result<Foundation, Error> {
    Ok(Foundation {
        record: Record::read(writer.find(&names.view()).await?),
        set: writer.find(&names.cluster).await?,
    })
}

/// What was seen of a cluster.
pub struct Observation {
    /// Its pods and claims.
    pub seen: Seen,
    /// What the planner goes by.
    pub observed: Observed,
    /// The addresses at which nodes were asked.
    pub targets: Vec<(Ordinal, String)>,
    /// What they answered.
    pub reports: Reports,
}

/// Finds the pods and claims of a cluster and asks its nodes. `wanted`, `shown`: nodes
/// that the resource and its status name; `heard`: the nodes that answered last time,
/// and after this those that did now.
pub async fn cluster(
    writer: &Writer<'_>,
    names: &Names,
    foundation: &Foundation,
    (wanted, shown): (u32, u32),
    machines: &Machines,
    nodes: &NodeClient,
    heard: &mut BTreeSet<Ordinal>,
) -> Result<Observation, Error> {
    let stored = foundation.record.view.clone();
    let replicas = foundation.replicas();
    let horizon = objects::horizon(&stored, replicas.unwrap_or(0), wanted, shown);
    let seen = objects::find(writer.caches, names, replicas, horizon);
    let targets = nodes::targets(&seen);
    let sites = machines.sites(writer.client, &seen.pods).await;
    let asked = nodes::observe(nodes, &seen, &targets, heard, sites, stored).await;
    let (observed, reports) = asked?;
    Ok(Observation {
        seen,
        observed,
        targets,
        reports,
    })
}

#[cfg(test)]
mod tests {
    use chord_types::ClusterUid;

    use super::*;

    #[test]
    fn what_was_settled_is_asked_of_the_pods_where_the_record_is_lost() {
        let set: StatefulSet = serde_json::from_value(serde_json::json!({"spec": {
            "selector": {}, "template": {"spec": {"containers": [
                {"name": "node", "image": "r/n:1", "args": ["--cluster-uid", "u7"]}
            ]}}
        }}))
        .unwrap();
        let running = stateful_set::pinned_in(&set);
        let mut foundation = Foundation {
            record: Record {
                pinned: Pinned {
                    image: Some("r/n:2".into()),
                    cluster: None,
                },
                ..Default::default()
            },
            set: Some(Arc::new(set)),
        };
        assert_eq!(
            foundation.pinned(),
            Pinned {
                image: Some("r/n:2".into()),
                cluster: Some(ClusterUid("u7".into())),
            },
            "the ConfigMap was lost"
        );
        foundation.record.object = Some(Arc::default());
        foundation.record.pinned = Pinned::default();
        assert_eq!(
            foundation.pinned(),
            Pinned::default(),
            "not formed yet: another image, another cluster may still be asked for"
        );
        foundation.record.view = Stored::Unreadable("damaged".into());
        assert_eq!(foundation.pinned(), running);
    }
}
