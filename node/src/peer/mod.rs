//! The peer port (8081): what nodes and the operator say to each other. Every
//! request carries the cluster's secret.

#![warn(missing_docs)]

pub mod address;
pub mod client;
pub mod ring;
pub mod wire;
