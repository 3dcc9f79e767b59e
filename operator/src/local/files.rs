//! The files between `chord up` and the operator's local shell.
//!
//! `chord up` plays the kubelet: it writes the manifest and says what runs; the
//! operator says what shall run. Every file is replaced whole, so that a reader
//! sees the one before or the one after, never a part.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chord_types::Ordinal;
use serde::{Deserialize, Serialize};

use crate::crd::ChordClusterStatus;

/// Where everything is, in the folder of one cluster.
#[derive(Clone, Debug)]
pub struct Paths {
    dir: PathBuf,
}

impl Paths {
    /// Of the cluster in this folder.
    pub fn new(dir: impl Into<PathBuf>) -> Paths {
        Paths { dir: dir.into() }
    }
    /// The ChordCluster as it is wanted; written by `chord up`.
    pub fn cluster_manifest(&self) -> PathBuf {
        self.dir.join("cluster.yaml")
    }
    /// The cluster's secret; written by `chord up`.
    pub fn secret(&self) -> PathBuf {
        self.dir.join("secret")
    }
    /// [`Nodes`]; written by `chord up`.
    pub fn nodes(&self) -> PathBuf {
        self.dir.join("run").join("nodes.json")
    }
    /// What belongs to the operator.
    pub fn operator(&self) -> PathBuf {
        self.dir.join("operator")
    }
    /// [`DesiredSlots`]; written by the operator.
    pub fn slots(&self) -> PathBuf {
        self.operator().join("slots.json")
    }
    /// The stored view, in its binary form.
    pub fn view(&self) -> PathBuf {
        self.operator().join("view.bin")
    }
    /// What the planner remembers.
    pub fn memory(&self) -> PathBuf {
        self.operator().join("memory.json")
    }
    /// [`StatusFile`]; written by the operator.
    pub fn status(&self) -> PathBuf {
        self.operator().join("status.json")
    }
    /// [`EventLine`]s, the newest last; bounded.
    pub fn events(&self) -> PathBuf {
        self.operator().join("events.jsonl")
    }
    /// Room for replacing these files on a full disk.
    pub fn ballast(&self) -> PathBuf {
        self.operator().join("ballast")
    }
    /// Held, while it runs, by the one operator of this folder.
    pub fn lock(&self) -> PathBuf {
        self.operator().join("lock")
    }
}

/// `operator/slots.json`: what shall run. An ordinal that is not named is left as
/// it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSlots {
    /// By the node's number.
    pub slots: BTreeMap<Ordinal, DesiredSlot>,
}

/// What shall be at one ordinal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DesiredSlot {
    /// A process with its disk. One that runs with another revision is restarted
    /// at once: the operator names a new revision for one node at a time.
    Running {
        /// A mark of the settings that it shall run with.
        revision: String,
    },
    /// No process.
    Absent {
        /// Whether the disk's folder goes, too.
        delete_disk: bool,
    },
}

/// `run/nodes.json`: what runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// By the node's number; those that have neither are not in it.
    pub nodes: BTreeMap<Ordinal, NodeProcess>,
}

/// One ordinal of which there is a process or a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeProcess {
    /// Absent where no process runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The base URL of its client port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_url: Option<String>,
    /// The base URL of its peer port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_url: Option<String>,
    /// The revision it was started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether its disk's folder exists.
    pub disk_exists: bool,
    /// Why it does not run, where it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// `operator/status.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusFile {
    /// As in the ChordCluster.
    pub status: ChordClusterStatus,
    /// As `chord nodes -o json` prints them.
    pub nodes: Vec<NodeLine>,
}

/// One node, for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeLine {
    /// The cluster's name and the node's number: `files-2`.
    pub name: String,
    /// The base URL of its client port.
    pub address: Option<String>,
    /// `Ready`, `Joining`, `Leaving`, `Down` or `Out`.
    pub state: String,
    /// Bytes; null, as the two below, where the node does not answer: zeros would say
    /// that it is empty.
    pub used: Option<u64>,
    /// Bytes.
    pub capacity: Option<u64>,
    /// Files of which it holds the manifest.
    pub files: Option<u64>,
    /// Absent where no process runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// A line of `operator/events.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// RFC 3339, UTC.
    pub at: String,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One word in CamelCase, which does not change: `ChangeStarted`.
    pub reason: String,
    /// What happened, in a sentence for people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_look_as_agreed() {
        let slots = DesiredSlots {
            slots: BTreeMap::from([
                (
                    Ordinal(0),
                    DesiredSlot::Running {
                        revision: "r".into(),
                    },
                ),
                (Ordinal(3), DesiredSlot::Absent { delete_disk: true }),
            ]),
        };
        let text =
            r#"{"slots":{"0":{"running":{"revision":"r"}},"3":{"absent":{"deleteDisk":true}}}}"#;
        assert_eq!(serde_json::to_string(&slots).unwrap(), text);
        assert_eq!(serde_json::from_str::<DesiredSlots>(text).unwrap(), slots);
        let nodes: Nodes = serde_json::from_str(
            r#"{"nodes":{"0":{"pid":7,"clientUrl":"http://127.0.0.1:1","peerUrl":"http://127.0.0.1:2",
                "revision":"r","diskExists":true},"4":{"diskExists":true}}}"#,
        )
        .unwrap();
        assert_eq!(nodes.nodes[&Ordinal(0)].pid, Some(7));
        assert!(nodes.nodes[&Ordinal(4)].pid.is_none() && nodes.nodes[&Ordinal(4)].disk_exists);
        let silent = serde_json::to_string(&NodeLine::default()).unwrap();
        let text =
            r#"{"name":"","address":null,"state":"","used":null,"capacity":null,"files":null}"#;
        assert_eq!(silent, text, "no figures of a node that does not answer");
    }
}
