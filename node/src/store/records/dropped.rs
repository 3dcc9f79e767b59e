//! The index of dropped files.

use std::ops::Bound;

use super::page::collect;
use crate::store::error::StoreError;
use crate::store::meta::seal::{seal, unseal};
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::meta::txn::Txn;
use crate::store::types::{Dropped, DroppedId, Page};

/// Dropped files, the oldest first.
pub(in crate::store) fn dropped(
    source: &impl Source,
    after: Option<DroppedId>,
    limit: usize,
) -> Result<Page<Dropped, DroppedId>, StoreError> {
    let after = after.map(|id| id.0.to_be_bytes());
    let start = after
        .as_ref()
        .map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
    let item = |key: &[u8], record: &[u8]| Ok((unseal::<Dropped>(T::Dropped, key, record)?, 0));
    collect(
        source,
        T::Dropped,
        &[(start, Bound::Unbounded)],
        limit,
        item,
        |d| d.id,
    )
}

impl Txn<'_> {
    pub(in crate::store) fn put_dropped(&mut self, dropped: &Dropped) -> Result<(), StoreError> {
        let key = dropped.id.0.to_be_bytes();
        self.put(T::Dropped, &key, &seal(T::Dropped, &key, dropped)?)
    }

    pub(in crate::store) fn remove_dropped(&mut self, id: DroppedId) -> Result<bool, StoreError> {
        Ok(self.take(T::Dropped, &id.0.to_be_bytes())?.is_some())
    }
}
