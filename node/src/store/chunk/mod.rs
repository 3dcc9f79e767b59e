//! Chunks: one plain file each, immutable, checked whenever they are touched.
//!
//! [`file`] is what such a file looks like, [`write`] how one comes into its
//! place, [`read`] how it is read, checked and removed.

pub(super) mod file;
mod read;
mod write;

pub use write::ChunkWriter;
