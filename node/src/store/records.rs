//! Registers, hints and promises as they lie in the tables, and pages of them.
//!
//! A value is kept as a *head* and, where it carries more than a few bytes, a
//! *body* apart from it, named by its hash. So a page of names does not drag the
//! files along, a reconciled value is not written again, and a register becomes
//! a hint by moving its head alone.

use std::ops::Bound;

use bytes::Bytes;
use chord_placement::Range;
use chord_types::manifest::Body;
use chord_types::{FileName, Id};
use serde::{Deserialize, Serialize};

use super::meta::{
    Source, Span, T, name_of, name_prefix, prefix_end, unseal, unseal_bytes, with_prefix,
};
use super::types::{ChunkMeta, Counts, KeyCursor, Listed, ListedFile, Page, Register, StoreError};
use chord_register::{Ballot, Value};

/// Bodies up to this stay in the head.
pub(super) const IN_HEAD: usize = 256;
/// A page of redb that a piece of a body fills, with what redb adds to it.
const PIECE_PAGE: usize = 16 * 1024;
const PIECE_OVERHEAD: usize = 32;
/// A page of an answer ends when its bodies have this many bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// The most items of a page.
const PAGE_ITEMS: usize = 10_000;

/// Names a body: its hash and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BodyRef {
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 16],
    pub len: u32,
}

impl BodyRef {
    pub(super) fn of(body: &[u8]) -> BodyRef {
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(body).as_bytes()[..16]);
        BodyRef {
            hash,
            len: body.len() as u32,
        }
    }

    /// What the keys of all its pieces begin with.
    pub(super) fn prefix(&self, name: &FileName) -> Vec<u8> {
        let mut key = name_prefix(name);
        key.extend_from_slice(&self.hash);
        key
    }

    /// Bytes of one piece: as many as leave no page half empty.
    pub(super) fn piece(&self, name: &FileName) -> usize {
        PIECE_PAGE - PIECE_OVERHEAD - self.prefix(name).len()
    }
}

/// What stands in [`T::Registers`] and [`T::Hints`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub ballot: Ballot,
    pub body: Option<BodyRef>,
    /// Without its body where that is kept apart.
    pub value: Value,
}

impl Head {
    /// Splits a value; gives the body to keep apart.
    pub(super) fn of(ballot: Ballot, value: &Value) -> (Head, Option<Bytes>) {
        let mut value = value.clone();
        let mut apart = None;
        if let Some(manifest) = &mut value.current
            && let Body::Inline(bytes) = &mut manifest.body
            && bytes.len() > IN_HEAD
        {
            apart = Some(std::mem::take(bytes));
        }
        (
            Head {
                ballot,
                body: apart.as_deref().map(BodyRef::of),
                value,
            },
            apart,
        )
    }

    /// Puts the body back.
    pub(super) fn whole(
        self,
        source: &impl Source,
        name: &FileName,
    ) -> Result<(Ballot, Value), StoreError> {
        let Head {
            ballot,
            body,
            mut value,
        } = self;
        if let Some(body) = body {
            let bytes = read_body(source, name, body)?;
            match &mut value.current {
                Some(manifest) => manifest.body = Body::Inline(bytes),
                None => {
                    return Err(StoreError::Damaged(format!(
                        "the register {name:?} has a body and no file"
                    )));
                }
            }
        }
        Ok((ballot, value))
    }
}

fn read_body(source: &impl Source, name: &FileName, body: BodyRef) -> Result<Bytes, StoreError> {
    let prefix = body.prefix(name);
    let end = prefix_end(&prefix);
    let mut bytes = Vec::with_capacity(body.len as usize);
    source.scan(
        T::Bodies,
        with_prefix(&prefix, None, end.as_deref()),
        &mut |_, piece| {
            bytes.extend_from_slice(piece);
            Ok(bytes.len() < body.len as usize)
        },
    )?;
    if BodyRef::of(&bytes) != body {
        return Err(StoreError::Damaged(format!(
            "the body of the register {name:?} is not what was written"
        )));
    }
    Ok(bytes.into())
}

/// The head of a register or a hint.
pub(super) fn head(
    source: &impl Source,
    table: T,
    name: &FileName,
) -> Result<Option<Head>, StoreError> {
    source.record(table, name.as_str().as_bytes())
}

/// A register or a hint.
pub(super) fn value(
    source: &impl Source,
    table: T,
    name: &FileName,
) -> Result<Option<(Ballot, Value)>, StoreError> {
    head(source, table, name)?
        .map(|head| head.whole(source, name))
        .transpose()
}

/// The promised ballot.
pub(super) fn promise(source: &impl Source, name: &FileName) -> Result<Ballot, StoreError> {
    Ok(source
        .record(T::Promises, name.as_str().as_bytes())?
        .unwrap_or(Ballot::ZERO))
}

/// The key of [`T::Keys`].
pub(super) fn key_row(key: &Id, name: &FileName) -> Vec<u8> {
    let mut row = key.0.to_vec();
    row.extend_from_slice(name.as_str().as_bytes());
    row
}

/// And back.
pub(super) fn of_key_row(row: &[u8]) -> Result<(Id, FileName), StoreError> {
    let (key, name) = row
        .split_first_chunk::<20>()
        .ok_or_else(|| StoreError::Damaged("a row of the table of keys is too short".into()))?;
    Ok((Id(*key), name_of(name)?))
}

/// Collects a page: at most so many items, and so many bytes of bodies.
struct Collect<I, C> {
    items: Vec<I>,
    next: Option<C>,
    limit: usize,
    bytes: usize,
}

impl<I, C> Collect<I, C> {
    fn new(limit: usize) -> Collect<I, C> {
        Collect {
            items: Vec::new(),
            next: None,
            limit: limit.clamp(1, PAGE_ITEMS),
            bytes: 0,
        }
    }
    fn full(&self) -> bool {
        self.items.len() >= self.limit || self.bytes >= PAGE_BYTES
    }
    fn page(self) -> Page<I, C> {
        Page {
            items: self.items,
            next: self.next,
        }
    }
}

/// Walks a range; `item` makes an item of a record, and says how heavy it is.
/// `cursor` is asked for the last record taken, if there are more after it.
fn collect<I, C>(
    source: &impl Source,
    table: T,
    ranges: &[Span<'_>],
    limit: usize,
    item: impl Fn(&[u8], &[u8]) -> Result<(I, usize), StoreError>,
    cursor: impl Fn(&I) -> C,
) -> Result<Page<I, C>, StoreError> {
    let mut out = Collect::new(limit);
    for range in ranges {
        source.scan(table, *range, &mut |key, record| {
            if out.full() {
                out.next = out.items.last().map(&cursor);
                return Ok(false);
            }
            let (item, weight) = item(key, record)?;
            out.items.push(item);
            out.bytes += weight;
            Ok(true)
        })?;
        if out.next.is_some() {
            break;
        }
    }
    Ok(out.page())
}

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
pub(super) fn by_name(
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
pub(super) fn list(
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
            return Err(StoreError::Damaged(format!(
                "the register {name:?} is indexed and not there"
            )));
        };
        let head: Head = unseal(T::Registers, bytes, &record)?;
        item(key, name, &record, head)
    };
    collect(source, T::Keys, &ranges, limit, item, cursor)
}

/// Registers clockwise through an arc.
pub(super) fn by_key(
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
pub(super) fn ballots(
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

/// What stands in [`T::Chunks`] and [`T::Missing`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ChunkEntry {
    pub meta: ChunkMeta,
    /// Bytes of its file.
    pub length: u64,
}

/// A chunk as the index has it.
pub(super) fn chunk(
    source: &impl Source,
    table: T,
    id: chord_types::ChunkId,
) -> Result<Option<ChunkEntry>, StoreError> {
    source.record(table, &super::meta::chunk_key(id))
}

/// Chunks in order of their ids.
pub(super) fn chunks(
    source: &impl Source,
    table: T,
    after: Option<chord_types::ChunkId>,
    limit: usize,
) -> Result<Page<ChunkMeta, chord_types::ChunkId>, StoreError> {
    let after = after.map(super::meta::chunk_key);
    let start = after
        .as_ref()
        .map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
    let item = |key: &[u8], record: &[u8]| Ok((unseal::<ChunkEntry>(table, key, record)?.meta, 0));
    collect(
        source,
        table,
        &[(start, Bound::Unbounded)],
        limit,
        item,
        |m| m.id,
    )
}

/// Chunks in order of the names of their files; of one file, if a prefix says so.
pub(super) fn chunks_by_name(
    source: &impl Source,
    prefix: &[u8],
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Page<ChunkMeta, (FileName, chord_types::ChunkId)>, StoreError> {
    let end = prefix_end(prefix);
    let range = with_prefix(prefix, after.as_deref(), end.as_deref());
    let item = |row: &[u8], _: &[u8]| {
        let at = row.len().saturating_sub(20);
        let entry: Option<ChunkEntry> = source.record(T::Chunks, &row[at..])?;
        let entry = entry.ok_or_else(|| {
            StoreError::Damaged("a chunk is indexed by name and not there".into())
        })?;
        Ok((entry.meta, 0))
    };
    collect(source, T::ChunkNames, &[range], limit, item, |m| {
        (m.name.clone(), m.id)
    })
}

/// Dropped files, the oldest first.
pub(super) fn dropped(
    source: &impl Source,
    after: Option<super::types::DroppedId>,
    limit: usize,
) -> Result<Page<super::types::Dropped, super::types::DroppedId>, StoreError> {
    let after = after.map(|id| id.0.to_be_bytes());
    let start = after
        .as_ref()
        .map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
    let item = |key: &[u8], record: &[u8]| {
        Ok((unseal::<super::types::Dropped>(T::Dropped, key, record)?, 0))
    };
    collect(
        source,
        T::Dropped,
        &[(start, Bound::Unbounded)],
        limit,
        item,
        |d| d.id,
    )
}

/// How many of each.
pub(super) fn counts(source: &impl Source) -> Result<Counts, StoreError> {
    Ok(Counts {
        registers: source.len(T::Registers)?,
        hints: source.len(T::Hints)?,
        promises: source.len(T::Promises)?,
        chunks: source.len(T::Chunks)?,
        missing: source.len(T::Missing)?,
        dropped: source.len(T::Dropped)?,
    })
}

/// A single value of [`T::Meta`].
pub(super) fn single(source: &impl Source, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    match source.get(T::Meta, key.as_bytes())? {
        None => Ok(None),
        Some(record) => Ok(Some(
            unseal_bytes(T::Meta, key.as_bytes(), &record)?.to_vec(),
        )),
    }
}
