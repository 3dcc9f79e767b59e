//! The value of a register or hint as it lies in the tables: a *head* and, where it
//! carries more than a few bytes, a *body* apart from it, named by its hash.
//!
//! So a page of names does not drag the files along, a reconciled value is not
//! written again, and a register becomes a hint by moving its head alone.

use bytes::Bytes;
use chord_register::{Ballot, Value};
use chord_types::FileName;
use chord_types::manifest::Body;
use serde::{Deserialize, Serialize};

use crate::store::error::StoreError;
use crate::store::meta::keys::{name_prefix, prefix_end, with_prefix};
use crate::store::meta::seal::seal;
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::meta::txn::Txn;

/// Bodies up to this stay in the head.
pub(in crate::store) const IN_HEAD: usize = 256;
/// A page of redb that a piece of a body fills, with what redb adds to it.
const PIECE_PAGE: usize = 16 * 1024;
const PIECE_OVERHEAD: usize = 32;

/// Names a body: its hash and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct BodyRef {
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 16],
    pub len: u32,
}

impl BodyRef {
    pub(in crate::store) fn of(body: &[u8]) -> BodyRef {
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(body).as_bytes()[..16]);
        BodyRef {
            hash,
            len: body.len() as u32,
        }
    }

    /// What the keys of all its pieces begin with.
    pub(in crate::store) fn prefix(&self, name: &FileName) -> Vec<u8> {
        let mut key = name_prefix(name);
        key.extend_from_slice(&self.hash);
        key
    }

    /// Bytes of one piece: as many as leave no page half empty.
    pub(in crate::store) fn piece(&self, name: &FileName) -> usize {
        PIECE_PAGE - PIECE_OVERHEAD - self.prefix(name).len()
    }
}

/// What stands in [`T::Registers`] and [`T::Hints`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct Head {
    pub ballot: Ballot,
    pub body: Option<BodyRef>,
    /// Without its body where that is kept apart.
    pub value: Value,
}

impl Head {
    /// Splits a value; gives the body to keep apart.
    pub(in crate::store) fn of(ballot: Ballot, value: &Value) -> (Head, Option<Bytes>) {
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
    pub(in crate::store) fn whole(
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
                    let why = format!("the register {name:?} has a body and no file");
                    return Err(StoreError::Damaged(why.into()));
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
        let why = format!("the body of the register {name:?} is not what was written");
        return Err(StoreError::Damaged(why.into()));
    }
    Ok(bytes.into())
}

/// The head of a register or a hint.
pub(in crate::store) fn head(
    source: &impl Source,
    table: T,
    name: &FileName,
) -> Result<Option<Head>, StoreError> {
    source.record(table, name.as_str().as_bytes())
}

/// A register or a hint.
pub(in crate::store) fn value(
    source: &impl Source,
    table: T,
    name: &FileName,
) -> Result<Option<(Ballot, Value)>, StoreError> {
    head(source, table, name)?
        .map(|head| head.whole(source, name))
        .transpose()
}

/// Writing heads and bodies.
impl Txn<'_> {
    /// Writes a head to the register's or the hint's place, and its body.
    pub(in crate::store) fn put_head(
        &mut self,
        table: T,
        name: &FileName,
        ballot: Ballot,
        value: &Value,
    ) -> Result<(), StoreError> {
        let key = name.as_str().as_bytes();
        let (new, body) = Head::of(ballot, value);
        let old = head(self, table, name)?;
        self.put(table, key, &seal(table, key, &new)?)?;
        if let (Some(at), Some(bytes)) = (new.body, body)
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
    pub(in crate::store) fn drop_body(
        &mut self,
        name: &FileName,
        body: BodyRef,
    ) -> Result<(), StoreError> {
        for table in [T::Registers, T::Hints] {
            if head(self, table, name)?.is_some_and(|head| head.body == Some(body)) {
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

    /// Takes a head away, and its body; whether it was there.
    pub(in crate::store) fn remove_head(
        &mut self,
        table: T,
        name: &FileName,
    ) -> Result<bool, StoreError> {
        let Some(head) = head(self, table, name)? else {
            return Ok(false);
        };
        self.take(table, name.as_str().as_bytes())?;
        if let Some(body) = head.body {
            self.drop_body(name, body)?;
        }
        Ok(true)
    }
}
