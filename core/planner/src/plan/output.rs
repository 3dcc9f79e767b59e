//! What the planner gives: what is to be done now, and what people see of it.

use std::collections::BTreeMap;

use chord_types::{Ordinal, View};
use serde::{Deserialize, Serialize};

use super::input::Millis;

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
    /// What people see.
    pub status: Status,
    /// What happened, told once.
    pub events: Vec<Event>,
    /// Look again after this long at the latest, in milliseconds.
    pub again_ms: u64,
}

/// What shall be at one ordinal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A node of this revision, with its disk.
    Running {
        /// The settings that it is started with.
        revision: String,
    },
    /// Nothing; its disk kept or deleted. Only ever planned for an ordinal that is
    /// not in the view and whose node proved, at the current stable view, that its
    /// disk holds nothing; or that has no disk.
    Absent {
        /// Whether its disk goes too.
        delete_disk: bool,
    },
}

/// Phases of `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nodes that are to form the cluster are awaited.
    Pending,
    /// The first view is stored.
    Forming,
    /// All members answer, and none comes or goes.
    Ready,
    /// Nodes join.
    ScalingOut,
    /// Nodes leave.
    ScalingIn,
    /// A member or copies are missing, or nothing may be changed.
    Degraded,
    /// `spec.paused` is set.
    Paused,
}

/// What the autoscaler decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// As many nodes as there are.
    Hold,
    /// More nodes.
    ScaleOut,
    /// Fewer nodes.
    ScaleIn,
}

/// The domain's part of the status.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// In one word.
    pub phase: Phase,
    /// Members now.
    pub nodes: u32,
    /// Members that are ready.
    pub ready_nodes: u32,
    /// Ordinals that are wanted.
    pub desired_nodes: u32,
    /// Epoch and `Stable` or `Joint`.
    pub view: Option<(u64, &'static str)>,
    /// Disk usage.
    pub storage: StorageStatus,
    /// Absent without autoscaling.
    pub autoscaling: Option<AutoscalingStatus>,
    /// One of each kind.
    pub conditions: Vec<Condition>,
}

/// Disk usage of the members that answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorageStatus {
    /// Bytes.
    pub capacity: u64,
    /// Bytes.
    pub used: u64,
    /// Percent of the capacity of all.
    pub used_percent: u32,
    /// The member whose disk is fullest.
    pub fullest_node: Option<Ordinal>,
    /// Percent of its capacity.
    pub fullest_percent: u32,
    /// Files of all primaries.
    /// Not known while primaries change, or do not answer: a part of them would look
    /// like a loss.
    pub files: Option<u64>,
}

/// The decision, its inputs and what blocks it, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoscalingStatus {
    /// In one word.
    pub decision: Decision,
    /// Why, with the figures.
    pub reason: String,
    /// When this decision was first made.
    pub at: Millis,
    /// What is in the way, if anything.
    pub blocked_by: Option<String>,
}

/// A condition of the status: `Ready`, `Progressing`, `Degraded`,
/// `StorageHealthy`, `ScalingLimited`, `ScaleDownBlocked`, `Paused`, and
/// `CopiesSpread` where it is known on which machines the members stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: &'static str,
    /// Whether it is true.
    pub status: bool,
    /// CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Something that happened, told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether it is a warning.
    pub warning: bool,
    /// CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}
