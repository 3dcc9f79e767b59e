//! The connections of both ports: how many there are and how long they live, and what
//! stands between them and the HTTP library.

mod bound;
mod chunked;
mod gate;
mod patient;
mod server;

pub use server::{Limits, serve};
