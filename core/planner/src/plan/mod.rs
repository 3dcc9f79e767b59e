//! The planner: `plan(spec, observed, memory, now) -> (Plan, Memory)`.
//!
//! A pure function: the same values give the same plan. One round takes at most
//! one step with the view; the next round sees what came of it. `round` is the
//! order of the steps: `view` finds the view in force, makes the first one, and says
//! which table is wanted and which view is next; `scale` says how many nodes are
//! wanted; `nodes` what runs where and which node takes new settings; `status` puts
//! it in words. `input`, `output` and `memory` are the values that come in and go
//! out, `cluster` and `fit` what the steps ask of them.

#![warn(missing_docs)]

mod cluster;
mod fit;
mod input;
mod memory;
mod nodes;
mod output;
mod round;
mod scale;
mod status;
#[cfg(test)]
mod tests;
mod transitions;
mod view;

pub use self::input::{
    Amount, Autoscaling, Behavior, Millis, Node, Observed, Policy, Select, Site, Spec, Stored,
    Trouble,
};
pub use self::memory::Memory;
pub use self::output::{
    AutoscalingStatus, Condition, Decision, Event, Phase, Plan, Slot, Status, StorageStatus,
};
pub use self::round::plan;
