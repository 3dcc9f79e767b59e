//! From the resource to what the planner takes: text parsed, defaults filled in.

use chord_types::{ClusterUid, DiskId, Ordinal};
use kube::ResourceExt;

use super::autoscaling::{Autoscaling, Policy, PolicyType, ScalingRules, SelectPolicy};
use super::bad_spec::BadSpec;
use super::node_settings::NodeSettings;
use super::spec::{
    CLUSTER_UID_ANNOTATION, ChordCluster, MAX_NAME, REPLACE_ANNOTATION, RetentionPolicy,
};
use chord_planner::plan;

/// The cluster's UID: its own, or that of the deleted cluster whose disks it is
/// told to take over.
pub fn cluster_uid(cluster: &ChordCluster) -> Result<ClusterUid, BadSpec> {
    match cluster.annotations().get(CLUSTER_UID_ANNOTATION) {
        Some(uid)
            if !uid.is_empty() && uid.len() <= 64 && uid.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(ClusterUid(uid.clone()))
        }
        Some(_) => Err(BadSpec::new(
            format!("metadata.annotations[{CLUSTER_UID_ANNOTATION}]"),
            "must be the UID of the deleted ChordCluster whose disks this one takes over",
        )),
        None => cluster.uid().map(ClusterUid).ok_or_else(|| {
            BadSpec::new(
                "metadata.uid",
                "is missing: the cluster has not been stored anywhere yet",
            )
        }),
    }
}

/// The disk that shall be given up.
pub fn replaced(cluster: &ChordCluster) -> Result<Option<DiskId>, BadSpec> {
    let id = cluster.annotations().get(REPLACE_ANNOTATION);
    id.filter(|id| !id.is_empty())
        .map(|id| id.parse())
        .transpose()
        .map_err(|e: String| {
            BadSpec::new(
                format!("metadata.annotations[{REPLACE_ANNOTATION}]"),
                format!("{e}; it names the disk that shall be given up, and none is"),
            )
        })
}

impl TryFrom<&ChordCluster> for plan::Spec {
    type Error = BadSpec;

    /// `revision` is that of the settings alone; a shell that has more to a node
    /// (an image, say) puts its own there.
    fn try_from(cluster: &ChordCluster) -> Result<plan::Spec, BadSpec> {
        let spec = &cluster.spec;
        let name = cluster.name_any();
        if name.len() > MAX_NAME {
            return Err(BadSpec::new(
                "metadata.name",
                format!("must have at most {MAX_NAME} characters"),
            ));
        }
        if spec.nodes == 0 || spec.replication == 0 || spec.replication > 9 {
            return Err(BadSpec::new(
                "spec",
                "needs at least one node, and 1 to 9 copies",
            ));
        }
        if u32::from(spec.replication) > spec.nodes {
            return Err(BadSpec::new(
                "spec.replication",
                format!(
                    "is {}, which is more than the {} nodes",
                    spec.replication, spec.nodes
                ),
            ));
        }
        let settings = NodeSettings::new(spec)?;
        Ok(plan::Spec {
            cluster: cluster_uid(cluster)?,
            nodes: spec.nodes,
            replication: spec.replication,
            storage_size: settings.capacity,
            tokens_per_node: spec.ring.tokens_per_node,
            autoscaling: spec
                .autoscaling
                .as_ref()
                .map(|a| autoscaling(a, spec.replication))
                .transpose()?,
            drained: spec.drained.iter().copied().map(Ordinal).collect(),
            repair_after_ms: spec
                .repair_after
                .millis()
                .map_err(|e| BadSpec::new("spec.repairAfter", e))?,
            delete_scaled_disks: spec.storage.retention.when_scaled == RetentionPolicy::Delete,
            paused: spec.paused,
            replace: replaced(cluster)?,
            revision: settings.revision(),
        })
    }
}

fn autoscaling(a: &Autoscaling, replication: u8) -> Result<plan::Autoscaling, BadSpec> {
    let at = |field: &str| format!("spec.autoscaling.{field}");
    if a.min_nodes > a.max_nodes {
        return Err(BadSpec::new(
            at("minNodes"),
            "must not be more than maxNodes",
        ));
    }
    if a.min_nodes < u32::from(replication) {
        return Err(BadSpec::new(
            at("minNodes"),
            format!("must be at least the {replication} copies"),
        ));
    }
    if a.disk_usage.scale_in_below >= a.disk_usage.scale_out_above {
        return Err(BadSpec::new(
            at("diskUsage.scaleInBelow"),
            "must be less than scaleOutAbove",
        ));
    }
    Ok(plan::Autoscaling {
        min_nodes: a.min_nodes,
        max_nodes: a.max_nodes,
        scale_out_above: a.disk_usage.scale_out_above,
        scale_in_below: a.disk_usage.scale_in_below,
        scale_up: behavior(&a.behavior.scale_up, 0, &default_up()),
        scale_down: behavior(&a.behavior.scale_down, 300, &default_down()),
    })
}

fn default_up() -> [Policy; 2] {
    [
        Policy {
            kind: PolicyType::Pods,
            value: 4,
            period_seconds: 15,
        },
        Policy {
            kind: PolicyType::Percent,
            value: 100,
            period_seconds: 15,
        },
    ]
}

fn default_down() -> [Policy; 1] {
    [Policy {
        kind: PolicyType::Pods,
        value: 1,
        period_seconds: 60,
    }]
}

fn behavior(rules: &ScalingRules, window: u32, default: &[Policy]) -> plan::Behavior {
    let policies = if rules.policies.is_empty() {
        default
    } else {
        &rules.policies
    };
    plan::Behavior {
        stabilization_ms: u64::from(rules.stabilization_window_seconds.unwrap_or(window)) * 1000,
        policies: policies
            .iter()
            .map(|p| plan::Policy {
                amount: match p.kind {
                    PolicyType::Pods => plan::Amount::Nodes(p.value),
                    PolicyType::Percent => plan::Amount::Percent(p.value),
                },
                period_ms: u64::from(p.period_seconds) * 1000,
            })
            .collect(),
        select: match rules.select_policy.unwrap_or(SelectPolicy::Max) {
            SelectPolicy::Max => plan::Select::Max,
            SelectPolicy::Min => plan::Select::Min,
            SelectPolicy::Disabled => plan::Select::Disabled,
        },
    }
}
