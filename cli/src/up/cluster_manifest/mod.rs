//! The manifest that a folder runs: what was given, what was kept from the last
//! start, and what was changed by hand in between.
//!
//! All of it is plain functions of manifests; the folder stores what they decide.

pub mod changes;
mod check;
#[cfg(test)]
pub mod fixtures;
pub mod sizes;
#[cfg(test)]
mod tests;

use chord_operator::crd::{BadSpec, ChordCluster, ClusterManifestErrors, REPLACE_ANNOTATION};
use kube::ResourceExt;

use self::changes::set_replace;
use self::check::checked;
use self::sizes::start_and_most;

/// What runs when nobody gives a manifest.
const SMALL: &str = "\
apiVersion: chord.storage/v1alpha1
kind: ChordCluster
metadata:
  name: files
spec:
  nodes: 3
  storage:
    size: 1Gi
";

/// Manifests that the folder kept.
#[derive(Clone, Debug)]
pub struct KeptManifests {
    /// The one in force, with what was changed by hand.
    pub current: ChordCluster,
    /// The one that was last given; `None`: none ever was.
    pub given: Option<ChordCluster>,
    /// How many nodes the operator last wanted.
    pub nodes: Option<u32>,
}

/// Decides what runs. A change that could never come true is refused; a change
/// made by hand (`chord scale`, `drain`, `replace`) stays until the given manifest
/// itself changes in that place.
pub fn decide(
    given: Option<&ChordCluster>,
    kept: Option<&KeptManifests>,
) -> Result<ChordCluster, ClusterManifestErrors> {
    let Some(kept) = kept else {
        let mut first = match given {
            Some(given) => given.clone(),
            None => chord_operator::crd::parse_cluster_manifest(SMALL)?,
        };
        first.metadata.uid = Some(uuid::Uuid::new_v4().to_string());
        first.metadata.generation = Some(1);
        first.metadata.resource_version = None;
        first.metadata.managed_fields = None;
        first.status = None;
        let first = checked(first, None)?;
        return match too_few(&first) {
            None => Ok(first),
            Some(error) => Err(ClusterManifestErrors(vec![error])),
        };
    };
    let Some(given) = given else {
        return Ok(kept.current.clone());
    };
    let current = &kept.current;
    if given.name_any() != current.name_any() {
        return Err(ClusterManifestErrors(vec![BadSpec::new(
            "metadata.name",
            format!(
                "is {:?}, but this folder holds the data of {:?}: use another --dir, or the manifest of {1:?}",
                given.name_any(),
                current.name_any()
            ),
        )]));
    }
    let mut next = current.clone();
    next.metadata.labels = given.metadata.labels.clone();
    next.metadata.annotations = given.metadata.annotations.clone();
    next.spec = given.spec.clone();
    if let Some(before) = &kept.given {
        if before.spec.nodes == given.spec.nodes {
            next.spec.nodes = current.spec.nodes;
            let taken_out = current.spec.autoscaling.is_some() && next.spec.autoscaling.is_none();
            if taken_out && let Some(nodes) = kept.nodes {
                // What the autoscaler left stays, and is from now on what is asked for:
                // the manifest says what is, and any other number is a change.
                nodes_or_replication(&mut next, nodes);
            }
        }
        if before.spec.drained == given.spec.drained {
            next.spec.drained = current.spec.drained.clone();
        }
        let replace = |c: &ChordCluster| c.annotations().get(REPLACE_ANNOTATION).cloned();
        if replace(before) == replace(given) {
            set_replace(&mut next, replace(current));
        }
    }
    checked(next, Some(current))
}

fn nodes_or_replication(cluster: &mut ChordCluster, nodes: u32) {
    cluster.spec.nodes = nodes.max(u32::from(cluster.spec.replication));
}

/// A new cluster of which so many nodes are drained that it can never be formed.
fn too_few(first: &ChordCluster) -> Option<BadSpec> {
    let (start, _) = start_and_most(first);
    let drained = first.spec.drained.iter().filter(|o| **o < start).count();
    let left = start.saturating_sub(u32::try_from(drained).unwrap_or(u32::MAX));
    (left < u32::from(first.spec.replication)).then(|| {
        BadSpec::new(
            "spec.drained",
            format!(
                "leaves {left} of {start} nodes, and {} copies need as many: drain fewer, or begin with more nodes",
                first.spec.replication
            ),
        )
    })
}
