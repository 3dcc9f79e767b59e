//! How much a load does.

use std::time::Duration;

/// How much is to be done.
#[derive(Clone, Copy, Debug)]
pub struct LoadShape {
    pub writers: usize,
    pub readers: usize,
    /// Between two writes of a writer.
    pub pause: Duration,
    /// A writer makes no more files than this; it goes on overwriting its own one.
    pub files: u64,
    /// The longest file.
    pub longest: u64,
    /// Whether connections are kept.
    pub reuse: bool,
}
