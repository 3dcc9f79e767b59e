//! What the store stands on: a file system and threads, and no more of them than
//! it uses.
//!
//! The store reaches files through [`FileSystem`] alone, its database too, and
//! runs what blocks through [`Threads`] alone. So another world can be put
//! below it: one that keeps account of every write and sync and shows what a
//! crash would leave, one whose calls fail, or one that runs everything on a
//! single thread in an order that can be repeated.

mod files;
mod real;
mod threads;

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(in crate::store) mod memory;

use std::sync::Arc;

pub use files::{Entry, FileSystem, How, OpenFile, Room, Stat};
pub use real::{RealFiles, RealThreads};
pub use threads::{NoThreads, Threads, Work};
pub(in crate::store) use threads::{Pending, start};

/// The world of one store.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Where its files are.
    pub files: Arc<dyn FileSystem>,
    /// Where its blocking work runs.
    pub threads: Arc<dyn Threads>,
}

impl Default for Platform {
    /// The machine on which this runs.
    fn default() -> Platform {
        Platform {
            files: Arc::new(RealFiles),
            threads: Arc::new(RealThreads),
        }
    }
}
