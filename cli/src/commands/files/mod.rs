//! The commands about files: storing, fetching, listing, deleting, checking.

pub mod get;
pub mod list;
pub mod put;
pub mod remove;
pub mod verify;

/// How many transfers or checks run side by side when there are many to do.
const AT_ONCE: usize = 4;
