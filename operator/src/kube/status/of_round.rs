//! The status of a round: for a plan, or for what kept it from one.

use chord_planner::plan;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use crate::crd::status::{ConditionNow, Context, stamp, time};
use crate::crd::{ChordCluster, ChordClusterStatus};
use crate::kube::names::selector_text;

/// The status for a plan.
pub fn planned(
    cluster: &ChordCluster,
    status: &plan::Status,
    extra: &[ConditionNow],
    previous: Option<&ChordClusterStatus>,
    now: plan::Millis,
) -> ChordClusterStatus {
    let name = cluster.name_any();
    let context = Context {
        name: &name,
        generation: cluster.metadata.generation.unwrap_or(0),
        selector: selector_text(&name),
        extra,
        previous,
        now,
    };
    ChordClusterStatus::build(status, &context)
}

/// The status where there is no plan: the figures as they were, with what is wrong
/// added. Whether the cluster still works is not known.
pub fn troubled(
    cluster: &ChordCluster,
    trouble: ConditionNow,
    previous: Option<&ChordClusterStatus>,
    now: plan::Millis,
) -> ChordClusterStatus {
    let generation = cluster.metadata.generation.unwrap_or(0);
    let mut status = previous.cloned().unwrap_or_else(|| ChordClusterStatus {
        phase: "Pending".into(),
        selector: selector_text(&cluster.name_any()),
        ..Default::default()
    });
    let before = std::mem::take(&mut status.conditions);
    let mut wrong = vec![trouble.clone()];
    if status.phase != "Pending" {
        status.phase = "Degraded".into();
        wrong.push(ConditionNow {
            kind: "Degraded".into(),
            ..trouble.clone()
        });
    }
    let rest = before
        .iter()
        .filter(|c| wrong.iter().all(|w| w.kind != c.type_))
        .cloned();
    status.conditions = rest
        .map(|c| match (c.type_.as_str(), c.status.as_str()) {
            ("Ready", "True") => Condition {
                status: "Unknown".into(),
                reason: trouble.reason.clone(),
                message: "the operator does not look after the cluster at present".into(),
                observed_generation: Some(generation),
                last_transition_time: time(now),
                ..c
            },
            _ => c,
        })
        .collect();
    status
        .conditions
        .extend(stamp(&wrong, &before, generation, now));
    status.observed_generation = generation;
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::parse_cluster_manifest;

    fn cluster() -> ChordCluster {
        parse_cluster_manifest("{apiVersion: chord.storage/v1alpha1, kind: ChordCluster, metadata: {name: files, generation: 4}, spec: {}}")
            .unwrap()
    }

    fn trouble() -> ConditionNow {
        ConditionNow {
            kind: "InvalidSpec".into(),
            status: true,
            reason: "InvalidSpec".into(),
            message: "spec.nodes: is 0".into(),
        }
    }

    #[test]
    fn trouble_leaves_the_figures_and_no_word_that_all_is_well() {
        let ready = ConditionNow {
            kind: "Ready".into(),
            status: true,
            reason: "Quorum".into(),
            message: String::new(),
        };
        let previous = ChordClusterStatus {
            phase: "Ready".into(),
            nodes: 3,
            conditions: stamp(&[ready], &[], 3, plan::Millis(1_000)),
            ..Default::default()
        };
        let status = troubled(&cluster(), trouble(), Some(&previous), plan::Millis(5_000));
        assert_eq!(
            (
                status.phase.as_str(),
                status.nodes,
                status.observed_generation
            ),
            ("Degraded", 3, 4)
        );
        let says = |kind: &str| {
            let found = status.conditions.iter().find(|c| c.type_ == kind);
            found.map(|c| c.status.as_str())
        };
        assert_eq!(says("Ready"), Some("Unknown"));
        assert_eq!(says("Degraded"), Some("True"));
        assert_eq!(says("InvalidSpec"), Some("True"));
        let again = troubled(&cluster(), trouble(), Some(&status), plan::Millis(9_000));
        assert_eq!(status, again, "the same trouble is no news");
        assert_eq!(
            troubled(&cluster(), trouble(), None, plan::Millis(0)).phase,
            "Pending"
        );
    }
}
