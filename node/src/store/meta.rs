//! The tables of `meta.redb` and how a record lies in them.
//!
//! Every record ends with a checksum over its table, its key and itself: redb
//! checks its pages when it opens a file, not when it reads one, and a vote must
//! never be cast on bytes that rotted since.

use std::ops::Bound;
use std::path::Path;

use chord_types::{ChunkId, FileName, UploadId};
use redb::{Database, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::types::StoreError;

/// Pages that redb keeps in memory.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a record's checksum.
const CHECK: usize = 8;

/// The tables. All keys and values are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum T {
    /// Single values: identity, boot number, view.
    Meta,
    /// Name → head of the accepted value.
    Registers,
    /// Key and name of every register.
    Keys,
    /// Name → promised ballot.
    Promises,
    /// Name → head of a value that once was a register.
    Hints,
    /// Name, NUL, hash of the body, piece → bytes of an inline body.
    Bodies,
    /// Chunk → what is known of it.
    Chunks,
    /// Name, NUL, chunk.
    ChunkNames,
    /// Chunk → what was known of it before it was lost.
    Missing,
    /// Dropped file → what is known of it.
    Dropped,
}

impl T {
    pub(super) const ALL: [T; 10] = [
        T::Meta,
        T::Registers,
        T::Keys,
        T::Promises,
        T::Hints,
        T::Bodies,
        T::Chunks,
        T::ChunkNames,
        T::Missing,
        T::Dropped,
    ];

    pub(super) fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(match self {
            T::Meta => "meta",
            T::Registers => "registers",
            T::Keys => "keys",
            T::Promises => "promises",
            T::Hints => "hints",
            T::Bodies => "bodies",
            T::Chunks => "chunks",
            T::ChunkNames => "chunk_names",
            T::Missing => "missing",
            T::Dropped => "dropped",
        })
    }

    /// Records move as they are between tables of one kind.
    fn kind(self) -> u8 {
        match self {
            T::Meta => 1,
            T::Registers | T::Hints => 2,
            T::Promises => 3,
            T::Bodies => 4,
            T::Chunks | T::Missing => 5,
            T::Dropped => 6,
            T::Keys | T::ChunkNames => 7,
        }
    }
}

/// A stretch of keys.
pub(super) type Span<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);
/// Is shown a key and its record; whether to go on.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<bool, StoreError>;

/// Something that tables can be read from.
pub(super) trait Source {
    fn get(&self, table: T, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows records in order of their keys until `visit` answers false.
    fn scan(&self, table: T, range: Span<'_>, visit: Visit<'_>) -> Result<(), StoreError>;

    fn len(&self, table: T) -> Result<u64, StoreError>;

    /// A record, checked and decoded.
    fn record<V: DeserializeOwned>(&self, table: T, key: &[u8]) -> Result<Option<V>, StoreError> {
        self.get(table, key)?
            .map(|bytes| unseal(table, key, &bytes))
            .transpose()
    }
}

/// Reads from any table of redb, for [`Source`].
pub(super) fn table_get(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(table
        .get(key)
        .map_err(storage)?
        .map(|guard| guard.value().to_vec()))
}

/// Scans any table of redb, for [`Source`].
pub(super) fn table_scan(
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

/// Opens the database, checking every page of it; makes one where there is none.
pub(super) fn open_database(
    path: &Path,
    #[cfg(test)] faults: Option<super::tests::Faults>,
) -> Result<Database, redb::DatabaseError> {
    let mut builder = Database::builder();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    #[cfg(test)]
    if let Some(faults) = faults {
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let file = file.map_err(redb::StorageError::from)?;
        return builder.create_with_backend(super::tests::Faulty::new(file, faults)?);
    }
    builder.create(path)
}

/// What an error of the database means for us.
pub(super) fn storage(e: impl Into<redb::Error>) -> StoreError {
    match e.into() {
        redb::Error::Io(e) if is_full(&e) => StoreError::Full(format!("writing meta.redb: {e}")),
        redb::Error::Io(e) => StoreError::Io(format!("reading or writing meta.redb: {e}")),
        redb::Error::PreviousIo => {
            StoreError::Io("reading or writing meta.redb failed before".into())
        }
        redb::Error::DatabaseClosed => StoreError::Closed,
        other => StoreError::Damaged(format!("meta.redb: {other}")),
    }
}

/// Whether an error says that there is no room.
pub(super) fn is_full(e: &std::io::Error) -> bool {
    matches!(
        e.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    )
}

fn check(table: T, key: &[u8], payload: &[u8]) -> [u8; CHECK] {
    let mut hash = blake3::Hasher::new();
    hash.update(&[table.kind()]);
    hash.update(&(key.len() as u32).to_le_bytes());
    hash.update(key);
    hash.update(payload);
    let mut out = [0; CHECK];
    out.copy_from_slice(&hash.finalize().as_bytes()[..CHECK]);
    out
}

/// Appends the checksum.
pub(super) fn seal_bytes(table: T, key: &[u8], mut payload: Vec<u8>) -> Vec<u8> {
    let sum = check(table, key, &payload);
    payload.extend_from_slice(&sum);
    payload
}

/// Checks and takes off the checksum.
pub(super) fn unseal_bytes<'a>(
    table: T,
    key: &[u8],
    record: &'a [u8],
) -> Result<&'a [u8], StoreError> {
    let damaged = || {
        StoreError::Damaged(format!(
            "a record of the table {table:?} does not match its checksum"
        ))
    };
    let (payload, sum) = record.split_last_chunk::<CHECK>().ok_or_else(damaged)?;
    if check(table, key, payload) == *sum {
        Ok(payload)
    } else {
        Err(damaged())
    }
}

/// Encodes a record and appends its checksum.
pub(super) fn seal(table: T, key: &[u8], value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let payload = rmp_serde::to_vec_named(value).map_err(|e| {
        StoreError::Refused(format!("encoding a record of the table {table:?}: {e}"))
    })?;
    Ok(seal_bytes(table, key, payload))
}

/// Checks and decodes a record.
pub(super) fn unseal<V: DeserializeOwned>(
    table: T,
    key: &[u8],
    record: &[u8],
) -> Result<V, StoreError> {
    rmp_serde::from_slice(unseal_bytes(table, key, record)?).map_err(|e| {
        StoreError::Damaged(format!(
            "a record of the table {table:?} cannot be decoded: {e}"
        ))
    })
}

/// A name read back from a key.
pub(super) fn name_of(bytes: &[u8]) -> Result<FileName, StoreError> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| FileName::new(text).ok())
        .ok_or_else(|| StoreError::Damaged("a key of meta.redb is not a file name".into()))
}

/// A chunk's key in the tables: in order of upload and part.
pub(super) fn chunk_key(id: ChunkId) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(id.upload.as_bytes());
    key[16..].copy_from_slice(&id.part.to_be_bytes());
    key
}

/// And back.
pub(super) fn chunk_of(key: &[u8]) -> Result<ChunkId, StoreError> {
    let damaged = || StoreError::Damaged("a key of meta.redb is not a chunk".into());
    let (upload, part) = key.split_first_chunk::<16>().ok_or_else(damaged)?;
    let part = <[u8; 4]>::try_from(part).map_err(|_| damaged())?;
    Ok(ChunkId {
        upload: UploadId::from_bytes(*upload),
        part: u32::from_be_bytes(part),
    })
}

/// The key of [`T::ChunkNames`]; names hold no NUL.
pub(super) fn chunk_name_key(name: &FileName, id: ChunkId) -> Vec<u8> {
    let mut key = name_prefix(name);
    key.extend_from_slice(&chunk_key(id));
    key
}

/// What keys that begin with a name and go on have in common.
pub(super) fn name_prefix(name: &FileName) -> Vec<u8> {
    let mut key = name.as_str().as_bytes().to_vec();
    key.push(0);
    key
}

/// The first key after all those with a prefix; `None`: there is none.
pub(super) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Every key with a prefix, after a cursor if there is one.
pub(super) fn with_prefix<'a>(
    prefix: &'a [u8],
    after: Option<&'a [u8]>,
    end: Option<&'a [u8]>,
) -> Span<'a> {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    (start, end.map_or(Bound::Unbounded, Bound::Excluded))
}
