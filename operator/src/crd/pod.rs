//! `spec.pod`: what the pods of the nodes get beyond what the operator sets.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the pods of the nodes get beyond what the operator sets.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Processor and memory of the node's container.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Labels that a machine must have for a pod to be placed there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of machines that the pods tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Where pods are placed, and beside what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How pods are spread. Empty, and without affinity between pods: over machines
    /// and zones, as far as possible.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Priority class of the pods.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub priority_class_name: String,
    /// A service account that exists already. Empty: one is made, named after the
    /// cluster. Nodes never talk to the API server.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub service_account_name: String,
    /// More environment variables of the node's container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// More labels of the pods; the operator's own win. They restart nobody: a pod
    /// that runs keeps those that it has until it is made anew.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// More annotations of the pods; the operator's own win. As labels, they reach
    /// pods that are made from now on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Processor and memory of the node's container.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// The most it may use, such as `memory: 1Gi`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "amounts_schema")]
    pub limits: BTreeMap<String, IntOrString>,
    /// What is set aside for it, such as `cpu: 500m`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "amounts_schema")]
    pub requests: BTreeMap<String, IntOrString>,
}

impl Resources {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.requests.is_empty()
    }

    /// As a container has it.
    pub fn requirements(&self) -> Option<ResourceRequirements> {
        if self.is_empty() {
            return None;
        }
        let amounts = |map: &BTreeMap<String, IntOrString>| {
            (!map.is_empty()).then(|| {
                map.iter()
                    .map(|(name, amount)| {
                        let text = match amount {
                            IntOrString::Int(n) => n.to_string(),
                            IntOrString::String(s) => s.clone(),
                        };
                        (name.clone(), Quantity(text))
                    })
                    .collect()
            })
        };
        Some(ResourceRequirements {
            limits: amounts(&self.limits),
            requests: amounts(&self.requests),
            claims: None,
        })
    }
}

fn amounts_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "pattern": super::units::QUANTITY_PATTERN
        }
    })
}
