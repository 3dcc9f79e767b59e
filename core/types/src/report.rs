//! What a node tells the operator about itself: `GET /peer/report`.
//!
//! The planner decides from these alone, so every field is a plain value and a
//! node that does not answer has none.

use serde::{Deserialize, Serialize};

use crate::protocol::Speaks;
use crate::view::{ClusterUid, DiskId, Epoch, Ordinal, ViewHash, ViewRef};

/// One node, as it sees itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// `files-1`.
    pub name: String,
    /// Its place in the cluster.
    pub ordinal: Ordinal,
    /// Its disk.
    pub disk: DiskId,
    /// The cluster of the view that its disk carries.
    pub cluster: Option<ClusterUid>,
    /// The program's version.
    pub version: String,
    /// The versions of the protocol that it speaks.
    #[serde(default)]
    pub speaks: Speaks,
    /// Grows with every start of this disk.
    pub boot: u64,
    /// The view it acts by.
    pub view: Option<ViewRef>,
    /// Disk open and sound, and this name with this disk in the current or next table.
    pub ready: bool,
    /// Room on its disk.
    pub space: Space,
    /// Files of which this node is the primary.
    pub files: u64,
    /// What is on its disk.
    pub inventory: Inventory,
    /// How far a change of view has come here.
    pub sync: Sync,
    /// How complete the copies of its names are.
    pub copies: Copies,
    /// Views that were refused for their content: `what, why`.
    #[serde(default)]
    pub refused_view: Option<String>,
    /// Why its disk takes nothing any more, damaged or broken: it votes on nothing,
    /// and what it held has to be brought elsewhere.
    #[serde(default)]
    pub failure: Option<String>,
}

/// Disk space, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// The smaller of the claim and the file system.
    pub capacity: u64,
    /// Allocated by our own files.
    pub used: u64,
    /// What clients may still write.
    pub available: u64,
    /// Names the device, so that nodes that share one can be seen.
    pub device: String,
}

/// What is on the disk, wherever it belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Registers that this node owns and votes with (tombstones included).
    pub registers: u64,
    /// Registers and chunks left over from ranges that it no longer owns; at
    /// least 1 while it has not looked since the view changed.
    pub hints: u64,
    /// Chunks.
    pub chunks: u64,
    /// Files dropped here that have not been taken over by their owners.
    pub dropped: u64,
}

impl Inventory {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.registers == 0 && self.hints == 0 && self.chunks == 0 && self.dropped == 0
    }
}

/// How far this node has brought what it held into the joint view's new table.
///
/// `settled` says, at exactly this epoch and hash: every register that this node
/// held when it took this view, in a range that changes, has been reconciled in
/// both tables since; and every chunk of a current manifest of its registers,
/// and every chunk it holds in a range that changes, is durable on all its
/// owners in the new table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// The view at which this was found.
    pub epoch: Epoch,
    /// That view's hash.
    pub hash: ViewHash,
    /// Whether all that this node has to bring over is there.
    pub settled: bool,
    /// Registers and chunks still to do.
    pub pending: u64,
    /// What it waits for, in words.
    pub waiting: Option<String>,
}

/// How complete the copies of what this node owns are, by its last full pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// The view at which the pass was made.
    pub epoch: Epoch,
    /// Whether that pass found all R copies of everything in all ranges.
    pub complete: bool,
    /// Copies known to be missing.
    pub missing: u64,
    /// Of these, the ones that the pass could not make again.
    #[serde(default)]
    pub unrepaired: u64,
    /// Why the last of those could not be made, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

impl Inventory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.registers + self.hints + self.chunks + self.dropped
    }
}
