//! The metadata: a redb database of ten tables, changed by [`Txn`], read by
//! [`ReadTxn`].
//!
//! This folder knows tables, keys and records as bytes. What the records of each
//! kind say, and what may be done with them, is in `records`, a file for each kind.

pub(super) mod database;
pub(super) mod keys;
pub(super) mod seal;
pub(super) mod snapshot;
pub(super) mod source;
pub(super) mod table;
pub(super) mod txn;
