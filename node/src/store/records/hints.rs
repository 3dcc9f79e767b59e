//! Hints: what this disk remembers of names that it does not vote on.

use std::ops::Bound;

use chord_register::{Ballot, Value};
use chord_types::{FileName, Id};

use super::heads::{head, value};
use super::registers::by_name;
use crate::store::error::StoreError;
use crate::store::meta::keys::of_key_row;
use crate::store::meta::snapshot::ReadTxn;
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::meta::txn::{STEP, Txn};
use crate::store::types::{Page, Register};

impl ReadTxn {
    /// What this disk remembers of a name that it does not vote on.
    pub fn hint(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> {
        value(self, T::Hints, name)
    }

    /// Hints in byte order of their names.
    pub fn hints(
        &self,
        after: Option<&FileName>,
        limit: usize,
    ) -> Result<Page<Register, FileName>, StoreError> {
        by_name(self, T::Hints, "", after, limit)
    }
}

impl Txn<'_> {
    /// What this disk remembers of a name that it does not vote on.
    pub fn hint(&self, name: &FileName) -> Result<Option<(Ballot, Value)>, StoreError> {
        self.note(value(self, T::Hints, name))
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
        let Some(register) = head(self, T::Registers, name)? else {
            return Ok(());
        };
        let hint = head(self, T::Hints, name)?;
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
}
