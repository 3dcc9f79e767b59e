//! The Chord ring: finds the successor of an id, and knows who is alive.
//!
//! A sans-IO core: every part is a plain value with a `step`, without clock,
//! socket or randomness, so that the node, the simulator and the model checker
//! run the same code. The ring stays outside safety: nothing is lost when it is
//! wrong, and what decides who must hold a file is the view.
//!
//! - [`vnode`]: one virtual node, after Zave's corrected protocol; [`rules`]: what
//!   it goes by; `model` (tests only): every interleaving of a few of them.
//! - [`fingers`]: its far pointers, which make look-ups short.
//! - [`lookup`]: an iterative look-up, driven by the one who asks.
//! - [`confirm`]: whether what it found is still so.
//! - [`host`]: all virtual nodes of one storage node, timing, liveness.
//! - [`message`]: what virtual nodes say to each other; [`wire`]: how it travels.
//! - [`invariant`]: what must hold of a whole ring.
//! - [`sim`]: many hosts in virtual time, with faults.

pub mod circle;
pub mod confirm;
pub mod fingers;
pub mod host;
pub mod invariant;
pub mod lookup;
pub mod message;
#[cfg(test)]
mod model;
pub mod rules;
pub mod sim;
#[cfg(test)]
mod tests;
pub mod vnode;
#[cfg(test)]
mod vnode_tests;
pub mod wire;

pub use self::confirm::{Confirm, NextConfirm};
pub use self::host::{Config, Failure, Host, HostAction, Received};
pub use self::lookup::{Found, Lookup, LookupFailed, Next};
pub use self::message::{Envelope, Message, Peer, RequestId, Route, Standing, Word};
pub use self::rules::Rules;
pub use self::vnode::{Action, Event, Note, Vnode, Who};
