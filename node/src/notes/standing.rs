//! How far this node has come with what its view wants: the workers note what they
//! have proved, and who reports reads it.
//!
//! Each proof is of one view. A report never gives one out under another.

use chord_types::Epoch;
use chord_types::report::{Copies, Sync};
use chord_types::view::ViewRef;
use parking_lot::Mutex;

use crate::view::Current;

/// What the workers have proved.
#[derive(Debug, Default)]
pub struct Standing {
    /// No lock of tokio's: nothing is awaited while it is held.
    proved: Mutex<Proved>,
}

#[derive(Debug, Default)]
struct Proved {
    sync: Option<Sync>,
    copies: Option<Copies>,
    primary_files: u64,
    /// Chunks here that belong to others, and in which view that was found.
    foreign_chunks: Option<(ViewRef, u64)>,
}

impl Standing {
    /// Notes how far the change to a view has been settled. A newer view may have
    /// been taken meanwhile; what was proved is of `current`.
    pub fn set_sync(
        &self,
        current: &Current,
        settled: bool,
        pending: u64,
        waiting: Option<String>,
    ) {
        let mut proved = self.proved.lock();
        let newer = |s: &Sync| s.epoch > current.reference.epoch;
        if proved.sync.as_ref().is_some_and(newer) {
            return;
        }
        proved.sync = Some(Sync {
            epoch: current.reference.epoch,
            hash: current.reference.hash,
            settled,
            pending,
            waiting,
        });
    }

    /// How far the change to this view has been settled; `None` where nobody has
    /// looked since the start.
    pub fn sync(&self, current: &Current) -> Option<Sync> {
        let (epoch, hash) = (current.reference.epoch, current.reference.hash);
        let noted = self.proved.lock().sync.clone();
        noted
            .filter(|s| s.epoch == epoch && s.hash == hash)
            .or_else(|| {
                current.taken_here.then(|| Sync {
                    epoch,
                    hash,
                    settled: current.view.stable().is_some(),
                    pending: 0,
                    waiting: None,
                })
            })
    }

    /// Notes what a full pass over the copies has found.
    pub fn set_copies(&self, copies: Copies) {
        self.proved.lock().copies = Some(copies);
    }

    /// What the last full pass has found; nothing is complete before the first.
    pub fn copies(&self) -> Copies {
        let noted = self.proved.lock().copies.clone();
        noted.unwrap_or(Copies {
            epoch: Epoch(0),
            complete: false,
            missing: 0,
            unrepaired: 0,
            waiting: None,
        })
    }

    /// Notes of how many files this node is the primary.
    pub fn set_primary_files(&self, files: u64) {
        self.proved.lock().primary_files = files;
    }

    /// Of how many files this node is the primary.
    pub fn primary_files(&self) -> u64 {
        self.proved.lock().primary_files
    }

    /// Notes how many chunks here belong to others in this view.
    pub fn set_foreign_chunks(&self, current: &Current, chunks: u64) {
        self.proved.lock().foreign_chunks = Some((current.reference, chunks));
    }

    /// Chunks here that belong to others in this view; `None` until somebody has
    /// looked.
    pub fn foreign_chunks(&self, current: &Current) -> Option<u64> {
        let noted = self.proved.lock().foreign_chunks;
        let noted = noted.filter(|(view, _)| *view == current.reference);
        // What lies here in the first view has always been ours.
        let first = current.taken_here && current.reference.epoch == Epoch(1);
        noted.map(|(_, chunks)| chunks).or(first.then_some(0))
    }
}
