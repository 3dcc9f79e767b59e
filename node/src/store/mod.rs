//! One disk: registers, chunks and dropped files.
//!
//! ```text
//! DIR/LOCK        held by the one process that has the disk open
//! DIR/meta.redb   identity, boot number, view, registers, promises, hints, indexes
//! DIR/chunks/     one file per chunk
//! DIR/dropped/    files kept by PUT /node/files
//! DIR/tmp/        writes in flight; emptied at start
//! DIR/ballast     room set aside for a full disk: see `engine/ballast.rs`
//! ```
//!
//! All metadata changes go through [`Store::transact`], in groups, and are on
//! the disk before it answers. Bytes are on the disk before the metadata that
//! speaks of them. What the disk gives back is checked before anybody gets it:
//! a damaged chunk is missing, a damaged record ends this disk's votes.
//!
//! From the bottom up: [`platform`] is the file system and the threads below
//! everything; `meta` the database and `records` what stands in it; `engine` an open
//! disk, its writer and its room; `files` how a file comes and goes; `chunk` and
//! `dropped` the two kinds of files; `open` how a disk is opened and repaired.

mod chunk;
mod dropped;
mod engine;
mod error;
mod files;
mod meta;
mod open;
pub mod platform;
mod records;
mod types;

#[cfg(test)]
mod tests;

pub use chunk::ChunkWriter;
pub use dropped::{DroppedBytes, DroppedWriter};
pub use engine::handle::Store;
pub use engine::shared::Fatal;
pub use error::{ChunkError, OpenError, StoreError, Why};
pub use meta::snapshot::ReadTxn;
pub use meta::txn::Txn;
pub use types::*;
