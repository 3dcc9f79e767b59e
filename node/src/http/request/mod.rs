//! What a client sends, parsed once into plain values.

pub(super) mod browser;
pub(super) mod conditions;
pub(super) mod digest;
pub(super) mod head;
pub(super) mod kept;
pub(super) mod name;
pub(super) mod query;
pub(super) mod range;
mod structured;
pub(super) mod upload;
