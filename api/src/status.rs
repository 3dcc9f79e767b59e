//! `GET /status`: what one node says to people.

use chord_types::report::NodeReport;
use chord_types::view::{DiskId, Ordinal};
use serde::{Deserialize, Serialize};

/// `GET /status`: what one node says to people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// What the operator is told, too.
    #[serde(flatten)]
    pub report: NodeReport,
    /// Every background worker.
    pub workers: Vec<WorkerStatus>,
    /// How this node sees the members of the view.
    pub members: Vec<MemberStatus>,
}

/// A background worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// What it is called.
    pub name: String,
    /// `idle`, `working`, `waiting` or `failed`.
    pub state: String,
    /// What it does or waits for, in words.
    pub detail: String,
    /// Rounds finished since the start.
    pub rounds: u64,
    /// Things done since the start.
    pub done: u64,
    /// Errors since the start.
    pub errors: u64,
}

/// A member as another node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its number.
    pub ordinal: Ordinal,
    /// Its name.
    pub name: String,
    /// The disk that the view names.
    pub disk: DiskId,
    /// The base URL of its client port, as this node reaches it.
    pub address: String,
    /// Whether it answered lately.
    pub alive: bool,
    /// Whether the view has it marked as lost.
    pub out: bool,
    /// Whether it is in the table in force.
    pub in_old: bool,
    /// Whether it is in the table that a change leads to; where there is no change, in
    /// the one in force.
    pub in_new: bool,
    /// Its last report, where it answered.
    pub report: Option<NodeReport>,
}
