//! What can be typed after the commands about files.

use std::path::PathBuf;

use chord_types::FileName;
use chord_types::metadata::KeptHeader;
use clap::Args;

use super::values::{header_text, key_value};

/// `chord put`.
///
/// With one FILE and a NAME the file is stored under NAME. Several FILEs are
/// stored under their own names. `put a b` is two files where b is a file here,
/// and NAME b where it is not; `--name` leaves no doubt.
#[derive(Debug, Args)]
pub struct PutArgs {
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
    #[command(flatten)]
    pub headers: HeaderArgs,
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

/// Standard headers that are kept with a file, and given back by every GET of it.
#[derive(Debug, Args)]
pub struct HeaderArgs {
    /// In which codings the bytes are, such as gzip; nothing is encoded here
    #[arg(long, value_name = "CODINGS", value_parser = header_text)]
    pub content_encoding: Option<String>,
    /// In which languages it is written, such as de or en-GB
    #[arg(long, value_name = "TAGS", value_parser = header_text)]
    pub content_language: Option<String>,
    /// Whether browsers show or save it, such as `attachment; filename="a.txt"`
    #[arg(long, value_name = "HOW", value_parser = header_text)]
    pub content_disposition: Option<String>,
    /// How long caches may keep it, such as max-age=3600; left out: they ask each time
    #[arg(long, value_name = "DIRECTIVES", value_parser = header_text)]
    pub cache_control: Option<String>,
    /// Until when caches may keep it: an HTTP-date, or 0
    #[arg(long, value_name = "DATE", value_parser = header_text)]
    pub expires: Option<String>,
}

impl HeaderArgs {
    /// Those that were given.
    pub fn given(&self) -> Vec<(KeptHeader, String)> {
        let of = |header| match header {
            KeptHeader::ContentEncoding => &self.content_encoding,
            KeptHeader::ContentLanguage => &self.content_language,
            KeptHeader::ContentDisposition => &self.content_disposition,
            KeptHeader::CacheControl => &self.cache_control,
            KeptHeader::Expires => &self.expires,
        };
        let all = KeptHeader::ALL.into_iter();
        all.filter_map(|header| Some((header, of(header).clone()?)))
            .collect()
    }
}

#[derive(Debug, Args)]
pub struct GetArgs {
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
pub struct CatArgs {
    #[arg(required = true)]
    pub names: Vec<FileName>,
}

#[derive(Debug, Args)]
pub struct LsArgs {
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
pub struct StatArgs {
    pub name: FileName,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    #[arg(required = true)]
    pub names: Vec<FileName>,
    /// Everything below each NAME, taken as a folder
    #[arg(short, long)]
    pub recursive: bool,
    /// Only if this is the current version
    #[arg(long, value_name = "ETAG", value_parser = header_text, conflicts_with = "recursive")]
    pub if_match: Option<String>,
}
