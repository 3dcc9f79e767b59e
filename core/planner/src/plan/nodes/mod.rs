//! The nodes: what runs at which ordinal, who is restarted next, and who is silent.

pub mod restart;
pub mod silence;
pub mod slots;
