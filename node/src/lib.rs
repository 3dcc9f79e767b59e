//! One storage node of chord.
//!
//! - [`ring`] finds: who is the successor of an id, who is alive.
//! - [`register`] decides: one value per file name, by single-key consensus.
//! - [`store`] keeps: registers, chunks and dropped files on one disk.
//! - [`files`] is the data path: streaming PUT and GET over the owners.
//! - [`peer`] is what nodes and the operator say to each other, [`http`] what
//!   clients say.
//! - [`workers`] bring every copy to where the view wants it.

pub mod answer;
pub mod config;
pub mod files;
pub mod http;
pub mod local;
pub mod node;
pub mod notes;
pub mod peer;
pub mod peer_port;
pub mod quorum;
pub mod ring;
pub mod store;
#[cfg(test)]
mod testing;
pub mod workers;
