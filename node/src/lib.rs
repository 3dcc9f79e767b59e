//! One storage node of chord. From the ground up; each imports only from those above
//! it in this list:
//!
//! - [`world`] is where the outside comes in: time, chance, tasks.
//! - [`store`] keeps: registers, chunks and dropped files on one disk.
//! - [`view`] keeps the view that this node acts by, and says who the node is.
//! - [`notes`] is what the parts note down for each other: debts, garbage, proofs.
//! - [`peer`] is how nodes and the operator speak to each other.
//! - [`answer`] answers for this disk; [`ring`] finds, and knows who lives.
//! - [`quorum`] asks the others: one value per file name, by consensus.
//! - [`files`] is the data path: streaming PUT and GET over the owners.
//! - [`report`] tells how it stands, [`workers`] bring every copy to where the view
//!   wants it.
//! - [`http`] is the two ports, of clients and of nodes.
//! - [`node`] puts the parts together; nobody else sees all of them.
//!
//! The decisions are in crates of plain functions: `chord_ring`, `chord_register`,
//! `chord_placement`. Each has one shell here, the folder or file that carries out what
//! the core decides, and the shell has the core's subject for its name: [`ring`] (with
//! `ring/drive.rs` for the rounds), [`quorum`] (`quorum/drive.rs` for the proposer),
//! [`answer`] (for the acceptor), and [`view`] (`view/keeper.rs`, for a change of view).

#![warn(missing_docs)]

pub mod answer;
pub mod files;
pub mod http;
pub mod node;
pub mod notes;
pub mod peer;
pub mod quorum;
pub mod report;
pub mod ring;
pub mod store;
pub mod view;
pub mod workers;
pub mod world;
