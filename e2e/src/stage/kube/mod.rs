//! Clusters on a real Kubernetes, run by the real operator from its real chart.
//!
//! The cluster is the context named by `E2E_CONTEXT`, or the one made by
//! `e2e/cluster/up.sh`; an exported `KUBECONFIG` alone is never used, since it may
//! be somebody's production.

mod access;
mod cluster;
mod forward;
mod host;
mod kubernetes;
pub mod operator;
mod pods;
pub mod release;

pub use self::access::Access;
pub use self::cluster::{KubeCluster, chord_clusters};
pub use self::kubernetes::Kube;
