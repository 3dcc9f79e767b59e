//! The node's two ports over HTTP, and the connections of both ([`serve`]).
//!
//! The client port is HTTP as clients speak it, over the data path ([`crate::files`])
//! and what this node itself knows ([`this_node`]). All that a client sends is parsed
//! once into plain values (`request`); a route puts these together (`routes`), and
//! counts, logs and answers (`response`). `metrics` is the one registry of the node. The
//! [`peer_port`] is what other nodes and the operator ask.

mod connection;
mod failure;
mod metrics;
pub mod peer_port;
mod request;
mod response;
mod routes;
#[cfg(test)]
mod tests;
pub mod this_node;

pub use connection::{Limits, serve};
pub use routes::router;
