//! The Chord ring: finds the successor of an id, and knows who is alive.
//!
//! A sans-IO core: every part is a plain value with a `step`, without clock,
//! socket or randomness, so that the node, the simulator and the model checker
//! run the same code. The ring stays outside safety: nothing is lost when it is
//! wrong, and what decides who must hold a file is the view.
//!
//! - [`vnode`]: one virtual node, after Zave's corrected protocol, with the rules it
//!   goes by and its far pointers; `model` (tests only): every interleaving of a few.
//! - [`lookup`]: an iterative look-up, driven by the one who asks, and whether what
//!   it found is still so.
//! - [`host`]: all virtual nodes of one storage node, timing, liveness.
//! - [`message`]: what virtual nodes say to each other; [`wire`]: how it travels.
//! - [`invariant`]: what must hold of a whole ring.
//! - [`sim`]: many hosts in virtual time, with faults.

#![warn(missing_docs)]

pub mod circle;
pub mod host;
pub mod invariant;
pub mod lookup;
pub mod message;
#[cfg(test)]
mod model;
pub mod sim;
#[cfg(test)]
mod tests;
pub mod vnode;
pub mod wire;

pub use self::host::{Config, Failure, Host, HostAction, Received};
pub use self::lookup::confirm::{Confirm, NextConfirm};
pub use self::lookup::{Found, Lookup, LookupFailed, Next};
pub use self::message::{Envelope, Message, Peer, RequestId, Route, Standing, Word};
pub use self::vnode::rules::Rules;
pub use self::vnode::{Action, Event, Note, Vnode, Who};
