//! The commands about files: storing, fetching, listing, deleting, checking.

pub mod get;
pub mod list;
mod locations;
mod names;
pub mod put;
pub mod remove;
pub mod stat;
pub mod verify;
