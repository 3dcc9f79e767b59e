//! The API server: its objects as they were last seen, and writes to it.

pub mod cache;
pub mod error;
pub mod writer;

pub use self::error::{Cause, Error};
