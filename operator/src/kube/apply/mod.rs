//! Carrying a plan out: what is written to the API server, in the order of
//! safety.

pub mod claim_owners;
pub mod claims;
pub mod objects;
pub mod record;
pub mod turns;
