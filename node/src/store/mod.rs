//! One disk: registers, chunks and dropped files.
//!
//! ```text
//! DIR/LOCK        held by the one process that has the disk open
//! DIR/meta.redb   identity, boot number, view, registers, promises, hints, indexes
//! DIR/chunks/     one file per chunk
//! DIR/dropped/    files kept by PUT /node/files
//! DIR/tmp/        writes in flight; emptied at start
//! ```
//!
//! All metadata changes go through [`Store::transact`], in groups, and are on
//! the disk before it answers. Bytes are on the disk before the metadata that
//! speaks of them.

pub mod types;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chord_api::report::Space;
use chord_api::{ChunkId, ClusterUid, DiskId, FileName, Id, View};
use futures::stream::BoxStream;

use crate::register::{Ballot, Value};
pub use types::*;

/// An open disk.
#[derive(Clone)]
pub struct Store(Arc<()>);

pub struct Txn<'a>(&'a ());
pub struct ReadTxn(());
pub struct ChunkWriter(());
pub struct DroppedWriter(());

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async)]
impl Store {
    pub fn open(options: Options) -> Result<Store, OpenError> { unimplemented!() }
    pub fn disk(&self) -> DiskId { unimplemented!() }
    pub fn boot(&self) -> u64 { unimplemented!() }
    pub fn cluster(&self) -> Option<ClusterUid> { unimplemented!() }
    /// The view on disk, as of the last finished transaction.
    pub fn view(&self) -> Option<Arc<View>> { unimplemented!() }
    pub fn counts(&self) -> Result<Counts, StoreError> { unimplemented!() }
    pub async fn transact<R, F>(&self, f: F) -> Result<R, StoreError>
    where F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static, R: Send + 'static { unimplemented!() }
    /// Like transact, in a database transaction of its own: for big changes (a view with `move_to_hints`).
    pub async fn transact_alone<R, F>(&self, f: F) -> Result<R, StoreError>
    where F: FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static, R: Send + 'static { unimplemented!() }
    pub async fn read<R, F>(&self, f: F) -> Result<R, StoreError>
    where F: FnOnce(&ReadTxn) -> Result<R, StoreError> + Send + 'static, R: Send + 'static { unimplemented!() }
    /// Writes what is outstanding and marks the disk as cleanly closed; later calls answer `Closed`.
    pub async fn close(&self) -> Result<(), StoreError> { unimplemented!() }

    pub fn space(&self) -> Space { unimplemented!() }
    pub fn admit(&self, bytes: u64, tier: Tier) -> Result<(), StoreError> { unimplemented!() }

    pub fn chunk_writer(&self, meta: ChunkMeta, tier: Tier) -> Result<ChunkWriter, ChunkError> { unimplemented!() }
    pub async fn chunk_read(&self, id: ChunkId, blocks: Range<u32>) -> Result<ChunkBlocks, ChunkError> { unimplemented!() }
    pub async fn chunk_has(&self, id: ChunkId) -> Result<Option<ChunkMeta>, StoreError> { unimplemented!() }
    /// Reads and checks every byte.
    pub async fn chunk_verify(&self, id: ChunkId) -> Result<ChunkMeta, ChunkError> { unimplemented!() }
    /// Whether it was there (as a file or in the index).
    pub async fn chunk_remove(&self, id: ChunkId) -> Result<bool, StoreError> { unimplemented!() }
    pub async fn chunk_set_committed(&self, ids: Vec<ChunkId>) -> Result<(), StoreError> { unimplemented!() }
    pub async fn chunks_after(&self, after: Option<ChunkId>, limit: usize) -> Result<Page<ChunkMeta, ChunkId>, StoreError> { unimplemented!() }
    pub async fn chunks_by_name(&self, after: Option<(FileName, ChunkId)>, limit: usize) -> Result<Page<ChunkMeta, (FileName, ChunkId)>, StoreError> { unimplemented!() }
    pub async fn chunks_of(&self, name: FileName, after: Option<ChunkId>, limit: usize) -> Result<Page<ChunkMeta, ChunkId>, StoreError> { unimplemented!() }
    /// Indexed, but gone or damaged.
    pub async fn chunks_missing(&self, after: Option<ChunkId>, limit: usize) -> Result<Page<ChunkMeta, ChunkId>, StoreError> { unimplemented!() }

    pub fn dropped_writer(&self, name: FileName, content_type: Option<String>, meta: Vec<(String, String)>, length: Option<u64>) -> Result<DroppedWriter, StoreError> { unimplemented!() }
    pub async fn dropped_list(&self, after: Option<DroppedId>, limit: usize) -> Result<Page<Dropped, DroppedId>, StoreError> { unimplemented!() }
    /// `None`: no such file. The stream ends with an error if the bytes are not those that were kept.
    pub async fn dropped_open(&self, id: DroppedId) -> Result<Option<(Dropped, BoxStream<'static, Result<Bytes, StoreError>>)>, StoreError> { unimplemented!() }
    pub async fn dropped_remove(&self, id: DroppedId) -> Result<bool, StoreError> { unimplemented!() }
}

#[allow(unused_variables, clippy::unimplemented)]
impl Txn<'_> {
    pub fn view(&self) -> Option<Arc<View>> { unimplemented!() }
    pub fn set_view(&mut self, view: &View) -> Result<(), StoreError> { unimplemented!() }
    pub fn promise(&self, name: &FileName) -> Result<Ballot, StoreError> { unimplemented!() }
    pub fn set_promise(&mut self, name: &FileName, ballot: Ballot) -> Result<(), StoreError> { unimplemented!() }
    pub fn clear_promises(&mut self) -> Result<(), StoreError> { unimplemented!() }
    pub fn register(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> { unimplemented!() }
    pub fn set_register(&mut self, name: &FileName, ballot: Ballot, value: &Value) -> Result<(), StoreError> { unimplemented!() }
    /// With its promise. Whether it was there.
    pub fn remove_register(&mut self, name: &FileName) -> Result<bool, StoreError> { unimplemented!() }
    pub fn hint(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> { unimplemented!() }
    pub fn set_hint(&mut self, name: &FileName, ballot: Ballot, value: &Value) -> Result<(), StoreError> { unimplemented!() }
    pub fn remove_hint(&mut self, name: &FileName) -> Result<bool, StoreError> { unimplemented!() }
    /// Every register (and promise) whose key satisfies `lost` becomes a hint; how many.
    pub fn move_to_hints(&mut self, lost: impl Fn(&Id) -> bool) -> Result<u64, StoreError> { unimplemented!() }
    /// Also the chunk index, so that callers can read both in one transaction.
    pub fn chunk(&self, id: ChunkId) -> Result<Option<ChunkMeta>, StoreError> { unimplemented!() }
}

#[allow(unused_variables, clippy::unimplemented)]
impl ReadTxn {
    pub fn view(&self) -> Option<Arc<View>> { unimplemented!() }
    pub fn counts(&self) -> Result<Counts, StoreError> { unimplemented!() }
    pub fn promise(&self, name: &FileName) -> Result<Ballot, StoreError> { unimplemented!() }
    pub fn register(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> { unimplemented!() }
    pub fn hint(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> { unimplemented!() }
    /// In byte order of the names, those that start with `prefix` and come after `after`.
    pub fn registers_by_name(&self, prefix: &str, after: Option<&FileName>, limit: usize) -> Result<Page<Register, FileName>, StoreError> { unimplemented!() }
    /// The same without bodies and chunks.
    pub fn list(&self, prefix: &str, after: Option<&FileName>, limit: usize) -> Result<Page<Listed, FileName>, StoreError> { unimplemented!() }
    /// In order of their keys, clockwise through the arc.
    pub fn registers_in(&self, range: &chord_api::placement::Range, after: Option<&(Id, FileName)>, limit: usize) -> Result<Page<Register, (Id, FileName)>, StoreError> { unimplemented!() }
    /// Names, ballots only, in the arc: for comparing with others.
    pub fn ballots_in(&self, range: &chord_api::placement::Range, after: Option<&(Id, FileName)>, limit: usize) -> Result<Page<(Id, FileName, Ballot), (Id, FileName)>, StoreError> { unimplemented!() }
    pub fn hints(&self, after: Option<&FileName>, limit: usize) -> Result<Page<Register, FileName>, StoreError> { unimplemented!() }
    pub fn chunk(&self, id: ChunkId) -> Result<Option<ChunkMeta>, StoreError> { unimplemented!() }
}

#[allow(unused_variables, clippy::unimplemented)]
impl ChunkWriter {
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ChunkError> { unimplemented!() }
    pub async fn finish(self) -> Result<(), ChunkError> { unimplemented!() }
}
#[allow(unused_variables, clippy::unimplemented)]
impl DroppedWriter {
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> { unimplemented!() }
    pub async fn finish(self) -> Result<DroppedId, StoreError> { unimplemented!() }
}
