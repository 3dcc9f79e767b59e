//! The status: what people see of the cluster, in figures and words.

mod conditions;
mod degraded;
mod figures;
mod findings;
mod phase;
mod spread;

use self::conditions::condition;
pub use self::findings::Findings;
use super::cluster::Cluster;
use super::input::Spec;
use super::output::{Phase, Status, StorageStatus};

/// The status of a cluster without a view.
pub fn without_view(spec: &Spec, target: u32, phase: Phase, message: &str) -> Status {
    let held = phase == Phase::Degraded;
    Status {
        phase: if spec.paused { Phase::Paused } else { phase },
        nodes: 0,
        ready_nodes: 0,
        desired_nodes: target,
        view: None,
        storage: StorageStatus::default(),
        autoscaling: None,
        conditions: vec![
            condition(
                "Ready",
                false,
                if held { "ViewUnknown" } else { "NotFormed" },
                message,
            ),
            condition(
                "Progressing",
                !held,
                if held { "Held" } else { "Forming" },
                message,
            ),
            condition(
                "Degraded",
                held,
                if held { "ViewUnknown" } else { "AsExpected" },
                if held { message } else { "" },
            ),
            condition("StorageHealthy", true, "AsExpected", ""),
            condition("ScalingLimited", false, "AsExpected", ""),
            condition("ScaleDownBlocked", false, "AsExpected", ""),
            conditions::paused(spec),
        ],
    }
}

/// The status of a cluster with a view.
pub fn with_view(cluster: &Cluster, found: Findings) -> Status {
    let missing = figures::missing(cluster);
    let lacking = figures::lacking(cluster);
    let storage = figures::storage(cluster);
    let quorum = figures::has_quorum(cluster, &missing);
    let degraded = degraded::degraded(cluster, &found, &missing, &lacking);
    let phase = phase::phase(cluster, &found, degraded.is_some());
    let full = conditions::nearly_full(cluster, &storage);
    let (reason, why) = degraded.clone().unwrap_or(("AsExpected", String::new()));
    let mut conditions = vec![
        conditions::ready(quorum, full.as_deref(), &lacking, &why),
        conditions::progressing(cluster, phase, &found),
        condition("Degraded", degraded.is_some(), reason, why),
        conditions::storage_healthy(full.as_deref(), &lacking),
        conditions::scaling_limited(&found),
        conditions::scale_down_blocked(&found),
        conditions::paused(cluster.spec),
    ];
    conditions.extend(spread::spread(cluster));
    let ready = cluster
        .view
        .new_table()
        .live()
        .filter(|m| cluster.here(m).is_some_and(|r| r.ready))
        .count();
    Status {
        phase,
        nodes: u32::try_from(cluster.view.old().members.len()).unwrap_or(u32::MAX),
        ready_nodes: u32::try_from(ready).unwrap_or(u32::MAX),
        desired_nodes: found.target,
        view: Some((cluster.view.epoch.0, cluster.view.state())),
        storage,
        autoscaling: found.autoscaling,
        conditions,
    }
}
