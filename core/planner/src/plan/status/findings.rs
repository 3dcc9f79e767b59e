//! What a round found out, beside what the cluster itself shows.

use crate::plan::output::AutoscalingStatus;
use crate::plan::view::note::{Note, Topic};

/// What the round found out, beside what the cluster itself shows.
#[derive(Default)]
pub struct Findings {
    /// Ordinals that are wanted.
    pub target: u32,
    /// What the autoscaler decided.
    pub autoscaling: Option<AutoscalingStatus>,
    /// Why fewer, or more, nodes are wanted than would be recommended.
    pub limited: Option<String>,
    /// Why something that is wanted is not done now.
    pub notes: Vec<Note>,
    /// What is being changed, or what a change waits for.
    pub progress: Option<String>,
    /// Why nodes that shall go are still there.
    pub staying: Vec<String>,
    /// Nodes still run with older settings.
    pub rolling: Option<String>,
    /// Why nothing may be changed.
    pub held: Option<String>,
}

impl Findings {
    /// The notes on these topics, in words; empty: there are none.
    pub fn texts(&self, topics: &[Topic]) -> String {
        let mut texts: Vec<&str> = self
            .notes
            .iter()
            .filter(|n| topics.contains(&n.topic))
            .map(|n| n.text.as_str())
            .collect();
        texts.dedup();
        texts.join("; ")
    }
}
