//! What the choice of a table goes by, and what it notes down.

use chord_types::Ordinal;

use crate::plan::cluster::Cluster;
use crate::plan::input::Millis;
use crate::plan::memory::Memory;
use crate::plan::view::note::{Note, Topic};

/// The choice of a table in one round.
pub struct Choice<'c, 'a> {
    /// The cluster as it is seen.
    pub cluster: &'c Cluster<'a>,
    /// What is remembered.
    pub memory: &'c Memory,
    /// The time of the round.
    pub now: Millis,
    /// Whether a change is under way.
    pub joint: bool,
    /// Why something that is wanted is not chosen.
    pub notes: Vec<Note>,
}

impl Choice<'_, '_> {
    /// Notes why something is not chosen.
    pub fn note(&mut self, topic: Topic, text: String) {
        self.notes.push(Note { topic, text });
    }

    /// Whether a member has not answered for as long as it takes to repair.
    pub fn long_silent(&self, ordinal: Ordinal) -> bool {
        self.memory.silent_since.get(&ordinal).is_some_and(|since| {
            self.now.0.saturating_sub(since.0) >= self.cluster.spec.repair_after_ms
        })
    }
}
