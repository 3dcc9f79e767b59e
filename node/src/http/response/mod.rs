//! What a client is answered, beside the files themselves.

pub(super) mod body;
pub(super) mod problem;
pub(super) mod typed;
