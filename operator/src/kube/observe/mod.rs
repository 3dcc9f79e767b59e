//! What there is of a cluster: its pods and claims, its nodes' reports, its
//! machines.

pub mod machines;
pub mod nodes;
