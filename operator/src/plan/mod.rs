//! The planner: `plan(spec, observed, memory, now) -> (Plan, Memory)`.

mod types;

pub use types::*;
