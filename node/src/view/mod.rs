//! The view that this node acts by, who keeps it, and who this node is.

mod identity;
mod keeper;
pub mod members;
pub mod walk;

use chord_placement::Placements;
use chord_types::view::ViewRef;
use chord_types::{DiskId, Id, Ordinal, View};
use tokio::time::Instant;

pub use identity::Identity;
pub use keeper::{NotTaken, ViewKeeper};
pub use members::MemberIndex;
pub use walk::{Interrupted, Walk};

/// A view made ready for use.
#[derive(Debug)]
pub struct Current {
    /// As it was given.
    pub view: View,
    /// Its epoch and hash, which every request carries.
    pub reference: ViewRef,
    /// Who owns what, in each of its tables.
    pub placements: Placements,
    /// Who may speak on the ring.
    pub member_index: MemberIndex,
    /// Since when this process has known it.
    pub since: Instant,
    /// Whether this process has taken it; else it was on the disk at the start.
    pub taken_here: bool,
}

impl Current {
    /// Prepares a view.
    pub fn new(view: View, taken_here: bool) -> Current {
        Current {
            reference: view.reference(),
            placements: Placements::new(&view),
            member_index: MemberIndex::of(&view),
            since: Instant::now(),
            taken_here,
            view,
        }
    }

    /// Whether a disk owns a key in either table.
    pub fn owns(&self, disk: DiskId, key: &Id) -> bool {
        self.placements.owners(key).iter().any(|m| m.disk == disk)
    }

    /// The owners of a key in the table that the view leads to.
    pub fn target_owners(&self, key: &Id) -> Vec<(Ordinal, DiskId)> {
        let owners = self.placements.target().owners(key);
        owners.map(|m| (m.ordinal, m.disk)).collect()
    }

    /// How many copies the table that the view leads to wants.
    pub fn copies(&self) -> usize {
        usize::from(self.view.new_table().replication)
    }
}
