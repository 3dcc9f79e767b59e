//! A disk that is open: what its users share, who changes its metadata, and how
//! much room it has.

pub(super) mod ballast;
pub(super) mod handle;
pub(super) mod shared;
pub(super) mod space;
pub(super) mod writer;
