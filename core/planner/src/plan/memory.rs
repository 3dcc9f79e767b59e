//! What the planner remembers from one round to the next.

use std::collections::BTreeMap;

use chord_types::Ordinal;
use serde::{Deserialize, Serialize};

use super::input::Millis;
use super::output::{Decision, Phase};

/// What the planner remembers between rounds; lost memory means hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The number of nodes that is wanted now (with autoscaling).
    pub target: Option<u32>,
    /// `spec.nodes` when it was last obeyed, so that taking autoscaling out
    /// keeps the members until it changes.
    pub nodes_obeyed: Option<u32>,
    /// Recommendations in the stabilisation windows: since when, how many nodes;
    /// each counts until the next one.
    pub recommendations: Vec<(Millis, u32)>,
    /// Scale events for the policies' rates: when, by how many (negative: in).
    pub scaled: Vec<(Millis, i32)>,
    /// Since when a member has not answered.
    pub silent_since: BTreeMap<Ordinal, Millis>,
    /// When the silence of somebody was last watched, about; `None` while all answer.
    pub watched: Option<Millis>,
    /// Since when the first of several new nodes has waited for the others.
    pub joiners_since: Option<Millis>,
    /// How many members there were when the data had last settled.
    pub settled_members: Option<u32>,
    /// Last decision, to tell transitions from repeats.
    pub last_decision: Option<(Decision, String, Millis)>,
    /// Last phase.
    pub last_phase: Option<Phase>,
}
