//! Files kept on this node whoever owns them, until their owners have them.
//!
//! Of each there may be no other copy, so nothing here deletes one but
//! [`Store::dropped_remove`](super::Store::dropped_remove): a file that does not read
//! as it should stays.

pub(super) mod file;
mod read;
mod write;

pub use read::DroppedBytes;
pub use write::DroppedWriter;
