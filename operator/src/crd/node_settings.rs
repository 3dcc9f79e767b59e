//! The settings of a node's process, in numbers, and their place on its command
//! line. Both shells start nodes with them.

use serde::Serialize;
use sha1::{Digest, Sha1};

use super::bad_spec::BadSpec;
use super::spec::{ChordClusterSpec, Durability};

/// What every node of a cluster is started with. A change of any of these means
/// another revision, so that nodes are restarted one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSettings {
    /// Bytes.
    pub capacity: u64,
    /// Bytes.
    pub chunk_size: u64,
    /// `durable` or `relaxed`.
    pub durability: &'static str,
    /// Milliseconds between two passes of the migrator.
    pub migrate_every_ms: u64,
    /// Milliseconds between two passes of the replicator.
    pub replicate_every_ms: u64,
    /// Milliseconds that a copy stays which is no longer wanted.
    pub drop_redundant_after_ms: u64,
    /// Milliseconds between two rounds of the ring.
    pub stabilize_every_ms: u64,
}

impl NodeSettings {
    /// The settings that a spec asks for.
    pub fn new(spec: &ChordClusterSpec) -> Result<NodeSettings, BadSpec> {
        let millis =
            |path, d: &super::units::Duration| d.millis().map_err(|e| BadSpec::new(path, e));
        Ok(NodeSettings {
            capacity: spec
                .storage
                .size
                .bytes()
                .map_err(|e| BadSpec::new("spec.storage.size", e))?,
            chunk_size: spec
                .chunk_size
                .bytes()
                .map_err(|e| BadSpec::new("spec.chunkSize", e))?,
            durability: match spec.durability {
                Durability::Durable => "durable",
                Durability::Relaxed => "relaxed",
            },
            migrate_every_ms: millis("spec.migrateEvery", &spec.migrate_every)?,
            replicate_every_ms: millis("spec.replicateEvery", &spec.replicate_every)?,
            drop_redundant_after_ms: millis("spec.dropRedundantAfter", &spec.drop_redundant_after)?,
            stabilize_every_ms: millis("spec.ring.stabilizeEvery", &spec.ring.stabilize_every)?,
        })
    }

    /// As flags of `chord-node`.
    pub fn args(&self) -> Vec<String> {
        let mut args = Vec::new();
        let mut flag = |name: &str, value: String| args.extend([format!("--{name}"), value]);
        flag("capacity", self.capacity.to_string());
        flag("chunk-size", self.chunk_size.to_string());
        flag("durability", self.durability.to_string());
        flag("migrate-every-ms", self.migrate_every_ms.to_string());
        flag("replicate-every-ms", self.replicate_every_ms.to_string());
        flag(
            "drop-redundant-after-ms",
            self.drop_redundant_after_ms.to_string(),
        );
        flag("stabilize-every-ms", self.stabilize_every_ms.to_string());
        args
    }

    /// Names these settings: nodes with other settings have another revision.
    pub fn revision(&self) -> String {
        revision_of(self)
    }
}

/// A short name for a value: the same for the same, another for another.
pub fn revision_of(value: &impl Serialize) -> String {
    // A value of plain fields always serialises; were it ever not to, an empty
    // text would at least be the same each time.
    let text = serde_json::to_string(value).unwrap_or_default();
    hex::encode(&Sha1::digest(text.as_bytes())[..5])
}
