//! `spec.autoscaling`: when nodes come and go by themselves, in the vocabulary of
//! HorizontalPodAutoscaler.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{int_schema, rules};

/// Lets disk usage decide how many nodes there are.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.minNodes <= self.maxNodes", "autoscaling.minNodes must not be more than autoscaling.maxNodes")
])))]
pub struct Autoscaling {
    /// Never fewer nodes than this. At least `replication`. Default 3.
    #[schemars(schema_with = "nodes_schema")]
    pub min_nodes: u32,
    /// Never more nodes than this. Default 12.
    #[schemars(schema_with = "nodes_schema")]
    pub max_nodes: u32,
    /// The thresholds.
    pub disk_usage: DiskUsage,
    /// How fast the number of nodes may change.
    pub behavior: Behavior,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Autoscaling {
            min_nodes: 3,
            max_nodes: 12,
            disk_usage: DiskUsage::default(),
            behavior: Behavior::default(),
        }
    }
}

/// The thresholds, in percent of the capacity of the fullest node.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.scaleInBelow < self.scaleOutAbove", "autoscaling.diskUsage.scaleInBelow must be less than scaleOutAbove, or nodes would come and go without end")
])))]
pub struct DiskUsage {
    /// Nodes are added while the fullest node uses more than this share of its disk,
    /// in percent, 1 to 95. Default 70.
    #[schemars(schema_with = "out_schema")]
    pub scale_out_above: u8,
    /// A node is removed when the fullest node uses less than this share of its
    /// disk, in percent, 0 (never) to 94, and the others would have room enough
    /// for its data. Default 40.
    #[schemars(schema_with = "in_schema")]
    pub scale_in_below: u8,
}

impl Default for DiskUsage {
    fn default() -> Self {
        DiskUsage {
            scale_out_above: 70,
            scale_in_below: 40,
        }
    }
}

/// How fast the number of nodes may change, as in HorizontalPodAutoscaler.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Behavior {
    /// For adding nodes. Default: no window; at most 4 nodes, or as many as there are,
    /// in 15 seconds, whichever is more.
    #[serde(skip_serializing_if = "ScalingRules::is_empty")]
    pub scale_up: ScalingRules,
    /// For removing nodes. Default: a window of 300 seconds; at most one node in 60
    /// seconds.
    #[serde(skip_serializing_if = "ScalingRules::is_empty")]
    pub scale_down: ScalingRules,
}

/// Rules for one direction.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingRules {
    /// Seconds, 0 to 3600, over which past recommendations are looked at: the one
    /// that changes least is followed. Default 0 for adding, 300 for removing.
    #[schemars(schema_with = "window_schema")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stabilization_window_seconds: Option<u32>,
    /// Which policy counts where several do: the one that allows most (`Max`) or
    /// least (`Min`); `Disabled` turns this direction off. Default Max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicy>,
    /// How many nodes may come or go in how long. Empty: the default of this
    /// direction.
    #[schemars(length(max = 16))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
}

impl ScalingRules {
    fn is_empty(&self) -> bool {
        self == &ScalingRules::default()
    }
}

/// Which policy counts.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "described variants become a oneOf, which a structural schema must not have"
)]
pub enum SelectPolicy {
    Max,
    Min,
    Disabled,
}

/// How many nodes may come or go in how long.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// What `value` counts: `Pods` (nodes), or `Percent` of the nodes there are.
    #[serde(rename = "type")]
    pub kind: PolicyType,
    /// How many, at least 1.
    #[schemars(schema_with = "value_schema")]
    pub value: u32,
    /// In how many seconds, 1 to 1800.
    #[schemars(schema_with = "period_schema")]
    pub period_seconds: u32,
}

/// What a policy counts.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "described variants become a oneOf, which a structural schema must not have"
)]
pub enum PolicyType {
    Pods,
    Percent,
}

fn nodes_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    int_schema(1, 1000)
}
fn out_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    int_schema(1, 95)
}
fn in_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    int_schema(0, 94)
}
fn window_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    int_schema(0, 3600)
}
fn value_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    int_schema(1, 1000)
}
fn period_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    int_schema(1, 1800)
}
