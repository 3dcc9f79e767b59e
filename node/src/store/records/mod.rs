//! What the records of each kind say, how pages of them are read, and what a
//! transaction may do with them: a file for each kind.

pub(in crate::store) mod chunks;
pub(in crate::store) mod dropped;
mod heads;
mod hints;
mod identity;
mod page;
mod promises;
mod ranges;
mod registers;

pub(in crate::store) use identity::{Single, single};
