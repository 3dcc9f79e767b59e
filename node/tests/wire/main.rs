//! The release before this one, from its recorded bytes: what 0.1.0 wrote to its disk
//! and said on the peer port is read today, and what is written to it today is what it
//! wrote itself. And the release after this one: what it may say is refused in a way
//! that it understands, and changes nothing.
//!
//! `0.1.0/` was recorded once, by a program built from that release, and does not
//! change. `disk.txt` has the rows of its database and its files, `talk.txt` a whole
//! conversation with a node on that disk, `messages.txt` each kind of message. Bytes
//! are in hexadecimal, `-` stands for none.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, outside of `#[test]` itself"
)]

mod ahead;
mod asking;
mod disk;
mod expected;
mod harness;
mod messages;
mod recorded;
mod talk;
