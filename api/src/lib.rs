//! What the node, the operator and the command line share: identifiers, the
//! view, placement, manifests, and the types that go over the wire.
//!
//! Nothing here opens a socket except [`client`] and [`files`], and nothing here knows
//! Kubernetes. Every type that can be wrong is parsed once, at the edge, by its
//! constructor; past that point it is right.

pub mod client;
pub mod files;
pub mod http;
pub mod human;
pub mod listen;
pub mod parent;
pub mod problem;
pub mod similar;
pub mod status;
