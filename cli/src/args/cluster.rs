//! What can be typed after the commands about the cluster, and after `chord up`.

use std::path::PathBuf;

use chord_types::FileName;
use clap::Args;

#[derive(Debug, Args)]
pub struct FindArgs {
    pub name: FileName,
}

#[derive(Debug, Args)]
pub struct RingArgs {
    /// Show where this name lands, who holds it, and the path of a look-up
    #[arg(long, value_name = "NAME")]
    pub name: Option<FileName>,
    /// Draw an SVG image into this file; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    pub name: Option<FileName>,
}

#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// How many nodes there shall be
    #[arg(value_name = "N")]
    pub nodes: u32,
}

#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The node: `files-1`, or just `1`
    pub node: String,
    /// Take the drain back
    #[arg(long)]
    pub undo: bool,
}

#[derive(Debug, Args)]
pub struct ReplaceArgs {
    /// The node whose disk is lost (`files-1`, or `1`), or the disk's id
    pub node: String,
    /// Even though the disk answers
    #[arg(long)]
    pub force: bool,
    /// Take it back: the disk counts again
    #[arg(long, conflicts_with = "force")]
    pub undo: bool,
}

#[derive(Clone, Debug, Args)]
pub struct UpArgs {
    /// A ChordCluster manifest; left out: the one of the folder, else three small nodes
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, default_value = "./chord-data")]
    pub dir: PathBuf,
    /// The port of the one endpoint, on loopback (0: any that is free)
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
}
