//! What clients send: contents that can be made again, requests that are tried again,
//! and readers and writers in the background.

pub mod content;
pub mod http;
pub mod load;
