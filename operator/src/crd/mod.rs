//! The custom resource `ChordCluster`, `chord.storage/v1alpha1`.
//!
//! The Rust types here are the one source: the CustomResourceDefinition is
//! generated from them (`chord-operator crd`), the Kubernetes shell and `chord up`
//! both read them, and the comments on the fields are what `kubectl explain`
//! shows. What the types cannot say is a CEL rule beside the field it is about;
//! [`schema`] evaluates the same schema and the same rules without an API server.

pub mod autoscaling;
pub mod bad_spec;
pub mod cluster_manifest;
pub mod node_settings;
pub mod pod;
mod rules;
pub mod schema;
pub mod spec;
pub mod status;
#[cfg(test)]
mod tests;
pub mod to_plan;
pub mod units;

pub use self::autoscaling::{
    Autoscaling, Behavior, DiskUsage, Policy, PolicyType, ScalingRules, SelectPolicy,
};
pub use self::bad_spec::BadSpec;
pub use self::cluster_manifest::{ClusterManifestErrors, parse_cluster_manifest};
pub use self::node_settings::NodeSettings;
pub use self::pod::{Pod, Resources};
pub use self::spec::{
    CLUSTER_UID_ANNOTATION, ChordCluster, ChordClusterSpec, Durability, Image, MAX_NAME,
    NetworkPolicy, PullPolicy, REPLACE_ANNOTATION, Retention, RetentionPolicy, Ring, Storage, Tls,
};
pub use self::status::ChordClusterStatus;
pub use self::units::{Duration, Quantity};
