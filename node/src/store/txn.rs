//! One closure's view of the metadata while it changes it.
//!
//! Many closures share one database transaction. Each writes into it at once
//! and notes what stood there before, so that a closure that gives up leaves
//! nothing behind and the others lose nothing.

use std::cell::RefCell;
use std::ops::Bound;
use std::sync::Arc;

use chord_placement::Range;
use chord_types::{ChunkId, ClusterUid, FileName, Id, View};
use redb::{ReadableTableMetadata, Table, WriteTransaction};
use serde::de::DeserializeOwned;

use super::meta::{
    Source, Span, T, Visit, chunk_key, chunk_name_key, name_of, seal, seal_bytes, storage,
    table_get, table_scan, unseal,
};
use super::records::{self, BodyRef, ChunkEntry, Head, key_row, of_key_row};
use super::types::{ChunkMeta, Counts, Dropped, DroppedId, KeyCursor, Page, Register, StoreError};
use chord_register::{Ballot, Value};

/// Rows looked at in one go while many are changed.
const STEP: usize = 512;

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
    view: Option<Arc<View>>,
    cluster: Option<ClusterUid>,
    /// What the view and cluster were when this closure began.
    before: (Option<Arc<View>>, Option<ClusterUid>),
    /// The database itself failed: nothing of the whole group may be committed.
    broken: RefCell<Option<StoreError>>,
}

/// The cached values that go with the tables.
#[derive(Clone, Default)]
pub(super) struct Cached {
    pub view: Option<Arc<View>>,
    pub cluster: Option<ClusterUid>,
}

/// Opens every table, making those that are not there.
pub(super) fn open_tables(wtx: &WriteTransaction) -> Result<Vec<Rows<'_>>, StoreError> {
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
    pub(super) fn new(
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
            before: (cached.view.clone(), cached.cluster.clone()),
            view: cached.view,
            cluster: cached.cluster,
            broken: RefCell::new(None),
        })
    }

    /// Keeps what the closure has done, for the next one to see.
    pub(super) fn keep(&mut self) {
        if let Some(undo) = &mut self.undo {
            undo.clear();
        }
        let (bytes, records) = std::mem::take(&mut self.writing);
        self.written = (self.written.0 + bytes, self.written.1 + records);
        self.before = (self.view.clone(), self.cluster.clone());
    }

    /// Takes back what the closure has done; in a transaction of its own the
    /// caller aborts that instead.
    pub(super) fn take_back(&mut self) {
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
        (self.view, self.cluster) = self.before.clone();
    }

    /// How many bytes and records there are to commit.
    pub(super) fn written(&self) -> (u64, u64) {
        self.written
    }

    /// What the tables that were written to take, all their pages. Looks at every
    /// one of them.
    pub(super) fn changed_tables_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for (table, _) in self.tables.iter().zip(self.changed).filter(|(_, c)| *c) {
            let stats = table.stats().map_err(storage)?;
            bytes += stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
        }
        Ok(bytes)
    }

    /// Why nothing may be committed.
    pub(super) fn broken(&self) -> Option<StoreError> {
        self.broken.borrow().clone()
    }

    /// The cached values as they stand now.
    pub(super) fn cached(&self) -> Cached {
        Cached {
            view: self.view.clone(),
            cluster: self.cluster.clone(),
        }
    }

    fn note<R>(&self, result: Result<R, StoreError>) -> Result<R, StoreError> {
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

    fn put(&mut self, table: T, key: &[u8], record: &[u8]) -> Result<(), StoreError> {
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
    fn take(&mut self, table: T, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
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

    pub(super) fn put_single(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let record = seal_bytes(T::Meta, key.as_bytes(), value.to_vec());
        self.put(T::Meta, key.as_bytes(), &record)
    }

    pub(super) fn take_single(&mut self, key: &str) -> Result<(), StoreError> {
        self.take(T::Meta, key.as_bytes()).map(drop)
    }

    /// Enters a chunk whose file is in its place.
    pub(super) fn put_chunk(&mut self, entry: &ChunkEntry) -> Result<(), StoreError> {
        let key = chunk_key(entry.meta.id);
        self.take(T::Missing, &key)?;
        self.put(T::Chunks, &key, &seal(T::Chunks, &key, entry)?)?;
        self.put(
            T::ChunkNames,
            &chunk_name_key(&entry.meta.name, entry.meta.id),
            &[],
        )
    }

    /// Enters a chunk of whose file only parts are right.
    pub(super) fn put_missing(&mut self, entry: &ChunkEntry) -> Result<(), StoreError> {
        let key = chunk_key(entry.meta.id);
        self.put(T::Missing, &key, &seal(T::Missing, &key, entry)?)
    }

    /// The chunk's file is gone or damaged.
    pub(super) fn lose_chunk(&mut self, id: ChunkId) -> Result<(), StoreError> {
        let key = chunk_key(id);
        let Some(entry) = records::chunk(self, T::Chunks, id)? else {
            return Ok(());
        };
        if let Some(record) = self.take(T::Chunks, &key)? {
            self.put(T::Missing, &key, &record)?;
        }
        self.take(T::ChunkNames, &chunk_name_key(&entry.meta.name, id))
            .map(drop)
    }

    /// Forgets a chunk; whether it was known.
    pub(super) fn remove_chunk(&mut self, id: ChunkId) -> Result<bool, StoreError> {
        self.lose_chunk(id)?;
        Ok(self.take(T::Missing, &chunk_key(id))?.is_some())
    }

    pub(super) fn commit_chunk(&mut self, id: ChunkId) -> Result<(), StoreError> {
        match records::chunk(self, T::Chunks, id)? {
            Some(mut entry) if !entry.meta.committed => {
                entry.meta.committed = true;
                self.put_chunk(&entry)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn put_dropped(&mut self, dropped: &Dropped) -> Result<(), StoreError> {
        let key = dropped.id.0.to_be_bytes();
        self.put(T::Dropped, &key, &seal(T::Dropped, &key, dropped)?)
    }

    pub(super) fn remove_dropped(&mut self, id: DroppedId) -> Result<bool, StoreError> {
        Ok(self.take(T::Dropped, &id.0.to_be_bytes())?.is_some())
    }

    /// Takes everything out of a table.
    pub(super) fn clear(&mut self, table: T) -> Result<(), StoreError> {
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

    /// Writes a head to the register's or the hint's place, and its body.
    fn put_head(
        &mut self,
        table: T,
        name: &FileName,
        ballot: Ballot,
        value: &Value,
    ) -> Result<(), StoreError> {
        let key = name.as_str().as_bytes();
        let (head, body) = Head::of(ballot, value);
        let old = records::head(self, table, name)?;
        self.put(table, key, &seal(table, key, &head)?)?;
        if let (Some(at), Some(bytes)) = (head.body, body)
            && !self.has_body(name, at)?
        {
            let mut place = at.prefix(name);
            let stem = place.len();
            for (index, piece) in bytes.chunks(at.piece(name)).enumerate() {
                place.truncate(stem);
                place.extend_from_slice(&(index as u16).to_be_bytes());
                self.put(T::Bodies, &place, piece)?;
            }
        }
        match old.and_then(|head| head.body) {
            Some(body) => self.drop_body(name, body),
            None => Ok(()),
        }
    }

    fn has_body(&self, name: &FileName, body: BodyRef) -> Result<bool, StoreError> {
        let mut first = body.prefix(name);
        first.extend_from_slice(&0u16.to_be_bytes());
        Ok(self.get(T::Bodies, &first)?.is_some())
    }

    /// Deletes a body that neither the register nor the hint speaks of any more.
    fn drop_body(&mut self, name: &FileName, body: BodyRef) -> Result<(), StoreError> {
        for table in [T::Registers, T::Hints] {
            if records::head(self, table, name)?.is_some_and(|head| head.body == Some(body)) {
                return Ok(());
            }
        }
        let mut place = body.prefix(name);
        let stem = place.len();
        for index in 0..=u16::MAX {
            place.truncate(stem);
            place.extend_from_slice(&index.to_be_bytes());
            if self.take(T::Bodies, &place)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn remove_head(&mut self, table: T, name: &FileName) -> Result<bool, StoreError> {
        let Some(head) = records::head(self, table, name)? else {
            return Ok(false);
        };
        self.take(table, name.as_str().as_bytes())?;
        if let Some(body) = head.body {
            self.drop_body(name, body)?;
        }
        Ok(true)
    }
}

/// For callers.
impl Txn<'_> {
    /// The view on this disk.
    pub fn view(&self) -> Option<Arc<View>> {
        self.view.clone()
    }

    /// Takes a view. The first one binds the disk to its cluster.
    pub fn set_view(&mut self, view: &View) -> Result<(), StoreError> {
        match &self.cluster {
            Some(cluster) if *cluster != view.cluster => {
                return Err(StoreError::WrongCluster {
                    found: view.cluster.clone(),
                    wanted: cluster.clone(),
                });
            }
            Some(_) => {}
            None => {
                self.put_single(super::open::CLUSTER, view.cluster.0.as_bytes())?;
                self.cluster = Some(view.cluster.clone());
            }
        }
        self.put_single(super::open::VIEW, &view.encode())?;
        self.view = Some(Arc::new(view.clone()));
        Ok(())
    }

    /// The greatest ballot promised for a name; [`Ballot::ZERO`] if none was.
    pub fn promise(&self, name: &FileName) -> Result<Ballot, StoreError> {
        records::promise(self, name)
    }

    /// Keeps a promise.
    pub fn set_promise(&mut self, name: &FileName, ballot: Ballot) -> Result<(), StoreError> {
        let key = name.as_str().as_bytes();
        self.put(T::Promises, key, &seal(T::Promises, key, &ballot)?)
    }

    /// Takes out promises of epochs before that of the view on the disk, of a few
    /// names after `after`; the last name looked at, `None` at the end. They bind
    /// nobody any more, since ballots are ordered by their epochs first, but
    /// there is one for each name.
    pub fn forget_promises(
        &mut self,
        after: Option<&FileName>,
    ) -> Result<Option<FileName>, StoreError> {
        let Some(epoch) = self.view.as_ref().map(|view| view.epoch) else {
            return Ok(None);
        };
        let start = after.map_or(Bound::Unbounded, |name| {
            Bound::Excluded(name.as_str().as_bytes())
        });
        let (mut old, mut last, mut looked) = (Vec::new(), None, 0);
        self.scan(
            T::Promises,
            (start, Bound::Unbounded),
            &mut |key, record| {
                let promised: Ballot = unseal(T::Promises, key, record)?;
                if promised.epoch < epoch {
                    old.push(key.to_vec());
                }
                looked += 1;
                if looked == STEP {
                    last = Some(name_of(key)?);
                }
                Ok(looked < STEP)
            },
        )?;
        for key in old {
            self.take(T::Promises, &key)?;
        }
        Ok(last)
    }

    /// What was accepted for a name, and under which ballot.
    pub fn register(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> {
        self.note(records::value(self, T::Registers, name))
    }

    /// Accepts a value for a name.
    pub fn set_register(
        &mut self,
        name: &FileName,
        ballot: Ballot,
        value: &Value,
    ) -> Result<(), StoreError> {
        self.put_head(T::Registers, name, ballot, value)?;
        self.put(T::Keys, &key_row(&Id::of_file(name), name), &[])
    }

    /// Forgets a register and its promise; whether it was there.
    pub fn remove_register(&mut self, name: &FileName) -> Result<bool, StoreError> {
        self.take(T::Promises, name.as_str().as_bytes())?;
        self.take(T::Keys, &key_row(&Id::of_file(name), name))?;
        self.remove_head(T::Registers, name)
    }

    /// What this disk remembers of a name that it does not vote on.
    pub fn hint(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> {
        self.note(records::value(self, T::Hints, name))
    }

    /// Puts a hint, whatever stood there.
    pub fn set_hint(
        &mut self,
        name: &FileName,
        ballot: Ballot,
        value: &Value,
    ) -> Result<(), StoreError> {
        self.put_head(T::Hints, name, ballot, value)
    }

    /// Forgets a hint; whether it was there.
    pub fn remove_hint(&mut self, name: &FileName) -> Result<bool, StoreError> {
        self.remove_head(T::Hints, name)
    }

    /// Every register whose key satisfies `lost` becomes a hint, unless there is
    /// one with a ballot as great; its promise goes. Says how many there were.
    ///
    /// With many registers call this in `Store::transact_alone`.
    pub fn move_to_hints(&mut self, lost: impl Fn(&Id) -> bool) -> Result<u64, StoreError> {
        let mut moved = 0;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let mut rows = Vec::new();
            let mut seen = None;
            let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            self.scan(T::Keys, (start, Bound::Unbounded), &mut |row, _| {
                let (key, name) = of_key_row(row)?;
                if lost(&key) {
                    rows.push((row.to_vec(), name));
                }
                if rows.len() == STEP {
                    seen = Some(row.to_vec());
                }
                Ok(rows.len() < STEP)
            })?;
            for (row, name) in rows {
                self.take(T::Keys, &row)?;
                self.move_one(&name)?;
                moved += 1;
            }
            match seen {
                Some(row) => after = Some(row),
                None => return Ok(moved),
            }
        }
    }

    fn move_one(&mut self, name: &FileName) -> Result<(), StoreError> {
        let key = name.as_str().as_bytes();
        self.take(T::Promises, key)?;
        let Some(register) = records::head(self, T::Registers, name)? else {
            return Ok(());
        };
        let hint = records::head(self, T::Hints, name)?;
        let Some(record) = self.take(T::Registers, key)? else {
            return Ok(());
        };
        let left = match hint {
            Some(hint) if hint.ballot >= register.ballot => register.body,
            hint => {
                self.put(T::Hints, key, &record)?;
                hint.and_then(|hint| hint.body)
            }
        };
        match left {
            Some(body) => self.drop_body(name, body),
            None => Ok(()),
        }
    }

    /// Registers clockwise through an arc, whole.
    pub fn registers_in(
        &self,
        range: &Range,
        after: Option<&KeyCursor>,
        limit: usize,
    ) -> Result<Page<Register, KeyCursor>, StoreError> {
        records::by_key(self, range, after, limit)
    }

    /// What is known of a chunk; the index alone, not its file.
    pub fn chunk(&self, id: ChunkId) -> Result<Option<ChunkMeta>, StoreError> {
        Ok(records::chunk(self, T::Chunks, id)?.map(|entry| entry.meta))
    }

    /// How many of each there are.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        records::counts(self)
    }
}
