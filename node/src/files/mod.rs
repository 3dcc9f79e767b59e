//! The data path: what the client port asks of it.

pub mod coordinator;
pub mod dropbox;
pub mod error;
pub mod get;
mod list;
pub mod memory;
mod notices;
mod outcome;
mod pieces;
pub mod place;
pub mod put;
pub mod space;
pub mod verify;

use std::future::Future;
use std::ops::Range;

use bytes::Bytes;
use chord_api::http::{FileList, Verification};
use chord_types::{FileName, Manifest, Metadata};
use futures::stream::BoxStream;

use chord_register::Condition;

pub use error::Error;

/// A body: pieces as they come. An `Err` ends it: the request was broken off, a
/// digest does not match (in), or a copy could not be read to its end (out).
pub type Body = BoxStream<'static, Result<Bytes, Error>>;

/// A file to be stored.
pub struct Put {
    /// Under which name.
    pub name: FileName,
    /// The media type, as the client said it.
    pub content_type: Option<String>,
    /// Headers that are kept with the file.
    pub meta: Metadata,
    /// `Content-Length`, where the request has one.
    pub length: Option<u64>,
    /// What must hold of the version that it replaces.
    pub condition: Condition,
}

/// What a PUT did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutDone {
    /// The number that the new version has.
    pub version: u64,
    /// Without quotes.
    pub etag: String,
    /// Whether there was a current version before.
    pub replaced: bool,
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// What names begin with; empty: anything.
    pub prefix: String,
    /// Names after this one, in byte order; empty: from the start.
    pub after: String,
    /// 1 to 1 000.
    pub limit: usize,
    /// Names that have this behind the prefix are put together, up to it.
    pub delimiter: Option<String>,
}

/// The data path as the client port sees it.
pub trait Files: Clone + Send + Sync + 'static {
    /// The current version, linearizable; `None` where there is none.
    fn stat(&self, name: &FileName)
    -> impl Future<Output = Result<Option<Manifest>, Error>> + Send;

    /// The bytes `range` of a version that `stat` gave (within its size).
    fn read(&self, name: &FileName, manifest: &Manifest, range: Range<u64>) -> Body;

    /// Whether a PUT could be taken now, before its body is asked for:
    /// conditions (412 with the current tag) and space (507).
    fn admit(&self, put: &Put) -> impl Future<Output = Result<(), Error>> + Send;

    /// Stores a body; the conditions are evaluated again, exactly, at the commit.
    fn put(&self, put: Put, body: Body) -> impl Future<Output = Result<PutDone, Error>> + Send;

    /// Deletes; [`Error::NotFound`] where there is nothing. Returns the version that the
    /// deletion counts as.
    fn delete(
        &self,
        name: &FileName,
        condition: Condition,
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// A page of names.
    fn list(&self, query: ListQuery) -> impl Future<Output = Result<FileList, Error>> + Send;

    /// Every copy checked.
    fn verify(&self, name: &FileName) -> impl Future<Output = Result<Verification, Error>> + Send;

    /// Keeps a body on this node, whoever owns it.
    fn drop_here(&self, put: Put, body: Body) -> impl Future<Output = Result<(), Error>> + Send;
}
