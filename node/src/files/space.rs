//! Whether there is space for a PUT, as far as is known of the members: a refusal
//! before the body is sent.

use std::collections::BTreeSet;
use std::sync::Arc;

use chord_api::problem::{Kind, Problem};
use chord_register::Electorate;
use chord_types::{DiskId, Id, Ordinal};

use super::Put;
use super::put::INLINE_BYTES;
use crate::ring::Ring;
use crate::store::Store;
use crate::view::{Identity, ViewKeeper};

/// Knows of the members' space.
pub struct SpaceCheck {
    pub me: Arc<Identity>,
    pub view: Arc<ViewKeeper>,
    pub store: Store,
    pub ring: Arc<Ring>,
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
    pub fn check(&self, put: &Put) -> Result<(), Problem> {
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
        Err(Problem::new(
            Kind::Full,
            format!(
                "there is no space for {:?}: the nodes have {} bytes left for files; delete some, or let the cluster grow",
                put.name,
                total.unwrap_or(0)
            ),
        ))
    }
}
