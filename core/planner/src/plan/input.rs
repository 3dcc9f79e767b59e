//! What the planner takes: what is wanted, and what the shell saw. Plain values of
//! the domain.
//!
//! Both shells (Kubernetes, and processes on one machine) translate to these;
//! neither claims, pods and evictions nor processes and folders appear here.

use std::collections::{BTreeMap, BTreeSet};

use chord_types::report::NodeReport;
use chord_types::{ClusterUid, DiskId, Ordinal, View};
use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, as the shell's clock gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// What is wanted, already validated and with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The cluster that the disks must belong to.
    pub cluster: ClusterUid,
    /// Number of nodes; with autoscaling, the number to form with.
    pub nodes: u32,
    /// Copies of every file.
    pub replication: u8,
    /// Bytes a node.
    pub storage_size: u64,
    /// Tokens of a node of the usual size.
    pub tokens_per_node: u32,
    /// Absent: `nodes` is obeyed.
    pub autoscaling: Option<Autoscaling>,
    /// Ordinals that shall own nothing; their nodes stay.
    pub drained: BTreeSet<Ordinal>,
    /// How long a member may be silent before it is repaired around.
    pub repair_after_ms: u64,
    /// Whether the disk of a node that was scaled in is deleted (after its proof).
    pub delete_scaled_disks: bool,
    /// Whether nothing may be changed.
    pub paused: bool,
    /// A disk that a person gives up as lost.
    pub replace: Option<DiskId>,
    /// Names the settings that a node runs with; a node of another revision is
    /// restarted, one at a time.
    pub revision: String,
}

/// Scaling on disk usage.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaling {
    /// Never fewer ordinals than this.
    pub min_nodes: u32,
    /// Never more ordinals than this.
    pub max_nodes: u32,
    /// Percent of capacity of the fullest node.
    pub scale_out_above: u8,
    /// Percent of capacity of the fullest node.
    pub scale_in_below: u8,
    /// How fast nodes may be added.
    pub scale_up: Behavior,
    /// How fast nodes may be removed.
    pub scale_down: Behavior,
}

/// As HorizontalPodAutoscaler's `behavior.scaleUp` and `scaleDown`.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// How far back recommendations count.
    pub stabilization_ms: u64,
    /// How many nodes may come or go in how long.
    pub policies: Vec<Policy>,
    /// Take the policy that allows most (`Max`), least (`Min`), or never scale.
    pub select: Select,
}

/// How many nodes may come or go in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many.
    pub amount: Amount,
    /// In how long.
    pub period_ms: u64,
}

/// A number of nodes or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many nodes.
    Nodes(u32),
    /// A share of the nodes that there are.
    Percent(u32),
}

/// Which policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// The one that allows most.
    Max,
    /// The one that allows least.
    Min,
    /// None: this direction is off.
    Disabled,
}

/// What the shell saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The view as it is stored (the ConfigMap, the file).
    pub stored: Stored,
    /// Every ordinal of which anything exists: a process, a pod, a disk.
    pub nodes: BTreeMap<Ordinal, Node>,
    /// Views that nodes hold and that are not the stored one, fetched by the
    /// shell when a report names a newer epoch, or another hash, than the stored
    /// view (or when nothing is stored), with the members that hold each.
    pub held: Vec<(View, BTreeSet<Ordinal>)>,
}

/// The view as it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Stored {
    /// Nothing is stored.
    #[default]
    Missing,
    /// There is something, and it cannot be read: never overwritten blindly.
    Unreadable(String),
    /// This view.
    View(Box<View>),
}

/// One ordinal, as seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// A process or pod is there, or is meant to be (an ordinal below the replicas
    /// of the StatefulSet), whether or not it answers.
    pub running: bool,
    /// The revision it runs with, where the shell knows it.
    pub revision: Option<String>,
    /// Its disk (a claim's volume, a folder) exists.
    pub disk_exists: bool,
    /// When it is being removed already.
    pub terminating: bool,
    /// Where it runs; `None`: that is not known (yet).
    pub site: Option<Site>,
    /// Its answer; `None`: it did not answer.
    pub report: Option<NodeReport>,
    /// Why it did not answer, or what is wrong with it.
    pub trouble: Option<Trouble>,
}

/// What is wrong with a node, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It did not answer; it may work all the same.
    Silent(String),
    /// Whoever runs it says that it does not work (image, scheduling, a process
    /// that ends again and again).
    Broken(String),
}

impl Trouble {
    /// The words alone.
    pub fn words(&self) -> &str {
        match self {
            Trouble::Silent(words) | Trouble::Broken(words) => words,
        }
    }
}

/// Where a node runs. What is missing here is known to be missing: a machine
/// without a zone, a shell without machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// `topology.kubernetes.io/zone` of the machine.
    pub zone: Option<String>,
    /// The machine: the Kubernetes node.
    pub machine: Option<String>,
}
