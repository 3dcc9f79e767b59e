//! The value of a register and the changes it can go through: a pure function
//! that every proposer runs on what a quorum told it.

use std::collections::VecDeque;

use chord_types::manifest::{Body, ChunkRef};
use chord_types::{DiskId, Manifest, Metadata, UploadId};
use serde::{Deserialize, Serialize};

use super::condition::{Condition, Verdict};

/// Operations that a register remembers, newest last.
const REMEMBERED: usize = 16;
/// Uploads that may be pending on one name at a time.
pub const MAX_PENDING: usize = 64;

/// Names one operation of one coordinator, so that it is never applied twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpId {
    /// The coordinator's disk.
    pub disk: DiskId,
    /// That disk's boot number.
    pub boot: u64,
    /// Counts the operations of one boot.
    pub counter: u64,
}

/// An upload that has begun and is not committed: its chunks must not be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its id.
    pub upload: UploadId,
    /// Who streams it: the disk and boot of the coordinator.
    pub disk: DiskId,
    /// The boot number of that disk.
    pub boot: u64,
    /// When it began, for people; nothing is decided by it.
    pub since_ms: u64,
}

/// What one name holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// Grows with every change that is not an identity.
    pub seq: u64,
    /// Grows with every version, deletions too.
    pub version: u64,
    /// `None`: deleted, or never committed.
    pub current: Option<Manifest>,
    /// Uploads under way.
    pub pending: Vec<Pending>,
    recent: VecDeque<(OpId, Outcome)>,
    /// Where the file is deleted: when its last version was made, for the next one to be
    /// later. 0.1.0 neither writes nor keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_ms: Option<u64>,
}

/// A version to be committed; the register gives it its number and tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFile {
    /// Bytes.
    pub size: u64,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// The media type, as the client said it.
    pub content_type: Option<String>,
    /// `X-Chord-Meta-*`: lower-case name after the prefix, and value.
    pub meta: Metadata,
    /// Distinguishes the contents: part of the entity tag.
    pub fingerprint: String,
    /// The contents, or the chunks that hold them.
    pub body: Body,
}

/// What an entry takes beside its contents, about.
const ENTRY_BYTES: u64 = 1024;

fn weight(body: &Body) -> u64 {
    let contents = match body {
        Body::Inline(bytes) => bytes.len(),
        Body::Chunks { chunks, .. } => chunks.len() * size_of::<ChunkRef>(),
    };
    ENTRY_BYTES + contents as u64
}

impl Change {
    /// Bytes, about, that a client brings with it; nothing for what confirms,
    /// deletes or tidies up.
    pub fn brings(&self) -> u64 {
        match self {
            Change::Commit { file, .. } => weight(&file.body),
            Change::Begin { .. } => ENTRY_BYTES,
            Change::Identity | Change::Delete { .. } | Change::Expire { .. } => 0,
        }
    }
}

/// A change of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Finishes an undecided value, or confirms the decided one.
    Identity,
    /// Enters an upload as pending, if the conditions hold.
    Begin {
        /// The upload that begins.
        pending: Pending,
        /// What must hold of the current version.
        condition: Condition,
    },
    /// Makes a new version; the upload it consumes must be pending still.
    Commit {
        /// Names the operation.
        op: OpId,
        /// The version to be made.
        file: NewFile,
        /// What must hold of the current version.
        condition: Condition,
    },
    /// Deletes the current version.
    Delete {
        /// Names the operation.
        op: OpId,
        /// What must hold of the current version.
        condition: Condition,
    },
    /// Takes a pending upload out.
    Expire {
        /// The upload that is given up.
        upload: UploadId,
    },
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing to report.
    Done,
    /// A version was made; whether there was a current one before.
    Committed {
        /// Its number.
        version: u64,
        /// Its entity tag, without quotes.
        etag: String,
        /// Whether there was a current version before.
        replaced: bool,
    },
    /// The current version was deleted.
    Deleted {
        /// The number that the deletion counts as.
        version: u64,
    },
}

/// Why a change does not apply to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing to delete.
    NotFound,
    /// A precondition fails; the current tag and version.
    Precondition {
        /// The current version's tag and number; `None` where there is none.
        current: Option<(String, u64)>,
    },
    /// The upload is not pending: it expired.
    UploadExpired,
    /// Too many uploads are pending on this name.
    TooManyPending,
}

/// What a change makes of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every result is the large one"
)]
pub enum Applied {
    /// Propose this.
    Next(Value, Outcome),
    /// It was applied before (found by its id), with this outcome.
    Already(Outcome),
    /// It does not apply to this value.
    Refused(Refusal),
}

impl Value {
    /// The outcome of an operation that was applied, while it is remembered.
    pub fn remembers(&self, op: &OpId) -> Option<&Outcome> {
        self.recent
            .iter()
            .find(|(id, _)| id == op)
            .map(|(_, outcome)| outcome)
    }

    /// Whether an operation proposed when the register stood at `seq` would
    /// still be remembered had it been applied.
    pub fn would_remember_since(&self, seq: u64) -> bool {
        self.seq.saturating_sub(seq) < REMEMBERED as u64
    }

    /// Whether an upload is the current version's or pending.
    pub fn names_upload(&self, upload: &UploadId) -> bool {
        self.pending.iter().any(|p| p.upload == *upload)
            || matches!(&self.current, Some(Manifest { body: Body::Chunks { upload: u, .. }, .. }) if u == upload)
    }

    /// Bytes, about, that a disk which holds `held` needs for this value beside
    /// them: nothing where the contents are the same, or are gone.
    pub fn brings(&self, held: Option<&Value>) -> u64 {
        let held = held.and_then(|v| v.current.as_ref()).map(|m| &m.body);
        match &self.current {
            Some(manifest) if held != Some(&manifest.body) => weight(&manifest.body),
            _ => 0,
        }
    }

    /// When a version was made that a node stores at `clock_ms` by its own clock: in a
    /// later second than every version before it. Clocks differ and are set back, and
    /// a client that has no more than the date of a version must not take another
    /// one for it (RFC 9110, section 8.8.2.2).
    fn time_of_next(&self, clock_ms: u64) -> u64 {
        let current = self.current.as_ref().map(|m| m.modified_ms);
        let Some(before) = current.or(self.deleted_ms) else {
            return clock_ms;
        };
        let later = (before / 1000).saturating_add(1).saturating_mul(1000);
        clock_ms.max(later)
    }

    fn tag(&self) -> Option<(String, u64)> {
        self.current.as_ref().map(|m| (m.etag.clone(), m.version))
    }

    fn check(&self, condition: &Condition) -> Result<(), Refusal> {
        if condition.version.is_some_and(|v| v != self.version) {
            return Err(Refusal::Precondition {
                current: self.tag(),
            });
        }
        let current = self
            .current
            .as_ref()
            .map(|m| (m.etag.as_str(), m.modified_ms / 1000));
        match condition.evaluate(current, false) {
            Verdict::Proceed => Ok(()),
            Verdict::Failed | Verdict::NotModified => Err(Refusal::Precondition {
                current: self.tag(),
            }),
        }
    }

    fn remember(&mut self, op: OpId, outcome: &Outcome) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((op, outcome.clone()));
    }

    /// Applies a change.
    pub fn apply(&self, change: &Change) -> Applied {
        match self.try_apply(change) {
            Ok(applied) => applied,
            Err(refusal) => Applied::Refused(refusal),
        }
    }

    fn try_apply(&self, change: &Change) -> Result<Applied, Refusal> {
        match change {
            Change::Identity => Ok(Applied::Next(self.clone(), Outcome::Done)),
            Change::Begin { pending, condition } => self.begin(pending, condition),
            Change::Commit {
                op,
                file,
                condition,
            } => self.commit(op, file, condition),
            Change::Delete { op, condition } => self.delete(op, condition),
            Change::Expire { upload } => Ok(self.expire(upload)),
        }
    }

    fn begin(&self, pending: &Pending, condition: &Condition) -> Result<Applied, Refusal> {
        if self.pending.iter().any(|p| p.upload == pending.upload) {
            return Ok(Applied::Already(Outcome::Done));
        }
        self.check(condition)?;
        if self.pending.len() >= MAX_PENDING {
            return Err(Refusal::TooManyPending);
        }
        let mut next = self.clone();
        next.seq += 1;
        next.pending.push(pending.clone());
        Ok(Applied::Next(next, Outcome::Done))
    }

    fn commit(&self, op: &OpId, file: &NewFile, condition: &Condition) -> Result<Applied, Refusal> {
        if let Some(outcome) = self.remembers(op) {
            return Ok(Applied::Already(outcome.clone()));
        }
        let mut next = self.clone();
        if let Body::Chunks { upload, .. } = &file.body
            && !next.take_out(upload)
        {
            return Err(Refusal::UploadExpired);
        }
        self.check(condition)?;
        next.seq += 1;
        next.version += 1;
        let etag = format!("{:x}-{}", next.version, file.fingerprint);
        let outcome = Outcome::Committed {
            version: next.version,
            etag: etag.clone(),
            replaced: self.current.is_some(),
        };
        next.current = Some(Manifest {
            version: next.version,
            etag,
            size: file.size,
            modified_ms: self.time_of_next(file.modified_ms),
            content_type: file.content_type.clone(),
            meta: file.meta.clone(),
            body: file.body.clone(),
        });
        next.deleted_ms = None;
        next.remember(*op, &outcome);
        Ok(Applied::Next(next, outcome))
    }

    fn delete(&self, op: &OpId, condition: &Condition) -> Result<Applied, Refusal> {
        if let Some(outcome) = self.remembers(op) {
            return Ok(Applied::Already(outcome.clone()));
        }
        self.check(condition)?;
        if self.current.is_none() {
            return Err(Refusal::NotFound);
        }
        let mut next = self.clone();
        next.seq += 1;
        next.version += 1;
        next.deleted_ms = next.current.take().map(|m| m.modified_ms);
        let outcome = Outcome::Deleted {
            version: next.version,
        };
        next.remember(*op, &outcome);
        Ok(Applied::Next(next, outcome))
    }

    fn expire(&self, upload: &UploadId) -> Applied {
        let mut next = self.clone();
        if !next.take_out(upload) {
            return Applied::Already(Outcome::Done);
        }
        next.seq += 1;
        Applied::Next(next, Outcome::Done)
    }

    /// Whether the upload was pending; it is not any more.
    fn take_out(&mut self, upload: &UploadId) -> bool {
        let before = self.pending.len();
        self.pending.retain(|p| p.upload != *upload);
        self.pending.len() < before
    }
}

#[cfg(test)]
mod tests;
