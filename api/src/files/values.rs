//! What goes with a request for a file, and what comes back with it.

use chord_types::metadata::KeptHeader;
use http::HeaderMap;
use serde::Serialize;

/// The prefix of a file's own metadata.
pub(super) const META: &str = "x-chord-meta-";
/// Counts the versions of a name.
const VERSION: &str = "x-chord-version";

/// What goes with a file that is stored.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// Bytes, where known beforehand: a full cluster then says so at once, and a
    /// body that ends short is refused.
    pub length: Option<u64>,
    /// As it shall be kept; a guess is not made.
    pub content_type: Option<String>,
    /// The other standard headers that are kept with the file.
    pub headers: Vec<(KeptHeader, String)>,
    /// Names without `X-Chord-Meta-`, and values.
    pub meta: Vec<(String, String)>,
    /// An entity tag without its quotes, or `*`.
    pub if_match: Option<String>,
    /// An entity tag without its quotes, or `*`: only if there is no such file.
    pub if_none_match: Option<String>,
}

/// What a file that was stored became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// False where it took the place of an older version.
    pub created: bool,
    /// Without quotes.
    pub etag: String,
    /// Counts the versions of this name.
    pub version: Option<u64>,
}

/// What of a file is wanted.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// First byte, and last byte (with it) where it is not the end.
    pub range: Option<(u64, Option<u64>)>,
    /// An entity tag without its quotes.
    pub if_match: Option<String>,
}

/// What the headers say about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Bytes of the body that comes (of the whole file, unless a range was asked).
    pub size: Option<u64>,
    /// Without quotes.
    pub etag: String,
    /// Counts the versions of this name; absent where a proxy took it away.
    pub version: Option<u64>,
    /// As an HTTP date.
    pub last_modified: Option<String>,
    /// As it was given when the file was stored.
    pub content_type: Option<String>,
    /// In which codings the bytes are; nothing is decoded on the way.
    pub content_encoding: Option<String>,
    /// Language tags.
    pub content_language: Option<String>,
    /// Whether it is shown or saved, and under which name.
    pub content_disposition: Option<String>,
    /// `no-cache` where the file was stored without it.
    pub cache_control: Option<String>,
    /// An HTTP date until which caches may keep it, or `0`.
    pub expires: Option<String>,
    /// Names without `X-Chord-Meta-`, and values.
    pub meta: Vec<(String, String)>,
}

/// A page of names that is asked for.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// With which names begin.
    pub prefix: Option<String>,
    /// The name after which the page begins.
    pub after: Option<String>,
    /// Up to which names are put together.
    pub delimiter: Option<String>,
    /// 1 to 1 000.
    pub limit: Option<u32>,
}

impl FileInfo {
    pub(super) fn of(headers: &HeaderMap) -> FileInfo {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_string)
        };
        let meta = headers
            .iter()
            .filter_map(|(key, value)| {
                let key = key.as_str().strip_prefix(META)?;
                Some((key.to_string(), value.to_str().ok()?.to_string()))
            })
            .collect();
        FileInfo {
            size: text("content-length").and_then(|v| v.parse().ok()),
            etag: text("etag")
                .map(|tag| tag.trim_matches('"').to_string())
                .unwrap_or_default(),
            version: text(VERSION).and_then(|v| v.parse().ok()),
            last_modified: text("last-modified"),
            content_type: text("content-type"),
            content_encoding: text("content-encoding"),
            content_language: text("content-language"),
            content_disposition: text("content-disposition"),
            cache_control: text("cache-control"),
            expires: text("expires"),
            meta,
        }
    }
}
