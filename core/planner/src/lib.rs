//! What is to be done now, and which tokens each node has.
//!
//! Pure: the same values give the same answer. The operator's shells (Kubernetes,
//! and processes on one machine) observe, ask [`plan`], and carry out.

pub mod plan;
pub mod tokens;
