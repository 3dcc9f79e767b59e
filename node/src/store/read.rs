//! A still picture of the metadata, to read from while others write.

use std::cell::OnceCell;
use std::sync::Arc;

use chord_placement::Range;
use chord_types::{ChunkId, FileName, Id, View};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata};

use super::meta::{Source, Span, T, Visit, storage, table_get, table_scan};
use super::records;
use super::types::{ChunkMeta, Counts, KeyCursor, Listed, Page, Register, StoreError};
use chord_register::{Ballot, Value};

type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The metadata as it stood after some transaction.
pub struct ReadTxn {
    rtx: ReadTransaction,
    tables: [OnceCell<Rows>; T::ALL.len()],
    view: Option<Arc<View>>,
}

impl ReadTxn {
    pub(super) fn new(rtx: ReadTransaction, view: Option<Arc<View>>) -> ReadTxn {
        ReadTxn {
            rtx,
            tables: Default::default(),
            view,
        }
    }

    fn table(&self, table: T) -> Result<&Rows, StoreError> {
        let cell = &self.tables[table as usize];
        if let Some(rows) = cell.get() {
            return Ok(rows);
        }
        let rows = self.rtx.open_table(table.definition()).map_err(storage)?;
        Ok(cell.get_or_init(|| rows))
    }
}

impl Source for ReadTxn {
    fn get(&self, table: T, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        table_get(self.table(table)?, key)
    }
    fn scan(&self, table: T, range: Span<'_>, visit: Visit<'_>) -> Result<(), StoreError> {
        table_scan(self.table(table)?, range, visit)
    }
    fn len(&self, table: T) -> Result<u64, StoreError> {
        self.table(table)?.len().map_err(storage)
    }
}

impl ReadTxn {
    /// The view that goes with what is read here.
    pub fn view(&self) -> Option<Arc<View>> {
        self.view.clone()
    }

    /// How many of each there are.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        records::counts(self)
    }

    /// The greatest ballot promised for a name; [`Ballot::ZERO`] if none was.
    pub fn promise(&self, name: &FileName) -> Result<Ballot, StoreError> {
        records::promise(self, name)
    }

    /// What was accepted for a name, and under which ballot.
    pub fn register(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> {
        records::value(self, T::Registers, name)
    }

    /// What this disk remembers of a name that it does not vote on.
    pub fn hint(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> {
        records::value(self, T::Hints, name)
    }

    /// Registers in byte order of their names, those that begin with `prefix`
    /// and come after `after`.
    pub fn registers_by_name(
        &self,
        prefix: &str,
        after: Option<&FileName>,
        limit: usize,
    ) -> Result<Page<Register, FileName>, StoreError> {
        records::by_name(self, T::Registers, prefix, after, limit)
    }

    /// The same in short: without bodies and chunks. `after` may be any text.
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Listed, FileName>, StoreError> {
        records::list(self, prefix, after, limit)
    }

    /// Registers in order of their keys, clockwise through an arc.
    pub fn registers_in(
        &self,
        range: &Range,
        after: Option<&KeyCursor>,
        limit: usize,
    ) -> Result<Page<Register, KeyCursor>, StoreError> {
        records::by_key(self, range, after, limit)
    }

    /// The same, names and ballots alone: to compare with what others hold.
    pub fn ballots_in(
        &self,
        range: &Range,
        after: Option<&KeyCursor>,
        limit: usize,
    ) -> Result<Page<(Id, FileName, Ballot), KeyCursor>, StoreError> {
        records::ballots(self, range, after, limit)
    }

    /// Hints in byte order of their names.
    pub fn hints(
        &self,
        after: Option<&FileName>,
        limit: usize,
    ) -> Result<Page<Register, FileName>, StoreError> {
        records::by_name(self, T::Hints, "", after, limit)
    }

    /// What is known of a chunk; the index alone, not its file.
    pub fn chunk(&self, id: ChunkId) -> Result<Option<ChunkMeta>, StoreError> {
        Ok(records::chunk(self, T::Chunks, id)?.map(|entry| entry.meta))
    }
}
