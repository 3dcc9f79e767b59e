//! What shall be: plain values from plain values, without a client.
//!
//! [`objects`] are applied. The record is built here too, and is not one of them: it
//! holds what cannot be made a second time, and is only ever created or replaced. The
//! Secret is made where it is missing, by [`super::secret`].

pub mod claims;
pub mod objects;
pub mod owner_references;
pub mod proof;
pub mod record;
pub mod replicas;
mod services;
pub mod shape;
mod statefulset;
#[cfg(test)]
mod tests;

pub use self::record::Error;
