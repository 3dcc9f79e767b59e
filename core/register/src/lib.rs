//! Registers: one value per file name, on the R owners of the name, changed by
//! single-key consensus (CASPaxos; Rystsov, "CASPaxos: Replicated State Machines
//! without logs", 2018). No log and no leader.
//!
//! - [`proposer`] and [`acceptor`]: one operation on one register.
//! - [`electorate`]: whose votes it needs, in a joint view of both tables.
//! - [`agreement`]: what the ballots at the owners prove.
//! - [`view_change`]: which views are taken, and what goes on voting in them.
//! - [`value`], [`condition`]: what a change makes of a value.

#![warn(missing_docs)]

pub mod acceptor;
pub mod agreement;
pub mod ballot;
pub mod condition;
pub mod electorate;
pub mod proposer;
#[cfg(test)]
mod simulation;
pub mod value;
pub mod view_change;

pub use ballot::Ballot;
pub use condition::{Condition, Tags};
pub use electorate::{Electorate, Voter};
pub use value::{Change, NewFile, OpId, Outcome, Pending, Value};
