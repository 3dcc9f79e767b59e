//! Promises: below which ballot nothing is accepted for a name any more.

use std::ops::Bound;

use chord_register::Ballot;
use chord_types::FileName;

use crate::store::error::StoreError;
use crate::store::meta::keys::name_of;
use crate::store::meta::seal::{seal, unseal};
use crate::store::meta::snapshot::ReadTxn;
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::meta::txn::{STEP, Txn};

/// The promised ballot.
fn promise(source: &impl Source, name: &FileName) -> Result<Ballot, StoreError> {
    Ok(source
        .record(T::Promises, name.as_str().as_bytes())?
        .unwrap_or(Ballot::ZERO))
}

impl ReadTxn {
    /// The greatest ballot promised for a name; [`Ballot::ZERO`] if none was.
    pub fn promise(&self, name: &FileName) -> Result<Ballot, StoreError> {
        promise(self, name)
    }
}

impl Txn<'_> {
    /// The greatest ballot promised for a name; [`Ballot::ZERO`] if none was.
    pub fn promise(&self, name: &FileName) -> Result<Ballot, StoreError> {
        promise(self, name)
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
        let Some(epoch) = self.cached().view.as_ref().map(|view| view.epoch) else {
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
}
