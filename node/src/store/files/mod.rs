//! Files of the store: how bytes come into one, how one comes into its place and goes,
//! and the end that says what it is.

pub(super) mod pipe;
pub(super) mod tmp;
pub(super) mod trailer;
