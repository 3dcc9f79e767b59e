//! The command line as it is typed.

mod cluster;
mod files;
pub mod sim;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::cluster::{
    DrainArgs, FindArgs, ReplaceArgs, RingArgs, ScaleArgs, UpArgs, VerifyArgs,
};
pub use self::files::{CatArgs, GetArgs, LsArgs, PutArgs, RmArgs, StatArgs};
pub use self::sim::SimArgs;
use crate::output::Format;

/// Stores files on a ring of nodes that grows and shrinks with them.
#[derive(Debug, Parser)]
#[command(name = "chord", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 a condition does not hold, 5 not available";

/// What says where a cluster is: of no use to commands that need none.
const WHERE: [&str; 4] = ["endpoint", "namespace", "cluster", "context"];

/// The help of `--endpoint` for kubectl's plugin.
const PLUGIN_ENDPOINT: &str = "Where the cluster answers [env: CHORD_ENDPOINT] [default: the ChordCluster in the namespace, by port-forward]";

/// Reads a command line.
pub fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    let plugin = words.first().is_some_and(|w| is_plugin(Path::new(w)));
    let matches = command(plugin).try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
}

/// The command line, with what is of no use to a command left out of its help, and
/// with the place where kubectl's plugin looks when nothing is said.
pub fn command(plugin: bool) -> clap::Command {
    let mut whole = Cli::command();
    if plugin {
        whole = whole.mut_arg("endpoint", |endpoint| endpoint.help(PLUGIN_ENDPOINT));
    }
    let hidden: Vec<clap::Arg> = whole
        .get_arguments()
        .filter(|arg| WHERE.contains(&arg.get_id().as_str()))
        .map(|arg| arg.clone().hide(true))
        .collect();
    whole.mut_subcommand("up", |up| up.args(hidden))
}

/// Whether a command line that cannot be read asks for JSON.
pub fn wants_json(words: &[OsString]) -> bool {
    let is = |word: &OsString, text: &str| word.to_str() == Some(text);
    words
        .windows(2)
        .any(|pair| (is(&pair[0], "-o") || is(&pair[0], "--output")) && is(&pair[1], "json"))
        || words.iter().any(|word| {
            ["-ojson", "-o=json", "--output=json"]
                .iter()
                .any(|t| is(word, t))
        })
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Where the cluster answers [env: CHORD_ENDPOINT] [default: http://127.0.0.1:8080]
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint: Option<String>,
    /// How results are written
    #[arg(
        short = 'o',
        long = "output",
        global = true,
        value_enum,
        default_value = "text"
    )]
    pub output: Format,
    /// Say more: for put and get, where each part is
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Find the cluster on Kubernetes, in this namespace
    #[arg(short, long, global = true, help_heading = "Kubernetes")]
    pub namespace: Option<String>,
    /// The ChordCluster; may be left out where the namespace has just one
    #[arg(long, global = true, value_name = "NAME", help_heading = "Kubernetes")]
    pub cluster: Option<String>,
    /// The context of the kubeconfig
    #[arg(long, global = true, help_heading = "Kubernetes")]
    pub context: Option<String>,
}

impl Global {
    /// The first option that says where a cluster is.
    pub fn names_a_place(&self) -> Option<&'static str> {
        [
            ("--endpoint", &self.endpoint),
            ("--namespace", &self.namespace),
            ("--cluster", &self.cluster),
            ("--context", &self.context),
        ]
        .into_iter()
        .find_map(|(option, value)| value.as_ref().map(|_| option))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store files
    Put(PutArgs),
    /// Fetch a file
    Get(GetArgs),
    /// Write files to standard output
    Cat(CatArgs),
    /// List files
    Ls(LsArgs),
    /// What there is to know about a file
    Stat(StatArgs),
    /// Delete files
    Rm(RmArgs),
    /// Where a file's key is: its id, its owners, the path that the ring took
    Find(FindArgs),
    /// The cluster: its phase, its space, what the autoscaler decided
    Status,
    /// The nodes, one a line
    Nodes,
    /// Draw the ring: its nodes and their shares, and where a name lands
    Ring(RingArgs),
    /// Check every copy against its checksum: of one file, or of all
    Verify(VerifyArgs),
    /// Set the number of nodes; refused while autoscaling decides
    Scale(ScaleArgs),
    /// Move everything off a node, which stays
    Drain(DrainArgs),
    /// Give the disk of a node up as lost
    Replace(ReplaceArgs),
    /// Run a cluster on this machine
    Up(UpArgs),
    /// Simulate what cannot be built in a moment
    Sim(SimArgs),
}

/// Whether kubectl started us: it runs `kubectl-chord` for `kubectl chord`.
pub fn is_plugin(program: &Path) -> bool {
    program
        .file_stem()
        .and_then(|s| s.to_str())
        .is_some_and(|s| s.starts_with("kubectl-"))
}
