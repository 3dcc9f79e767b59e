//! The client that measures: HTTP/1.1 with connections that are kept, one to each
//! server, taken in turn. Every byte that it reads is compared with what was
//! written; an answer that is not as it must be ends the bench.

mod connection;
mod files;
mod requests;
mod work;

pub use self::connection::Connection;
pub use self::files::{FileSet, Paths, Source};
pub use self::requests::{Gets, Lists, Puts, Verifies};
pub use self::work::{Done, Until, Work, run_clients};
