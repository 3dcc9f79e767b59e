//! What the parts of a node note down for each other, in memory. All of it is lost
//! at a restart, and found again by a full pass.

pub mod readers;
