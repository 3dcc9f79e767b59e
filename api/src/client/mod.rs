//! HTTP clients: how they are made ([`builder`]), how they look names up
//! ([`resolver`]), and the operator's side of a node's peer port ([`NodeClient`]). The
//! client of the files is in [`crate::files`].

pub mod builder;
mod node;
pub mod resolver;

pub use node::{NOT_UNDERSTOOD, NodeClient, NodeError, bearer};

/// The innermost reason of an error: the outer ones repeat the URL and say no more.
pub fn reason(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}
