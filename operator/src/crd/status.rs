//! `status`: what people, `kubectl wait` and the scale subresource see.
//!
//! It is made from the planner's status by a pure function, so that both shells
//! show the same; `chord status` prints it too.

use chord_api::human;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use chord_planner::plan;

/// What the operator last saw and did.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChordClusterStatus {
    /// The generation of the resource that this status is about.
    pub observed_generation: i64,
    /// `Pending`, `Forming`, `Ready`, `ScalingOut`, `ScalingIn`, `Degraded` or `Paused`.
    pub phase: String,
    /// Members of the ring.
    #[schemars(schema_with = "count_schema")]
    pub nodes: u32,
    /// Members that are ready.
    #[schemars(schema_with = "count_schema")]
    pub ready_nodes: u32,
    /// Members that are wanted now.
    #[schemars(schema_with = "count_schema")]
    pub desired_nodes: u32,
    /// Selects the nodes' pods; for the scale subresource.
    pub selector: String,
    /// The view in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewStatus>,
    /// Disk usage of the members that answered.
    pub storage: StorageStatus,
    /// What the autoscaler decided; absent without autoscaling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
    /// `Ready`, `Progressing`, `Degraded`, `StorageHealthy`, `ScalingLimited`,
    /// `ScaleDownBlocked`, `Paused`; `CopiesSpread`, `NameConflict`, `InvalidSpec` and
    /// `ApplyFailed` where they apply.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

/// The view in force.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ViewStatus {
    /// Its number.
    #[schemars(schema_with = "long_schema")]
    pub epoch: u64,
    /// `Stable`, or `Joint` while a change is under way.
    pub tables: String,
}

/// Disk usage of the members that answered.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageStatus {
    /// Of all members, rounded.
    pub capacity: String,
    /// By all members, rounded.
    pub used: String,
    /// Percent of the capacity.
    #[schemars(schema_with = "count_schema")]
    pub used_percent: u32,
    /// The member whose disk is fullest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fullest_node: Option<String>,
    /// Percent of its capacity that the fullest member uses.
    #[schemars(schema_with = "count_schema")]
    pub fullest_percent: u32,
    /// Files, rounded to three digits.
    #[schemars(schema_with = "long_schema")]
    pub files: u64,
}

/// What the autoscaler decided, why, and what blocks it.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingStatus {
    /// `Hold`, `ScaleOut` or `ScaleIn`.
    pub decision: String,
    /// Why, with the figures.
    pub reason: String,
    /// Since when.
    pub at: Time,
    /// What is in the way, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
}

/// A condition before its times are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionNow {
    /// Its type: `Ready`, `Degraded` …
    pub kind: String,
    /// Whether it holds.
    pub status: bool,
    /// One word in CamelCase, for programs.
    pub reason: String,
    /// Why, in a sentence for people.
    pub message: String,
}

impl From<&plan::Condition> for ConditionNow {
    fn from(c: &plan::Condition) -> ConditionNow {
        ConditionNow {
            kind: c.kind.to_string(),
            status: c.status,
            reason: c.reason.to_string(),
            message: c.message.clone(),
        }
    }
}

/// What [`ChordClusterStatus::build`] needs beside the planner's status.
pub struct Context<'a> {
    /// The cluster's name; nodes are named after it.
    pub name: &'a str,
    /// The generation of the resource that was obeyed.
    pub generation: i64,
    /// The pods' label selector; empty where there are none.
    pub selector: String,
    /// Conditions that the shell adds; they replace the planner's of the same kind.
    pub extra: &'a [ConditionNow],
    /// The status as it is published: a condition that has not changed keeps its time.
    pub previous: Option<&'a ChordClusterStatus>,
    /// When the new one is made.
    pub now: plan::Millis,
}

impl ChordClusterStatus {
    /// The status to be shown for what the planner said.
    pub fn build(status: &plan::Status, context: &Context<'_>) -> ChordClusterStatus {
        let mut conditions: Vec<ConditionNow> = status
            .conditions
            .iter()
            .map(ConditionNow::from)
            .filter(|c| context.extra.iter().all(|e| e.kind != c.kind))
            .collect();
        conditions.extend(context.extra.iter().cloned());
        let before = context
            .previous
            .map(|p| p.conditions.as_slice())
            .unwrap_or_default();
        ChordClusterStatus {
            observed_generation: context.generation,
            phase: format!("{:?}", status.phase),
            nodes: status.nodes,
            ready_nodes: status.ready_nodes,
            desired_nodes: status.desired_nodes,
            selector: context.selector.clone(),
            view: status.view.map(|(epoch, tables)| ViewStatus {
                epoch,
                tables: tables.to_string(),
            }),
            storage: StorageStatus {
                capacity: human::quantity(status.storage.capacity),
                used: human::quantity(status.storage.used),
                used_percent: status.storage.used_percent,
                fullest_node: status
                    .storage
                    .fullest_node
                    .map(|o| format!("{}-{o}", context.name)),
                fullest_percent: status.storage.fullest_percent,
                // Else the last figure that was one of the whole.
                files: match (status.storage.files, context.previous) {
                    (Some(files), _) => three_digits(files),
                    (None, Some(previous)) => previous.storage.files,
                    (None, None) => 0,
                },
            },
            autoscaling: status.autoscaling.as_ref().map(|a| AutoscalingStatus {
                decision: format!("{:?}", a.decision),
                reason: a.reason.clone(),
                at: time(a.at),
                blocked_by: a.blocked_by.clone(),
            }),
            conditions: stamp(&conditions, before, context.generation, context.now),
        }
    }

    /// Whether `other` differs from this in nothing but figures (and words that
    /// carry figures): such a change can wait.
    pub fn differs_only_in_figures(&self, other: &ChordClusterStatus) -> bool {
        let plain = |s: &ChordClusterStatus| {
            let mut s = s.clone();
            s.storage = StorageStatus::default();
            if let Some(a) = &mut s.autoscaling {
                a.reason.clear();
                a.blocked_by = a.blocked_by.as_ref().map(|_| String::new());
            }
            for c in &mut s.conditions {
                c.message.clear();
            }
            s
        };
        plain(self) == plain(other)
    }
}

/// Conditions with their times: the time moves only when the status does.
pub fn stamp(
    now: &[ConditionNow],
    before: &[Condition],
    generation: i64,
    at: plan::Millis,
) -> Vec<Condition> {
    now.iter()
        .map(|c| {
            let status = if c.status { "True" } else { "False" };
            let last_transition_time = before
                .iter()
                .find(|b| b.type_ == c.kind && b.status == status)
                .map_or_else(|| time(at), |b| b.last_transition_time.clone());
            Condition {
                type_: c.kind.clone(),
                status: status.to_string(),
                reason: c.reason.clone(),
                message: c.message.clone(),
                observed_generation: Some(generation),
                last_transition_time,
            }
        })
        .collect()
}

/// A time for people: whole seconds, as the API server keeps them.
pub fn time(at: plan::Millis) -> Time {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(0);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn three_digits(n: u64) -> u64 {
    let mut unit = 1;
    while n / unit >= 1000 {
        unit *= 10;
    }
    n / unit * unit
}

fn count_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "integer", "format": "int32"})
}
fn long_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "integer", "format": "int64"})
}
fn conditions_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = Condition::json_schema(generator);
    schemars::json_schema!({
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(phase: plan::Phase, used: u64, ready: bool) -> plan::Status {
        plan::Status {
            phase,
            nodes: 3,
            ready_nodes: 3,
            desired_nodes: 3,
            view: Some((7, "Stable")),
            storage: plan::StorageStatus {
                capacity: 30 << 30,
                used,
                files: Some(12_345),
                ..Default::default()
            },
            autoscaling: None,
            conditions: vec![plan::Condition {
                kind: "Ready",
                status: ready,
                reason: "AllAnswer",
                message: "3 of 3".into(),
            }],
        }
    }

    fn build(
        s: &plan::Status,
        previous: Option<&ChordClusterStatus>,
        now: u64,
    ) -> ChordClusterStatus {
        ChordClusterStatus::build(
            s,
            &Context {
                name: "files",
                generation: 2,
                selector: "a=b".into(),
                extra: &[],
                previous,
                now: plan::Millis(now),
            },
        )
    }

    #[test]
    fn the_time_of_a_condition_moves_only_with_its_status() {
        let first = build(&status(plan::Phase::Ready, 0, true), None, 1_000_000);
        let second = build(
            &status(plan::Phase::Ready, 5 << 30, true),
            Some(&first),
            9_000_000,
        );
        assert_eq!(
            second.conditions[0].last_transition_time,
            first.conditions[0].last_transition_time
        );
        let third = build(
            &status(plan::Phase::Degraded, 0, false),
            Some(&second),
            9_000_000,
        );
        assert_ne!(
            third.conditions[0].last_transition_time,
            first.conditions[0].last_transition_time
        );
        assert_eq!(third.conditions[0].observed_generation, Some(2));
    }

    #[test]
    fn figures_alone_are_told_apart_from_the_rest() {
        let first = build(&status(plan::Phase::Ready, 0, true), None, 1_000);
        let fuller = build(
            &status(plan::Phase::Ready, 5 << 30, true),
            Some(&first),
            2_000,
        );
        assert_ne!(first, fuller);
        assert!(first.differs_only_in_figures(&fuller));
        let other = build(&status(plan::Phase::Degraded, 0, true), Some(&first), 2_000);
        assert!(!first.differs_only_in_figures(&other));
    }

    #[test]
    fn figures_are_rounded_for_people() {
        let s = build(
            &status(plan::Phase::Ready, (3 << 30) + 7, true),
            None,
            1_000,
        );
        assert_eq!(
            (
                s.storage.capacity.as_str(),
                s.storage.used.as_str(),
                s.storage.files
            ),
            ("30Gi", "3Gi", 12_300)
        );
        assert_eq!(s.phase, "Ready");
    }

    #[test]
    fn a_part_of_the_files_is_never_shown_as_all_of_them() {
        let whole = status(plan::Phase::Ready, 1, true);
        let first = build(&whole, None, 1_000);
        let mut part = whole.clone();
        part.storage.files = None;
        let second = build(&part, Some(&first), 2_000);
        assert_eq!(second.storage.files, first.storage.files);
        assert_eq!(build(&part, None, 2_000).storage.files, 0);
    }

    #[test]
    fn a_condition_of_the_shell_takes_the_place_of_the_planners() {
        let extra = [ConditionNow {
            kind: "Ready".into(),
            status: false,
            reason: "NameConflict".into(),
            message: "x".into(),
        }];
        let s = ChordClusterStatus::build(
            &status(plan::Phase::Ready, 0, true),
            &Context {
                name: "files",
                generation: 1,
                selector: String::new(),
                extra: &extra,
                previous: None,
                now: plan::Millis(0),
            },
        );
        assert_eq!(s.conditions.len(), 1);
        assert_eq!(s.conditions[0].reason, "NameConflict");
    }
}
