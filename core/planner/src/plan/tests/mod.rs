//! The planner's tests: a world of plain values, what the planner does in it in the
//! situations that people ask about, and what holds when everything goes wrong.

mod autoscaling;
mod scenarios;
mod simulation;
mod sites;
mod world;
