//! A node of a cluster under test, and the ways to hurt one.

/// A node that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub ordinal: u32,
    pub name: String,
    /// Its client port.
    pub url: String,
}

/// Which thing is to be hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hurt {
    /// `kill -9`.
    Kill,
    /// Told to end: SIGTERM, or the deletion of the pod.
    Stop,
    /// The process and its disk gone: the folder, or pod and claim.
    Lose,
}
