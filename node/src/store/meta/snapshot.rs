//! A still picture of the metadata, to read from while others write.

use std::cell::OnceCell;
use std::sync::Arc;

use chord_types::View;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata};

use super::database::storage;
use super::keys::Span;
use super::source::{Source, Visit, table_get, table_scan};
use super::table::T;
use crate::store::error::StoreError;
use crate::store::types::Counts;

type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The metadata as it stood after some transaction.
pub struct ReadTxn {
    rtx: ReadTransaction,
    tables: [OnceCell<Rows>; T::ALL.len()],
    view: Option<Arc<View>>,
}

impl ReadTxn {
    pub(in crate::store) fn new(rtx: ReadTransaction, view: Option<Arc<View>>) -> ReadTxn {
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
        self.all_counts()
    }
}
