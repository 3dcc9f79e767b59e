//! Chunks: one plain file each, immutable, checked whenever they are touched.
//!
//! [`file`] is what such a file looks like, [`write`] how one comes into its
//! place, [`read`] how it is read and checked, [`settle`] what becomes of one that
//! is not as it should be, [`remove`] how it goes, [`index`] what is known of all.

pub(super) mod file;
mod index;
mod read;
mod remove;
mod settle;
mod write;

pub use write::ChunkWriter;
