//! Who this node is.

use chord_types::{ClusterUid, DiskId, Ordinal};

/// What a node is known by. All of it is fixed while the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Such as files-1.
    pub name: String,
    /// The number in its name.
    pub ordinal: Ordinal,
    /// The disk that it runs on: a name with another disk is another member.
    pub disk: DiskId,
    /// The cluster that it belongs to.
    pub cluster: ClusterUid,
    /// How often the disk has been opened.
    pub boot: u64,
}

impl Identity {
    /// The name of the node at another ordinal: names differ in their number only.
    pub fn name_of(&self, ordinal: Ordinal) -> String {
        match self.name.rsplit_once('-') {
            Some((stem, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                format!("{stem}-{ordinal}")
            }
            _ => format!("{}-{ordinal}", self.name),
        }
    }
}
