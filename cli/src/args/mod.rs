//! The command line as it is typed.

use std::ffi::OsString;
use std::path::PathBuf;

use chord_types::FileName;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub mod sim;

pub use self::sim::SimRing;
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
    let plugin = words.first().is_some_and(|w| crate::is_plugin(w.as_ref()));
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
    Put(Put),
    /// Fetch a file
    Get(Get),
    /// Write files to standard output
    Cat(Cat),
    /// List files
    Ls(Ls),
    /// What there is to know about a file
    Stat(Stat),
    /// Delete files
    Rm(Rm),
    /// Where a file's key is: its id, its owners, the path that the ring took
    Find(Find),
    /// The cluster: its phase, its space, what the autoscaler decided
    Status,
    /// The nodes, one a line
    Nodes,
    /// Draw the ring: its nodes and their shares, and where a name lands
    Ring(Ring),
    /// Check every copy against its checksum: of one file, or of all
    Verify(Verify),
    /// Set the number of nodes; refused while autoscaling decides
    Scale(Scale),
    /// Move everything off a node, which stays
    Drain(Drain),
    /// Give the disk of a node up as lost
    Replace(Replace),
    /// Run a cluster on this machine
    Up(Up),
    /// Simulate what cannot be built in a moment
    Sim(Sim),
}

/// `chord put`.
///
/// With one FILE and a NAME the file is stored under NAME. Several FILEs are
/// stored under their own names. `put a b` is two files where b is a file here,
/// and NAME b where it is not; `--name` leaves no doubt.
#[derive(Debug, Args)]
pub struct Put {
    /// Files (or folders, with -r); `-` is standard input; last, a name that is no
    /// file here: what the one FILE is stored as, or, ending in `/`, what goes before
    /// the names of all
    #[arg(required = true, value_name = "FILE… [NAME]")]
    pub paths: Vec<PathBuf>,
    /// The name to store the one FILE (or folder) under
    #[arg(long, value_name = "NAME")]
    pub name: Option<FileName>,
    /// Folders, with all files in them; what is neither file nor folder, empty folders,
    /// and links to folders or out of the folder are left out, and told
    #[arg(short, long)]
    pub recursive: bool,
    /// The media type that is kept with the file
    #[arg(long, value_name = "TYPE", value_parser = header_text)]
    pub content_type: Option<String>,
    /// Metadata that is kept with the file
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub meta: Vec<(String, String)>,
    /// Only if this is the current version
    #[arg(long, value_name = "ETAG", value_parser = header_text)]
    pub if_match: Option<String>,
    /// Only if this is not the current version; `*`: only if there is no such file
    #[arg(long, value_name = "ETAG", value_parser = header_text)]
    pub if_none_match: Option<String>,
}

#[derive(Debug, Args)]
pub struct Get {
    /// The file (or, with -r, the folder: what its files' names begin with)
    pub name: String,
    /// Where to write it; `-` is standard output; left out: here, under the last
    /// part of its name
    pub file: Option<PathBuf>,
    /// Everything below NAME, into a folder; nothing is written through links in it
    #[arg(short, long)]
    pub recursive: bool,
}

#[derive(Debug, Args)]
pub struct Cat {
    #[arg(required = true)]
    pub names: Vec<FileName>,
}

#[derive(Debug, Args)]
pub struct Ls {
    /// What the names begin with
    pub prefix: Option<String>,
    /// With sizes and times
    #[arg(short)]
    pub long: bool,
    /// Show names only up to this text after the prefix, such as `/`
    #[arg(short, long)]
    pub delimiter: Option<String>,
    /// Begin after this name
    #[arg(long, value_name = "NAME")]
    pub after: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Stat {
    pub name: FileName,
}

#[derive(Debug, Args)]
pub struct Rm {
    #[arg(required = true)]
    pub names: Vec<FileName>,
    /// Everything below each NAME, taken as a folder
    #[arg(short, long)]
    pub recursive: bool,
    /// Only if this is the current version
    #[arg(long, value_name = "ETAG", value_parser = header_text, conflicts_with = "recursive")]
    pub if_match: Option<String>,
}

#[derive(Debug, Args)]
pub struct Find {
    pub name: FileName,
}

#[derive(Debug, Args)]
pub struct Ring {
    /// Show where this name lands, who holds it, and the path of a look-up
    #[arg(long, value_name = "NAME")]
    pub name: Option<FileName>,
    /// Draw an SVG image into this file; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Verify {
    pub name: Option<FileName>,
}

#[derive(Debug, Args)]
pub struct Scale {
    /// How many nodes there shall be
    #[arg(value_name = "N")]
    pub nodes: u32,
}

#[derive(Debug, Args)]
pub struct Drain {
    /// The node: `files-1`, or just `1`
    pub node: String,
    /// Take the drain back
    #[arg(long)]
    pub undo: bool,
}

#[derive(Debug, Args)]
pub struct Replace {
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
pub struct Up {
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

#[derive(Debug, Args)]
pub struct Sim {
    #[command(subcommand)]
    pub what: SimWhat,
}

#[derive(Debug, Subcommand)]
pub enum SimWhat {
    /// How even assigned tokens are, and how little a change moves
    Placement(SimPlacement),
    /// How many hops a look-up takes, and what the ring bears
    Ring(SimRing),
}

#[derive(Debug, Args)]
pub struct SimPlacement {
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub nodes: u32,
    /// Spread the nodes over so many zones, in turn (0: without zones)
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub zones: u32,
    /// Weights of the nodes, in turn: 1,1,2 makes every third twice as large
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = weight)]
    pub weights: Vec<f64>,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub tokens: u32,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub replication: u8,
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub keys: u64,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

fn weight(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(weight) if (0.1..=16.0).contains(&weight) => Ok(weight),
        _ => Err("a weight is a number from 0.1 to 16".to_string()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or("metadata is KEY=VALUE")?;
    // It travels as a header.
    if http::HeaderName::from_bytes(key.as_bytes()).is_err() {
        return Err(format!(
            "{key:?} cannot be a key: letters, digits and - . _ can be in one"
        ));
    }
    Ok((key.to_string(), header_text(value)?))
}

fn header_text(text: &str) -> Result<String, String> {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        Ok(text.to_string())
    } else {
        Err("only visible ASCII can be sent".to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command(false).debug_assert();
        command(true).debug_assert();
    }

    fn parsed(line: &[&str]) -> Result<Cli, clap::Error> {
        let words: Vec<OsString> = ["chord"].iter().chain(line).map(OsString::from).collect();
        parse(&words)
    }

    #[test]
    fn up_offers_no_place_of_a_cluster_and_ls_does() {
        let help = |name: &str| parsed(&[name, "--help"]).unwrap_err().to_string();
        for option in ["--endpoint", "--namespace", "--cluster", "--context"] {
            assert!(help("ls").contains(option), "{option}");
            assert!(!help("up").contains(option), "{option}");
        }
        let given = parsed(&["up", "--context", "x"]).unwrap();
        assert_eq!(given.global.names_a_place(), Some("--context"));
        let given = parsed(&["--endpoint", "x", "up"]).unwrap();
        assert_eq!(given.global.names_a_place(), Some("--endpoint"));
        assert_eq!(parsed(&["up"]).unwrap().global.names_a_place(), None);
    }

    #[test]
    fn the_plugin_says_where_it_looks_when_nothing_is_said() {
        let help = |program: &str| {
            let words = [program, "ls", "-h"].map(OsString::from);
            parse(&words).unwrap_err().to_string()
        };
        let local = "127.0.0.1:8080";
        assert!(help("chord").contains(local));
        let plugin = help("/usr/local/bin/kubectl-chord");
        assert!(!plugin.contains(local), "{plugin}");
        assert!(plugin.contains("CHORD_ENDPOINT"), "{plugin}");
    }

    #[test]
    fn what_cannot_be_a_header_is_a_usage_error() {
        for bad in [
            ["--meta", "a b=c"],
            ["--meta", "a:=c"],
            ["--meta", "é=c"],
            ["--meta", "k=a\nb"],
            ["--meta", "k=é"],
            ["--meta", "=c"],
            ["--content-type", "text/\r\nx"],
            ["--if-match", "\u{7f}"],
        ] {
            let error = parsed(&["put", "f", bad[0], bad[1]]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad:?}");
        }
        assert!(parsed(&["put", "f", "--meta", "My_key.1=a = b"]).is_ok());
    }

    #[test]
    fn a_wish_for_json_is_seen_though_the_rest_is_unclear() {
        let wants = |line: &[&str]| {
            let words: Vec<OsString> = line.iter().map(OsString::from).collect();
            wants_json(&words)
        };
        for line in [
            &["chord", "-o", "json", "nonsense"][..],
            &["chord", "ls", "--limit", "x", "--output=json"],
            &["chord", "-ojson"],
        ] {
            assert!(wants(line), "{line:?}");
        }
        assert!(!wants(&["chord", "ls", "json", "-o", "text"]));
    }

    #[test]
    fn options_may_stand_behind_the_command() {
        let cli = Cli::try_parse_from([
            "chord",
            "ls",
            "a/",
            "-o",
            "json",
            "--endpoint",
            "http://x:1",
        ])
        .unwrap();
        assert_eq!(cli.global.output, Format::Json);
        assert_eq!(cli.global.endpoint.as_deref(), Some("http://x:1"));
    }

    #[test]
    fn a_bad_name_is_a_usage_error() {
        let error = Cli::try_parse_from(["chord", "stat", ""]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_dash_is_an_argument() {
        let cli = Cli::try_parse_from(["chord", "put", "-", "name"]).unwrap();
        let Command::Put(put) = cli.command else {
            panic!("not put")
        };
        assert_eq!(put.paths, [PathBuf::from("-"), PathBuf::from("name")]);
    }
}
