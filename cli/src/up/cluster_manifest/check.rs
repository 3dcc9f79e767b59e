//! The rules that an API server applies to a manifest, and those of one machine.

use chord_operator::crd::to_plan::cluster_uid;
use chord_operator::crd::{
    BadSpec, CLUSTER_UID_ANNOTATION, ChordCluster, ClusterManifestErrors, schema,
};
use chord_planner::plan;

use super::sizes::start_and_most;

/// More processes would stifle a machine before the first one serves. What
/// autoscaling adds is bounded by the disk, which all nodes share.
pub const MOST_HERE: u32 = 100;

/// The same rules that an API server applies, on a change the ones on changes too.
pub fn checked(
    mut next: ChordCluster,
    before: Option<&ChordCluster>,
) -> Result<ChordCluster, ClusterManifestErrors> {
    let value = |cluster: &ChordCluster| {
        serde_json::to_value(cluster).map_err(|e| {
            ClusterManifestErrors(vec![BadSpec::new(
                "the manifest",
                format!("cannot be written: {e}"),
            )])
        })
    };
    let old = before.map(&value).transpose()?;
    let mut errors = schema::check(&value(&next)?, old.as_ref());
    let (start, _) = start_and_most(&next);
    if start > MOST_HERE && before.is_none_or(|b| start_and_most(b).0 < start) {
        errors.push(BadSpec::new(
            "spec.nodes",
            format!("is {start}: `chord up` runs at most {MOST_HERE} nodes, all on this machine"),
        ));
    }
    if let Some(before) = before {
        if let (Ok(a), Ok(b)) = (cluster_uid(&next), cluster_uid(before))
            && a != b
        {
            errors.push(BadSpec::new(
                format!("metadata.annotations[{CLUSTER_UID_ANNOTATION}]"),
                "counts only when a cluster forms, and this one has: put it back as it was",
            ));
        }
        if next.spec != before.spec {
            next.metadata.generation = Some(before.metadata.generation.unwrap_or(0) + 1);
        }
    }
    if errors.is_empty()
        && let Err(error) = plan::Spec::try_from(&next)
    {
        errors.push(error);
    }
    if errors.is_empty() {
        Ok(next)
    } else {
        Err(ClusterManifestErrors(errors))
    }
}
