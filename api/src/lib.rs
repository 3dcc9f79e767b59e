//! What the node, the operator and the command line share: the types that go over the
//! wire, the clients that send them, and how a process treats its machine.
//!
//! Only [`client`] and [`files`] connect to anything, and only [`host`] asks anything
//! of the machine. Nothing here knows Kubernetes. Every type that can be wrong is
//! parsed once, at the edge, by its constructor; past that point it is right.

#![warn(missing_docs)]

pub mod causes;
pub mod client;
pub mod files;
pub mod host;
pub mod http;
pub mod human;
pub mod problem;
pub mod retry;
pub mod similar;
pub mod status;
