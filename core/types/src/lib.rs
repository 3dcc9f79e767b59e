//! The words that every part of chord shares: identifiers, names, the view,
//! manifests and reports.
//!
//! Plain values without I/O. Every type that can be wrong is parsed once, at the
//! edge, by its constructor; past that point it is right.

#![warn(missing_docs)]

pub mod blocks;
mod hexadecimal;
pub mod id;
pub mod manifest;
pub mod metadata;
pub mod name;
pub mod protocol;
pub mod report;
pub mod upload;
pub mod view;

pub use hexadecimal::NotHexadecimal;
pub use id::{Id, Token};
pub use manifest::{ChunkRef, Manifest};
pub use metadata::Metadata;
pub use name::FileName;
pub use protocol::{ProtocolVersion, Speaks};
pub use upload::{ChunkId, UploadId};
pub use view::{ClusterUid, DiskId, Epoch, Member, Ordinal, Table, Tables, View};
