//! HTTP clients: how they are made ([`builder`]), how they look names up
//! ([`resolver`]), and the operator's side of a node's peer port ([`NodeClient`]). The
//! client of the files is in [`crate::files`].

pub mod builder;
mod node;
pub mod resolver;

pub use node::{NOT_UNDERSTOOD, NodeClient, NodeError, bearer};
