//! A record's checksum, over its table, its key and itself.
//!
//! redb checks its pages when it opens a file, not when it reads one, and a vote must
//! never be cast on bytes that rotted since.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::table::T;
use crate::store::error::{StoreError, Why};

/// Bytes of a record's checksum.
const CHECK: usize = 8;

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
pub(in crate::store) fn seal_bytes(table: T, key: &[u8], mut payload: Vec<u8>) -> Vec<u8> {
    let sum = check(table, key, &payload);
    payload.extend_from_slice(&sum);
    payload
}

/// Checks and takes off the checksum.
pub(in crate::store) fn unseal_bytes<'a>(
    table: T,
    key: &[u8],
    record: &'a [u8],
) -> Result<&'a [u8], StoreError> {
    let damaged = || {
        StoreError::Damaged(
            format!("a record of the table {table:?} does not match its checksum").into(),
        )
    };
    let (payload, sum) = record.split_last_chunk::<CHECK>().ok_or_else(damaged)?;
    if check(table, key, payload) == *sum {
        Ok(payload)
    } else {
        Err(damaged())
    }
}

/// Encodes a record and appends its checksum.
pub(in crate::store) fn seal(
    table: T,
    key: &[u8],
    value: &impl Serialize,
) -> Result<Vec<u8>, StoreError> {
    let payload = rmp_serde::to_vec_named(value).map_err(|e| {
        let doing = format!("encoding a record of the table {table:?}");
        StoreError::Internal(Why::new(doing, e))
    })?;
    Ok(seal_bytes(table, key, payload))
}

/// Checks and decodes a record.
pub(in crate::store) fn unseal<V: DeserializeOwned>(
    table: T,
    key: &[u8],
    record: &[u8],
) -> Result<V, StoreError> {
    rmp_serde::from_slice(unseal_bytes(table, key, record)?).map_err(|e| {
        let doing = format!("decoding a record of the table {table:?}");
        StoreError::Damaged(Why::new(doing, e))
    })
}
