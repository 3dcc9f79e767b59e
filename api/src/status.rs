//! `GET /status`: what one node says to people.

use chord_types::report::NodeReport;
use chord_types::view::{DiskId, Ordinal};
use serde::{Deserialize, Serialize};

/// `GET /status`: what one node says to people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
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
    pub ordinal: Ordinal,
    pub name: String,
    pub disk: DiskId,
    /// The base URL of its client port, as this node reaches it.
    pub address: String,
    /// Whether it answered lately.
    pub alive: bool,
    pub out: bool,
    pub in_old: bool,
    pub in_new: bool,
    /// Its last report, where it answered.
    pub report: Option<NodeReport>,
}
