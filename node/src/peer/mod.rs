//! What nodes say to each other, and how it gets there: the messages, the other
//! nodes' addresses, the transport that carries them, and the judgement of what the
//! ring hears. Every request carries the cluster's secret.

pub mod address;
pub mod client;
pub mod error;
pub mod ring;
pub mod transport;
pub mod views;
pub mod wire;

pub use client::PeerClient;
pub use error::{Failure, PeerError};
pub use transport::Transport;
