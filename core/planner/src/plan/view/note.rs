//! Why something that is wanted is not done now.

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A lost or silent member that cannot be repaired around.
    Repair,
    /// A node that cannot join.
    Join,
    /// The replication that cannot be had.
    Replication,
    /// A node that cannot leave or be drained.
    Leave,
    /// The view would get too large.
    Size,
}

/// Why something that is wanted is not done now.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// What it is about.
    pub topic: Topic,
    /// For people.
    pub text: String,
}
