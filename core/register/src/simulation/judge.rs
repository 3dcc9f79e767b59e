//! Whether a history of the simulation is one that real time allows, with every
//! acknowledged operation applied exactly once.

use std::collections::{BTreeMap, BTreeSet};

use chord_types::DiskId;

use super::World;
use crate::Outcome;
use crate::proposer::End;
use crate::value::Refusal;

impl World {
    /// What is wrong with this history, if anything.
    pub(super) fn judge(&mut self) -> Result<(), String> {
        // All have the newest view; the value is what a read of everybody finds.
        let last = self.epoch();
        let electorate = self.electorate(last);
        let owners: BTreeSet<DiskId> = electorate.voters().iter().map(|v| v.disk).collect();
        let found = owners
            .iter()
            .filter_map(|d| self.acceptors[d].accepted.clone())
            .max_by_key(|(ballot, _)| *ballot)
            .map(|(_, v)| v)
            .unwrap_or_default();
        let mut versions: BTreeMap<u64, u64> = BTreeMap::new();
        let mut done = Vec::new();
        for operation in self.operations.iter().filter(|o| o.settles.is_none()) {
            if let Some((
                at,
                End::Done(_, Outcome::Committed { version, .. } | Outcome::Deleted { version }),
            )) = &operation.end
            {
                if let Some(other) = versions.insert(*version, operation.op.counter) {
                    return Err(format!(
                        "operations {other} and {} both made version {version}",
                        operation.op.counter
                    ));
                }
                done.push((operation.began, *at, *version));
            }
        }
        if let Some(highest) = versions.keys().max()
            && found.version < *highest
        {
            return Err(format!(
                "version {highest} was acknowledged, the owners hold version {}",
                found.version
            ));
        }
        for (_, finished, version) in &done {
            for (began, _, later) in &done {
                if began > finished && later < version {
                    return Err(format!(
                        "version {later} was made after version {version} had been acknowledged"
                    ));
                }
            }
        }
        for operation in &self.operations {
            let Some((_, End::Refused(refusal))) = &operation.end else {
                continue;
            };
            let op = operation.op;
            if found.remembers(&op).is_some() {
                return Err(format!("operation {} was refused and applied", op.counter));
            }
            if let Refusal::Precondition {
                current: Some((_, refused_at)),
            } = refusal
                && let Some((_, _, newer)) = done
                    .iter()
                    .find(|(_, at, version)| *at < operation.began && version > refused_at)
            {
                return Err(format!(
                    "operation {} was refused for version {refused_at} after version {newer} had been acknowledged",
                    op.counter
                ));
            }
        }
        let left = self
            .operations
            .iter()
            .filter(|o| o.settles.is_none() && o.proposer.has_left())
            .count() as u64;
        if found.version > left {
            return Err(format!(
                "{left} operations were proposed and {} were applied",
                found.version
            ));
        }
        Ok(())
    }
}
