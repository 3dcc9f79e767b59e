//! Registers in order of their keys, clockwise through an arc of the ring.

use std::ops::Bound;

use chord_placement::Range;
use chord_register::Ballot;
use chord_types::{FileName, Id};

use super::heads::Head;
use super::page::collect;
use crate::store::error::StoreError;
use crate::store::meta::keys::{key_row, of_key_row};
use crate::store::meta::seal::unseal;
use crate::store::meta::snapshot::ReadTxn;
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::meta::txn::Txn;
use crate::store::types::{KeyCursor, Page, Register};

/// A stretch of keys that owns its ends.
type Stretch = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The parts of [`T::Keys`] that an arc covers, clockwise, after a cursor.
fn arc(range: &Range, after: Option<&KeyCursor>) -> Vec<Stretch> {
    const LAST: Id = Id([0xff; 20]);
    let past = |id: &Id| {
        if *id == LAST {
            None
        } else {
            Some(id.next().0.to_vec())
        }
    };
    let head = match past(&range.after) {
        Some(start) => Bound::Included(start),
        // Nothing lies between the last id and the end.
        None => Bound::Excluded(vec![0xff; 21 + chord_types::name::MAX_NAME_BYTES]),
    };
    let tail = past(&range.upto).map_or(Bound::Unbounded, Bound::Excluded);
    let cursor = after.map(|(id, name)| (id, Bound::Excluded(key_row(id, name))));
    if range.after < range.upto {
        return vec![(cursor.map_or(head, |(_, c)| c), tail)];
    }
    let start = Bound::Included(Vec::new());
    match cursor {
        None => vec![(head, Bound::Unbounded), (start, tail)],
        Some((id, c)) if *id > range.after => vec![(c, Bound::Unbounded), (start, tail)],
        Some((_, c)) => vec![(c, tail)],
    }
}

fn in_arc<I>(
    source: &impl Source,
    range: &Range,
    after: Option<&KeyCursor>,
    limit: usize,
    item: impl Fn(Id, FileName, &[u8], Head) -> Result<(I, usize), StoreError>,
    cursor: impl Fn(&I) -> KeyCursor,
) -> Result<Page<I, KeyCursor>, StoreError> {
    let parts = arc(range, after);
    let ranges: Vec<_> = parts
        .iter()
        .map(|(a, b)| (a.as_ref().map(Vec::as_slice), b.as_ref().map(Vec::as_slice)))
        .collect();
    let item = |row: &[u8], _: &[u8]| {
        let (key, name) = of_key_row(row)?;
        let bytes = name.as_str().as_bytes();
        let Some(record) = source.get(T::Registers, bytes)? else {
            let why = format!("the register {name:?} is indexed and not there");
            return Err(StoreError::Damaged(why.into()));
        };
        let head: Head = unseal(T::Registers, bytes, &record)?;
        item(key, name, &record, head)
    };
    collect(source, T::Keys, &ranges, limit, item, cursor)
}

/// Registers clockwise through an arc.
fn by_key(
    source: &impl Source,
    range: &Range,
    after: Option<&KeyCursor>,
    limit: usize,
) -> Result<Page<Register, KeyCursor>, StoreError> {
    let item = |key, name: FileName, record: &[u8], head: Head| {
        let weight = record.len() + head.body.map_or(0, |body| body.len as usize);
        let (ballot, value) = head.whole(source, &name)?;
        Ok((
            Register {
                key,
                name,
                ballot,
                value,
            },
            weight,
        ))
    };
    in_arc(source, range, after, limit, item, |r| {
        (r.key, r.name.clone())
    })
}

/// What stands where, clockwise through an arc.
fn ballots(
    source: &impl Source,
    range: &Range,
    after: Option<&KeyCursor>,
    limit: usize,
) -> Result<Page<(Id, FileName, Ballot), KeyCursor>, StoreError> {
    let item = |key, name, _: &[u8], head: Head| Ok(((key, name, head.ballot), 0));
    in_arc(source, range, after, limit, item, |(key, name, _)| {
        (*key, name.clone())
    })
}

impl ReadTxn {
    /// Registers in order of their keys, clockwise through an arc.
    pub fn registers_in(
        &self,
        range: &Range,
        after: Option<&KeyCursor>,
        limit: usize,
    ) -> Result<Page<Register, KeyCursor>, StoreError> {
        by_key(self, range, after, limit)
    }

    /// The same, names and ballots alone: to compare with what others hold.
    pub fn ballots_in(
        &self,
        range: &Range,
        after: Option<&KeyCursor>,
        limit: usize,
    ) -> Result<Page<(Id, FileName, Ballot), KeyCursor>, StoreError> {
        ballots(self, range, after, limit)
    }
}

impl Txn<'_> {
    /// Registers clockwise through an arc, whole.
    pub fn registers_in(
        &self,
        range: &Range,
        after: Option<&KeyCursor>,
        limit: usize,
    ) -> Result<Page<Register, KeyCursor>, StoreError> {
        by_key(self, range, after, limit)
    }
}
