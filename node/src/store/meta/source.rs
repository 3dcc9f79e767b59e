//! Reading from tables, whether they stand still or are being changed.

use std::ops::Bound;

use redb::ReadableTable;
use serde::de::DeserializeOwned;

use super::database::storage;
use super::keys::Span;
use super::seal::unseal;
use super::table::T;
use crate::store::error::StoreError;
use crate::store::types::Counts;

/// Is shown a key and its record; whether to go on.
pub(in crate::store) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<bool, StoreError>;

/// Something that tables can be read from.
pub(in crate::store) trait Source {
    /// A record as it lies in the table.
    fn get(&self, table: T, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows records in order of their keys until `visit` answers false.
    fn scan(&self, table: T, range: Span<'_>, visit: Visit<'_>) -> Result<(), StoreError>;

    /// How many records a table has; kept, not counted.
    fn len(&self, table: T) -> Result<u64, StoreError>;

    /// A record, checked and decoded.
    fn record<V: DeserializeOwned>(&self, table: T, key: &[u8]) -> Result<Option<V>, StoreError> {
        self.get(table, key)?
            .map(|bytes| unseal(table, key, &bytes))
            .transpose()
    }

    /// How many of each there are.
    fn all_counts(&self) -> Result<Counts, StoreError> {
        Ok(Counts {
            registers: self.len(T::Registers)?,
            hints: self.len(T::Hints)?,
            promises: self.len(T::Promises)?,
            chunks: self.len(T::Chunks)?,
            missing: self.len(T::Missing)?,
            dropped: self.len(T::Dropped)?,
        })
    }
}

/// Reads from any table of redb, for [`Source`].
pub(in crate::store) fn table_get(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(table
        .get(key)
        .map_err(storage)?
        .map(|guard| guard.value().to_vec()))
}

/// Scans any table of redb, for [`Source`].
pub(in crate::store) fn table_scan(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    range: Span<'_>,
    visit: Visit<'_>,
) -> Result<(), StoreError> {
    if empty(range) {
        return Ok(());
    }
    for entry in table.range::<&[u8]>(range).map_err(storage)? {
        let (key, value) = entry.map_err(storage)?;
        if !visit(key.value(), value.value())? {
            break;
        }
    }
    Ok(())
}

/// Whether nothing can lie in a range; redb takes only ranges that go forward.
fn empty(range: Span<'_>) -> bool {
    match range {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
            a >= b
        }
        _ => false,
    }
}
