//! `spec`: what is wanted of a cluster.

use std::collections::BTreeSet;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::autoscaling::Autoscaling;
use super::pod::Pod;
use super::rules::{int_schema, rules};
use super::status::ChordClusterStatus;
use super::units::{Duration, Quantity};

/// The annotation that gives a lost disk up: its value is the disk's id.
pub const REPLACE_ANNOTATION: &str = "chord.storage/replace";
/// The annotation under which a new ChordCluster takes over the retained disks of
/// a deleted one: its value is the old one's UID. It counts only when the cluster
/// forms.
pub const CLUSTER_UID_ANNOTATION: &str = "chord.storage/cluster-uid";
/// The longest name of a ChordCluster.
pub const MAX_NAME: usize = 40;

/// A file store: storage nodes that form a ring, hold every file several times,
/// and whose number follows the disk space that the files need.
#[allow(
    clippy::duplicated_attributes,
    reason = "each column has a type of its own"
)]
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "chord.storage",
    version = "v1alpha1",
    kind = "ChordCluster",
    plural = "chordclusters",
    shortname = "chord",
    shortname = "cc",
    category = "all",
    namespaced,
    status = "ChordClusterStatus",
    derive = "PartialEq",
    doc = "ChordCluster is a file store: storage nodes that form a ring, hold every file several times, and whose number follows the disk space that the files need.",
    scale(
        spec_replicas_path = ".spec.nodes",
        status_replicas_path = ".status.nodes",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Nodes",
        type_ = "integer",
        json_path = ".status.nodes",
        description = "Members of the ring"
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.readyNodes",
        description = "Members that are ready"
    ),
    printcolumn(
        name = "Used",
        type_ = "integer",
        json_path = ".status.storage.usedPercent",
        description = "Disk space used, in percent"
    ),
    printcolumn(
        name = "Epoch",
        type_ = "integer",
        json_path = ".status.view.epoch",
        description = "Number of the view in force"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.replication <= self.nodes", "replication must not be more than nodes: every copy needs a node of its own"), 
    ("!has(self.autoscaling) || self.replication <= self.autoscaling.minNodes", "replication must not be more than autoscaling.minNodes: every copy needs a node of its own")
])))]
pub struct ChordClusterSpec {
    /// Number of storage nodes, 1 to 1000. Also set by `kubectl scale`. With
    /// `autoscaling` it is the number to start with and counts only then. Default 3.
    #[schemars(schema_with = "nodes_schema")]
    pub nodes: u32,

    /// Copies of every file, 1 to 9; never more than `nodes` or
    /// `autoscaling.minNodes`. With 1 or 2 copies, files cannot be written while one
    /// of their nodes is down. Default 3.
    #[schemars(schema_with = "replication_schema")]
    pub replication: u8,

    /// Size of the chunks that long files are cut into, 64Ki to 64Mi. A change is
    /// for files written after it. Default 4Mi.
    #[schemars(extend("x-kubernetes-validations" = rules(&[
        ("!isQuantity(self) || (quantity(self).compareTo(quantity('64Ki')) >= 0 && quantity(self).compareTo(quantity('64Mi')) <= 0)", "chunkSize must lie between 64Ki and 64Mi")
    ])))]
    pub chunk_size: Quantity,

    /// The disk of each node.
    pub storage: Storage,

    /// Lets disk usage decide how many nodes there are. Absent: `nodes` is obeyed.
    /// When it is taken out, the nodes stay as they are until `nodes` changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// Ordinals (the number at the end of a pod's name) of nodes that shall hold
    /// nothing: their data move to the others, their pods stay. Default: none.
    #[schemars(schema_with = "drained_schema")]
    pub drained: BTreeSet<u32>,

    /// When a write is acknowledged. `Durable`: once most copies are synced to disk.
    /// `Relaxed`: once most copies are written; a node that was not shut down
    /// cleanly counts as having lost its disk. Default Durable.
    pub durability: Durability,

    /// How often each node looks for data that belong elsewhere and moves them.
    /// Default 1m.
    pub migrate_every: Duration,

    /// How often each node looks for copies that are missing and makes them.
    /// Default 1m.
    pub replicate_every: Duration,

    /// How long copies that are no longer needed are kept after all needed ones are
    /// proven. Default 10m.
    pub drop_redundant_after: Duration,

    /// How long a node may be silent before its data are copied to others. At once
    /// where its disk is known to be lost. Default 15m.
    pub repair_after: Duration,

    /// How the ring is made.
    pub ring: Ring,

    /// True: the operator changes nothing (no node comes, goes or restarts); reading
    /// and writing files go on. Default false.
    pub paused: bool,

    /// Whether a NetworkPolicy is made for the nodes.
    pub network_policy: NetworkPolicy,

    /// Reserved for encryption of connections; has no fields yet. Connections
    /// are not encrypted.
    pub tls: Tls,

    /// The image of the nodes. What is not set is the operator's own choice at the time
    /// the cluster is formed, and stays so when the operator is upgraded.
    pub image: Image,

    /// What the pods of the nodes get beyond what the operator sets.
    pub pod: Pod,
}

impl Default for ChordClusterSpec {
    fn default() -> Self {
        ChordClusterSpec {
            nodes: 3,
            replication: 3,
            chunk_size: Quantity::new("4Mi"),
            storage: Storage::default(),
            autoscaling: None,
            drained: BTreeSet::new(),
            durability: Durability::Durable,
            migrate_every: Duration::new("1m"),
            replicate_every: Duration::new("1m"),
            drop_redundant_after: Duration::new("10m"),
            repair_after: Duration::new("15m"),
            ring: Ring::default(),
            paused: false,
            network_policy: NetworkPolicy::default(),
            tls: Tls::default(),
            image: Image::default(),
            pod: Pod::default(),
        }
    }
}

/// The disk of each node.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Storage {
    /// Size of each node's volume. It may grow (where the storage class can expand
    /// volumes) and never shrinks; compared by value, so 10240Mi is 10Gi. At least
    /// 16Mi. Default 10Gi.
    #[schemars(extend("x-kubernetes-validations" = rules(&[
        ("!isQuantity(self) || quantity(self).compareTo(quantity('16Mi')) >= 0", "storage.size must be at least 16Mi"), 
        ("!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0", "storage.size must not shrink: volumes cannot; add nodes with smaller volumes in a new cluster instead")
    ])))]
    pub size: Quantity,

    /// Storage class of the volumes; empty: the default class. Immutable.
    #[schemars(length(max = 253))]
    #[schemars(extend("x-kubernetes-validations" = rules(&[
        ("self == oldSelf", "storage.className is immutable: volumes cannot change their class")
    ])))]
    pub class_name: String,

    /// What becomes of volumes that are no longer used.
    pub retention: Retention,
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            size: Quantity::new("10Gi"),
            class_name: String::new(),
            retention: Retention::default(),
        }
    }
}

/// What becomes of volumes that are no longer used.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// When the ChordCluster is deleted. `Retain` keeps the volumes, and so the
    /// files; `Delete` deletes those that were members. Default Retain.
    pub when_deleted: RetentionPolicy,
    /// When a node was scaled in, after it has proven that nothing is left on its
    /// volume. Default Delete.
    pub when_scaled: RetentionPolicy,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            when_deleted: RetentionPolicy::Retain,
            when_scaled: RetentionPolicy::Delete,
        }
    }
}

/// Keep a volume or delete it.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "described variants become a oneOf, which a structural schema must not have"
)]
pub enum RetentionPolicy {
    Retain,
    Delete,
}

/// When a write is acknowledged.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "described variants become a oneOf, which a structural schema must not have"
)]
pub enum Durability {
    Durable,
    Relaxed,
}

/// How the ring is made.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ring {
    /// Places that each node has on the ring, 1 to 256: more make ownership more
    /// even, fewer make the ring cheaper. Immutable. Default 64.
    #[schemars(schema_with = "tokens_schema")]
    #[schemars(extend("x-kubernetes-validations" = rules(&[
        ("self == oldSelf", "ring.tokensPerNode is immutable: all data would have to move")
    ])))]
    pub tokens_per_node: u32,

    /// How often each node checks its neighbours on the ring. Default 1s.
    pub stabilize_every: Duration,
}

impl Default for Ring {
    fn default() -> Self {
        Ring {
            tokens_per_node: 64,
            stabilize_every: Duration::new("1s"),
        }
    }
}

/// Whether a NetworkPolicy is made for the nodes.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicy {
    /// True: only the nodes and the operator reach the nodes' own port (8081); the
    /// clients' port (8080) is open to all. Default true.
    pub enabled: bool,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        NetworkPolicy { enabled: true }
    }
}

/// Reserved for encryption of connections; has no fields yet.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {}

/// The image of the nodes.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    /// Repository, with its registry. Empty: the operator's choice.
    #[schemars(length(max = 512), regex(pattern = r"^([a-zA-Z0-9._:/-]+)?$"))]
    pub repository: String,
    /// Tag, or a digest (`sha256:…`). Empty: the operator's choice.
    #[schemars(length(max = 128), regex(pattern = r"^([a-zA-Z0-9._:-]+)?$"))]
    pub tag: String,
    /// When the image is pulled. Absent: Kubernetes' default for the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Names of the Secrets with which the image is pulled.
    #[schemars(length(max = 16))]
    pub pull_secrets: Vec<String>,
}

/// When an image is pulled.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "described variants become a oneOf, which a structural schema must not have"
)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// As a container's `imagePullPolicy` has it.
    pub fn name(self) -> &'static str {
        match self {
            PullPolicy::Always => "Always",
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Never => "Never",
        }
    }
}

fn nodes_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    int_schema(1, 1000)
}
fn replication_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    int_schema(1, 9)
}
fn tokens_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    int_schema(1, 256)
}
fn drained_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": int_schema(0, 999),
        "maxItems": 1000,
        "x-kubernetes-list-type": "set"
    })
}
