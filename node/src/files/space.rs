//! Whether there is space for a PUT, as far as is known of the members: a refusal
//! before the body is sent.

use std::collections::BTreeSet;
use std::sync::Arc;

use chord_register::Electorate;
use chord_types::{DiskId, Id, Ordinal};

use super::put::INLINE_BYTES;
use super::{Error, Put};
use crate::ring::Ring;
use crate::store::Store;
use crate::view::{Identity, ViewKeeper};

/// Knows of the members' space.
pub struct SpaceCheck {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) store: Store,
    pub(crate) ring: Arc<Ring>,
}

impl SpaceCheck {
    /// Bytes that clients may still write on a member's disk; `None` where that is
    /// not known.
    fn available(&self, ordinal: Ordinal, disk: DiskId) -> Option<u64> {
        if disk == self.me.disk {
            return Some(self.store.space().available);
        }
        let heard = self.ring.heard(ordinal).filter(|h| h.disk == disk);
        heard.map(|h| h.available)
    }

    /// Refuses what there is no space for.
    pub fn check(&self, put: &Put) -> Result<(), Error> {
        let Some(current) = self.view.current() else {
            return Ok(());
        };
        let table = current.view.new_table();
        let known = table.live().map(|m| self.available(m.ordinal, m.disk));
        let total: Option<u64> = known.sum();
        // The register needs a quorum of its owners; where chunks will lie is not
        // known before.
        let least = match put.length {
            Some(0) => 0,
            Some(length) if length <= INLINE_BYTES as u64 => length,
            _ => 1,
        };
        let owners = Electorate::new(&current.placements, &Id::of_file(&put.name));
        let usable: BTreeSet<DiskId> = owners
            .voters()
            .iter()
            .filter(|v| self.available(v.ordinal, v.disk).is_none_or(|a| a > least))
            .map(|v| v.disk)
            .collect();
        let needed = put.length.unwrap_or(0);
        let needed = needed.saturating_mul(u64::from(table.replication));
        if owners.decides(&usable) && total.is_none_or(|total| needed <= total) {
            return Ok(());
        }
        Err(Error::NoSpace {
            name: put.name.clone(),
            left: total.unwrap_or(0),
        })
    }
}
