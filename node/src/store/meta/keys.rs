//! Keys of the tables, to and from names, chunks and ids.

use std::ops::Bound;

use chord_types::{ChunkId, FileName, Id, UploadId};

use crate::store::error::StoreError;

/// A stretch of keys.
pub(in crate::store) type Span<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// A name read back from a key.
pub(in crate::store) fn name_of(bytes: &[u8]) -> Result<FileName, StoreError> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| FileName::new(text).ok())
        .ok_or_else(|| StoreError::Damaged("a key of meta.redb is not a file name".into()))
}

/// A chunk's key in the tables: in order of upload and part.
pub(in crate::store) fn chunk_key(id: ChunkId) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(id.upload.as_bytes());
    key[16..].copy_from_slice(&id.part.to_be_bytes());
    key
}

/// And back.
pub(in crate::store) fn chunk_of(key: &[u8]) -> Result<ChunkId, StoreError> {
    let damaged = || StoreError::Damaged("a key of meta.redb is not a chunk".into());
    let (upload, part) = key.split_first_chunk::<16>().ok_or_else(damaged)?;
    let part = <[u8; 4]>::try_from(part).map_err(|_| damaged())?;
    Ok(ChunkId {
        upload: UploadId::from_bytes(*upload),
        part: u32::from_be_bytes(part),
    })
}

/// The key of [`T::ChunkNames`](super::table::T::ChunkNames); names hold no NUL.
pub(in crate::store) fn chunk_name_key(name: &FileName, id: ChunkId) -> Vec<u8> {
    let mut key = name_prefix(name);
    key.extend_from_slice(&chunk_key(id));
    key
}

/// What keys that begin with a name and go on have in common.
pub(in crate::store) fn name_prefix(name: &FileName) -> Vec<u8> {
    let mut key = name.as_str().as_bytes().to_vec();
    key.push(0);
    key
}

/// The first key after all those with a prefix; `None`: there is none.
pub(in crate::store) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
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
pub(in crate::store) fn with_prefix<'a>(
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

/// The key of [`T::Keys`](super::table::T::Keys): by key, then by name.
pub(in crate::store) fn key_row(key: &Id, name: &FileName) -> Vec<u8> {
    let mut row = key.0.to_vec();
    row.extend_from_slice(name.as_str().as_bytes());
    row
}

/// And back.
pub(in crate::store) fn of_key_row(row: &[u8]) -> Result<(Id, FileName), StoreError> {
    let (key, name) = row
        .split_first_chunk::<20>()
        .ok_or_else(|| StoreError::Damaged("a row of the table of keys is too short".into()))?;
    Ok((Id(*key), name_of(name)?))
}
