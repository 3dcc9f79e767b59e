//! The node's command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use chord_types::Ordinal;
use clap::{Parser, ValueEnum};

/// One storage node of a chord cluster.
#[derive(Clone, Debug, Parser)]
#[command(name = "chord-node", version, about)]
pub struct Args {
    /// The folder of this node's disk.
    #[arg(long)]
    pub data: PathBuf,
    /// The node's name, such as files-1.
    #[arg(long)]
    pub name: String,
    /// The node's ordinal.
    #[arg(long, conflicts_with = "ordinal_from_name")]
    pub ordinal: Option<u32>,
    /// Take the ordinal from the digits that end the name.
    #[arg(long)]
    pub ordinal_from_name: bool,
    /// The UID of the ChordCluster.
    #[arg(long)]
    pub cluster_uid: String,
    /// Bytes that this node may use; the file system may have less.
    #[arg(long)]
    pub capacity: Option<u64>,
    /// The file with the cluster's secret.
    #[arg(long)]
    pub secret_file: PathBuf,
    /// Where clients are listened to.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub client_listen: SocketAddr,
    /// Where other nodes and the operator are listened to.
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub peer_listen: SocketAddr,
    /// Peer URL of every node, with {ordinal} in it.
    #[arg(long, required_unless_present = "addresses")]
    pub peer_url: Option<String>,
    /// Client URL of every node, with {ordinal} in it.
    #[arg(long, required_unless_present = "addresses")]
    pub client_url: Option<String>,
    /// A file with the URLs of all nodes, read again whenever it changes.
    #[arg(long, conflicts_with_all = ["peer_url", "client_url"])]
    pub addresses: Option<PathBuf>,
    /// Where requests to change the cluster go (set by `chord up`).
    #[arg(long)]
    pub supervisor: Option<String>,
    /// Bytes of a chunk of new files.
    #[arg(long, default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(64 << 10..=64 << 20))]
    pub chunk_size: u32,
    /// When a write is acknowledged.
    #[arg(long, value_enum, default_value = "durable")]
    pub durability: Durability,
    /// Milliseconds between two passes of the migrator.
    #[arg(long, default_value_t = 60_000)]
    pub migrate_every_ms: u64,
    /// Milliseconds between two passes of the replicator.
    #[arg(long, default_value_t = 60_000)]
    pub replicate_every_ms: u64,
    /// Milliseconds that a copy stays which this node no longer owes.
    #[arg(long, default_value_t = 600_000)]
    pub drop_redundant_after_ms: u64,
    /// Milliseconds between two rounds of the ring.
    #[arg(long, default_value_t = 1_000)]
    pub stabilize_every_ms: u64,
    /// Stop when standard input ends: the parent holds it open.
    #[arg(long)]
    pub exit_with_stdin: bool,
    /// `text` or `json`.
    #[arg(long, default_value = "text")]
    pub log_format: String,
}

/// When an acknowledgement is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// After data and metadata are synced.
    Durable,
    /// After they are written.
    Relaxed,
}

/// The name says no ordinal, and none is given.
#[derive(Debug, thiserror::Error)]
#[error("the name {name:?} does not end in -NUMBER: give --ordinal or another --name")]
pub struct NoOrdinal {
    /// The node's name.
    pub name: String,
}

impl Args {
    /// The ordinal, given or taken from the name.
    pub fn ordinal(&self) -> Result<Ordinal, NoOrdinal> {
        if let Some(ordinal) = self.ordinal {
            return Ok(Ordinal(ordinal));
        }
        let digits = self.name.rsplit('-').next().unwrap_or_default();
        digits.parse().map(Ordinal).map_err(|_| NoOrdinal {
            name: self.name.clone(),
        })
    }
}
