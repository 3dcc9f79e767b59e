//! The operator: a `ChordCluster` in, a running cluster out.
//!
//! `plan` decides, and knows neither Kubernetes nor processes; the shells around
//! it (Kubernetes, and processes on one machine) observe and carry out.

#![warn(missing_docs)]

pub mod clock;
pub mod crd;
pub mod kube;
pub mod local;
pub mod metrics;
pub mod nodes;
