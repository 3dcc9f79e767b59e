//! Registers: what was accepted for each name, in order of the names.

use chord_register::{Ballot, Value};
use chord_types::manifest::Body;
use chord_types::{FileName, Id};

use super::heads::{Head, value};
use super::page::collect;
use crate::store::error::StoreError;
use crate::store::meta::keys::{key_row, name_of, prefix_end, with_prefix};
use crate::store::meta::seal::unseal;
use crate::store::meta::snapshot::ReadTxn;
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::meta::txn::Txn;
use crate::store::types::{Listed, ListedFile, Page, Register};

fn whole_register(
    source: &impl Source,
    table: T,
    key: &[u8],
    record: &[u8],
) -> Result<(Register, usize), StoreError> {
    let name = name_of(key)?;
    let head: Head = unseal(table, key, record)?;
    let weight = record.len() + head.body.map_or(0, |body| body.len as usize);
    let (ballot, value) = head.whole(source, &name)?;
    Ok((
        Register {
            key: Id::of_file(&name),
            name,
            ballot,
            value,
        },
        weight,
    ))
}

/// Registers or hints in byte order of their names.
pub(in crate::store) fn by_name(
    source: &impl Source,
    table: T,
    prefix: &str,
    after: Option<&FileName>,
    limit: usize,
) -> Result<Page<Register, FileName>, StoreError> {
    let end = prefix_end(prefix.as_bytes());
    let range = with_prefix(
        prefix.as_bytes(),
        after.map(|n| n.as_str().as_bytes()),
        end.as_deref(),
    );
    let item = |key: &[u8], record: &[u8]| whole_register(source, table, key, record);
    collect(source, table, &[range], limit, item, |r| r.name.clone())
}

/// Registers in byte order of their names, in short.
pub(in crate::store) fn list(
    source: &impl Source,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Listed, FileName>, StoreError> {
    let end = prefix_end(prefix.as_bytes());
    let range = with_prefix(prefix.as_bytes(), after.map(str::as_bytes), end.as_deref());
    let item = |key: &[u8], record: &[u8]| {
        let head: Head = unseal(T::Registers, key, record)?;
        let current = head.value.current.map(|manifest| ListedFile {
            version: manifest.version,
            etag: manifest.etag,
            size: manifest.size,
            modified_ms: manifest.modified_ms,
            content_type: manifest.content_type,
            upload: match manifest.body {
                Body::Inline(_) => None,
                Body::Chunks { upload, chunks } => Some((upload, chunks.len() as u32)),
            },
        });
        let listed = Listed {
            name: name_of(key)?,
            ballot: head.ballot,
            current,
            pending: head.value.pending.len(),
        };
        Ok((listed, 0))
    };
    collect(source, T::Registers, &[range], limit, item, |l| {
        l.name.clone()
    })
}

impl ReadTxn {
    /// What was accepted for a name, and under which ballot.
    pub fn register(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> {
        value(self, T::Registers, name)
    }

    /// Registers in byte order of their names, those that begin with `prefix`
    /// and come after `after`.
    pub fn registers_by_name(
        &self,
        prefix: &str,
        after: Option<&FileName>,
        limit: usize,
    ) -> Result<Page<Register, FileName>, StoreError> {
        by_name(self, T::Registers, prefix, after, limit)
    }

    /// The same in short: without bodies and chunks. `after` may be any text.
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Listed, FileName>, StoreError> {
        list(self, prefix, after, limit)
    }
}

impl Txn<'_> {
    /// What was accepted for a name, and under which ballot.
    pub fn register(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> {
        self.note(value(self, T::Registers, name))
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
}
