//! What every process of ours asks of the machine that it runs on: file descriptors,
//! ports, room on a file system, and to be told when its parent has gone.
//!
//! One place for it, since a process that treats one of them carelessly ends where
//! another goes on: nothing here ends a process because something is scarce.

pub mod ballast;
pub mod descriptors;
pub mod listen;
pub mod parent;
pub mod replace;

pub use ballast::Ballast;
pub use descriptors::Descriptors;
