//! The client port: HTTP as clients speak it, over the data path ([`crate::files`])
//! and what this node itself knows ([`Local`]).
//!
//! Everything a client sends is parsed here, once, into plain values: the name
//! (`name`), the preconditions (`conditions`), the range (`range`), the digests
//! (`digest`) and the metadata (`kept`); `head` refuses what HTTP forbids. The handlers (`put`, `get`, `delete`,
//! `list`, `own`) put these together; `routes` finds the handler, counts and
//! logs; `server`, `places`, `gate` and `io` run the connections.

mod body;
mod browser;
mod changes;
mod chunked;
mod conditions;
mod delete;
mod digest;
mod gate;
mod get;
mod head;
mod io;
mod kept;
mod list;
mod local;
mod metrics;
mod name;
mod openapi;
mod own;
mod places;
mod problem;
mod put;
mod query;
mod range;
mod routes;
mod server;
mod structured;
#[cfg(test)]
mod tests;

pub use local::Local;
pub use routes::router;
pub use server::{Limits, serve};
