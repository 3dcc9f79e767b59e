//! The one endpoint: which nodes are ready, and leading connections to them.

pub mod proxy;
pub mod ready;
