//! What the planner takes and gives: plain values of the domain.
//!
//! Both shells (Kubernetes, and processes on one machine) translate to and from
//! these; neither claims, pods and evictions nor processes and folders appear
//! here.

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
    pub cluster: ClusterUid,
    pub nodes: u32,
    pub replication: u8,
    /// Bytes a node.
    pub storage_size: u64,
    pub tokens_per_node: u32,
    pub autoscaling: Option<Autoscaling>,
    /// Ordinals that shall own nothing; their nodes stay.
    pub drained: BTreeSet<Ordinal>,
    pub repair_after_ms: u64,
    /// Whether the disk of a node that was scaled in is deleted (after its proof).
    pub delete_scaled_disks: bool,
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
    pub min_nodes: u32,
    pub max_nodes: u32,
    /// Percent of capacity of the fullest node.
    pub scale_out_above: u8,
    pub scale_in_below: u8,
    pub scale_up: Behavior,
    pub scale_down: Behavior,
}

/// As HorizontalPodAutoscaler's `behavior.scaleUp` and `scaleDown`.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    pub stabilization_ms: u64,
    pub policies: Vec<Policy>,
    /// Take the policy that allows most (`Max`), least (`Min`), or never scale.
    pub select: Select,
}

/// How many nodes may come or go in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub amount: Amount,
    pub period_ms: u64,
}

/// A number of nodes or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Nodes(u32),
    Percent(u32),
}

/// Which policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    Max,
    Min,
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
    #[default]
    Missing,
    /// There is something, and it cannot be read: never overwritten blindly.
    Unreadable(String),
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

/// What the planner remembers between rounds; lost memory means hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The number of nodes that is wanted now (with autoscaling).
    pub target: Option<u32>,
    /// `spec.nodes` when it was last obeyed, so that taking autoscaling out
    /// keeps the members until it changes.
    pub nodes_obeyed: Option<u32>,
    /// Recommendations in the stabilisation windows: since when, how many nodes;
    /// each counts until the next one.
    pub recommendations: Vec<(Millis, u32)>,
    /// Scale events for the policies' rates: when, by how many (negative: in).
    pub scaled: Vec<(Millis, i32)>,
    /// Since when a member has not answered.
    pub silent_since: BTreeMap<Ordinal, Millis>,
    /// When the silence of somebody was last watched, about; `None` while all answer.
    pub watched: Option<Millis>,
    /// Since when the first of several new nodes has waited for the others.
    pub joiners_since: Option<Millis>,
    /// How many members there were when the data had last settled.
    pub settled_members: Option<u32>,
    /// Last decision, to tell transitions from repeats.
    pub last_decision: Option<(Decision, String, Millis)>,
    /// Last phase.
    pub last_phase: Option<Phase>,
}

/// What is to be done now. The shell carries it out in this order: write the
/// view (compare-and-swap against the stored one), push it to the nodes that
/// hold an older one, bring the slots about, write memory and status.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The view that shall be stored; `None`: leave what is there (or nothing).
    pub view: Option<View>,
    /// What shall be at each ordinal. An ordinal that is not named is left as it is.
    pub slots: BTreeMap<Ordinal, Slot>,
    /// Nodes to restart because their revision is old: at most one, and while a
    /// change is under way only one that is broken anyway.
    pub restart: Vec<Ordinal>,
    /// How many members may be down at once without a range losing its quorum:
    /// the disruption budget (0 while a change or a repair is under way).
    pub disruptions_allowed: u32,
    pub status: Status,
    pub events: Vec<Event>,
    /// Look again after this long at the latest, in milliseconds.
    pub again_ms: u64,
}

/// What shall be at one ordinal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A node of this revision, with its disk.
    Running { revision: String },
    /// Nothing; its disk kept or deleted. Only ever planned for an ordinal that is
    /// not in the view and whose node proved, at the current stable view, that its
    /// disk holds nothing; or that has no disk.
    Absent { delete_disk: bool },
}

/// Phases of `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Pending,
    Forming,
    Ready,
    ScalingOut,
    ScalingIn,
    Degraded,
    Paused,
}

/// What the autoscaler decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    Hold,
    ScaleOut,
    ScaleIn,
}

/// The domain's part of the status.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub phase: Phase,
    /// Members now.
    pub nodes: u32,
    pub ready_nodes: u32,
    pub desired_nodes: u32,
    /// Epoch and `Stable` or `Joint`.
    pub view: Option<(u64, &'static str)>,
    pub storage: StorageStatus,
    /// Absent without autoscaling.
    pub autoscaling: Option<AutoscalingStatus>,
    pub conditions: Vec<Condition>,
}

/// Disk usage of the members that answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorageStatus {
    /// Bytes.
    pub capacity: u64,
    /// Bytes.
    pub used: u64,
    pub used_percent: u32,
    pub fullest_node: Option<Ordinal>,
    pub fullest_percent: u32,
    /// Not known while primaries change, or do not answer: a part of them would look
    /// like a loss.
    pub files: Option<u64>,
}

/// The decision, its inputs and what blocks it, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoscalingStatus {
    pub decision: Decision,
    pub reason: String,
    /// When this decision was first made.
    pub at: Millis,
    pub blocked_by: Option<String>,
}

/// A condition of the status: `Ready`, `Progressing`, `Degraded`,
/// `StorageHealthy`, `ScalingLimited`, `ScaleDownBlocked`, `Paused`, and
/// `CopiesSpread` where it is known on which machines the members stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: &'static str,
    pub status: bool,
    /// CamelCase.
    pub reason: &'static str,
    pub message: String,
}

/// Something that happened, told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub warning: bool,
    /// CamelCase.
    pub reason: &'static str,
    pub message: String,
}
