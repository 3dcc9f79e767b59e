//! The commands about the cluster: its state, its ring, and changes by hand.

pub mod by_hand;
pub mod find;
#[cfg(test)]
mod fixtures;
mod members;
pub mod nodes;
pub mod ring;
pub mod status;
