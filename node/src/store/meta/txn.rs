//! One closure's view of the metadata while it changes it.
//!
//! Many closures share one database transaction. Each writes into it at once
//! and notes what stood there before, so that a closure that gives up leaves
//! nothing behind and the others lose nothing.

use std::cell::RefCell;
use std::ops::Bound;
use std::sync::Arc;

use chord_types::{ClusterUid, View};
use redb::{ReadableTableMetadata, Table, WriteTransaction};
use serde::de::DeserializeOwned;

use super::database::storage;
use super::keys::Span;
use super::seal::unseal;
use super::source::{Source, Visit, table_get, table_scan};
use super::table::T;
use crate::store::error::StoreError;
use crate::store::types::Counts;

/// Rows looked at in one go while many are changed.
pub(in crate::store) const STEP: usize = 512;

type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// What stood somewhere before it was written over.
type Undo = (T, Vec<u8>, Option<Vec<u8>>);

/// The metadata, as all closures before in order have left it. Reads see what
/// this closure has written. If it answers with an error nothing of it stays.
pub struct Txn<'t> {
    tables: Vec<Rows<'t>>,
    /// `None`: the closure has the database transaction for itself.
    undo: Option<Vec<Undo>>,
    /// Bytes and records written and kept.
    written: (u64, u64),
    /// The same of the closure that runs.
    writing: (u64, u64),
    /// Tables that somebody has written to.
    changed: [bool; T::ALL.len()],
    cached: Cached,
    /// What the view and cluster were when this closure began.
    before: Cached,
    /// The database itself failed: nothing of the whole group may be committed.
    broken: RefCell<Option<StoreError>>,
}

/// The cached values that go with the tables.
#[derive(Clone, Default)]
pub(in crate::store) struct Cached {
    /// The view on the disk.
    pub view: Option<Arc<View>>,
    /// The cluster to which the disk is bound.
    pub cluster: Option<ClusterUid>,
}

/// Opens every table, making those that are not there.
pub(in crate::store) fn open_tables(wtx: &WriteTransaction) -> Result<Vec<Rows<'_>>, StoreError> {
    T::ALL
        .iter()
        .map(|t| wtx.open_table(t.definition()).map_err(storage))
        .collect()
}

impl Source for Txn<'_> {
    fn get(&self, table: T, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.note(table_get(&self.tables[table as usize], key))
    }
    fn scan(&self, table: T, range: Span<'_>, visit: Visit<'_>) -> Result<(), StoreError> {
        self.note(table_scan(&self.tables[table as usize], range, visit))
    }
    fn len(&self, table: T) -> Result<u64, StoreError> {
        self.note(self.tables[table as usize].len().map_err(storage))
    }
    fn record<V: DeserializeOwned>(&self, table: T, key: &[u8]) -> Result<Option<V>, StoreError> {
        let record = self.get(table, key)?;
        self.note(record.map(|bytes| unseal(table, key, &bytes)).transpose())
    }
}

/// For the store's own use.
impl<'t> Txn<'t> {
    pub(in crate::store) fn new(
        wtx: &'t WriteTransaction,
        cached: Cached,
        alone: bool,
    ) -> Result<Txn<'t>, StoreError> {
        Ok(Txn {
            tables: open_tables(wtx)?,
            undo: if alone { None } else { Some(Vec::new()) },
            written: (0, 0),
            writing: (0, 0),
            changed: [false; T::ALL.len()],
            before: cached.clone(),
            cached,
            broken: RefCell::new(None),
        })
    }

    /// Keeps what the closure has done, for the next one to see.
    pub(in crate::store) fn keep(&mut self) {
        if let Some(undo) = &mut self.undo {
            undo.clear();
        }
        let (bytes, records) = std::mem::take(&mut self.writing);
        self.written = (self.written.0 + bytes, self.written.1 + records);
        self.before = self.cached.clone();
    }

    /// Takes back what the closure has done; in a transaction of its own the
    /// caller aborts that instead.
    pub(in crate::store) fn take_back(&mut self) {
        for (table, key, old) in self
            .undo
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
            .into_iter()
            .rev()
        {
            let rows = &mut self.tables[table as usize];
            let done = match old {
                Some(old) => rows.insert(key.as_slice(), old.as_slice()).map(drop),
                None => rows.remove(key.as_slice()).map(drop),
            };
            if let Err(e) = done {
                self.broken.borrow_mut().get_or_insert(storage(e));
            }
        }
        self.writing = (0, 0);
        self.cached = self.before.clone();
    }

    /// How many bytes and records there are to commit.
    pub(in crate::store) fn written(&self) -> (u64, u64) {
        self.written
    }

    /// What the tables that were written to take, all their pages. Looks at every
    /// one of them.
    pub(in crate::store) fn changed_tables_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for (table, _) in self.tables.iter().zip(self.changed).filter(|(_, c)| *c) {
            let stats = table.stats().map_err(storage)?;
            bytes += stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
        }
        Ok(bytes)
    }

    /// Why nothing may be committed.
    pub(in crate::store) fn broken(&self) -> Option<StoreError> {
        self.broken.borrow().clone()
    }

    /// The cached values as they stand now.
    pub(in crate::store) fn cached(&self) -> &Cached {
        &self.cached
    }

    /// The same, to go with a record that is about to be written.
    pub(in crate::store) fn cached_mut(&mut self) -> &mut Cached {
        &mut self.cached
    }

    /// Remembers an error after which nothing of the whole group may be committed.
    pub(in crate::store) fn note<R>(&self, result: Result<R, StoreError>) -> Result<R, StoreError> {
        if let Err(e) = &result
            && matches!(
                e,
                StoreError::Damaged(_)
                    | StoreError::Io(_)
                    | StoreError::Full(_)
                    | StoreError::Closed
            )
        {
            self.broken.borrow_mut().get_or_insert_with(|| e.clone());
        }
        result
    }

    /// Puts a record, over what stands there.
    pub(in crate::store) fn put(
        &mut self,
        table: T,
        key: &[u8],
        record: &[u8],
    ) -> Result<(), StoreError> {
        let old = self.tables[table as usize].insert(key, record);
        let old = old
            .map(|guard| guard.map(|g| g.value().to_vec()))
            .map_err(storage);
        let old = self.note(old)?;
        self.writing.0 += (key.len() + record.len()) as u64;
        self.writing.1 += 1;
        self.changed[table as usize] = true;
        if let Some(undo) = &mut self.undo {
            undo.push((table, key.to_vec(), old));
        }
        Ok(())
    }

    /// Takes a record out and gives it.
    pub(in crate::store) fn take(
        &mut self,
        table: T,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let old = self.tables[table as usize].remove(key);
        let old = old
            .map(|guard| guard.map(|g| g.value().to_vec()))
            .map_err(storage);
        let old = self.note(old)?;
        if old.is_some() {
            self.writing.1 += 1;
            self.changed[table as usize] = true;
            if let Some(undo) = &mut self.undo {
                undo.push((table, key.to_vec(), old.clone()));
            }
        }
        Ok(old)
    }

    /// Takes everything out of a table.
    pub(in crate::store) fn clear(&mut self, table: T) -> Result<(), StoreError> {
        loop {
            let mut keys = Vec::new();
            self.scan(
                table,
                (Bound::Unbounded, Bound::Unbounded),
                &mut |key, _| {
                    keys.push(key.to_vec());
                    Ok(keys.len() < STEP)
                },
            )?;
            if keys.is_empty() {
                return Ok(());
            }
            for key in keys {
                self.take(table, &key)?;
            }
        }
    }
}

/// For callers.
impl Txn<'_> {
    /// The view on this disk.
    pub fn view(&self) -> Option<Arc<View>> {
        self.cached.view.clone()
    }

    /// How many of each.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        self.all_counts()
    }
}
