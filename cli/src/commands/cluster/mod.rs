//! The commands about the cluster: its state, its ring, and changes by hand.

pub mod by_hand;
pub mod find;
pub mod nodes;
pub mod ring;
pub mod status;
