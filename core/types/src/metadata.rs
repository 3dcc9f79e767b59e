//! What a client keeps with a file beside its bytes and its media type: a few
//! standard headers, and names and values of its own.

use serde::{Deserialize, Serialize};

/// A standard header that is kept with a file and given back with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeptHeader {
    /// In which codings the bytes are (`gzip`).
    ContentEncoding,
    /// In which languages it is written.
    ContentLanguage,
    /// Whether it is shown or saved, and under which name.
    ContentDisposition,
    /// How long caches may keep it.
    CacheControl,
    /// Until when caches may keep it.
    Expires,
}

impl KeptHeader {
    /// All of them.
    pub const ALL: [KeptHeader; 5] = [
        KeptHeader::ContentEncoding,
        KeptHeader::ContentLanguage,
        KeptHeader::ContentDisposition,
        KeptHeader::CacheControl,
        KeptHeader::Expires,
    ];

    /// Its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            KeptHeader::ContentEncoding => "content-encoding",
            KeptHeader::ContentLanguage => "content-language",
            KeptHeader::ContentDisposition => "content-disposition",
            KeptHeader::CacheControl => "cache-control",
            KeptHeader::Expires => "expires",
        }
    }
}

/// What marks a standard header on disk and on the wire. No name of a client's own has
/// it, since no name of a header may.
const MARK: char = ':';

/// The metadata of a file.
///
/// On disk and on the wire it is one list of names and values, in which the names of
/// standard headers begin with a colon. A node of 0.1.0, which knows only the names
/// of clients' own, reads, keeps and hands on all of it, and shows clients what it
/// knows. A field of its own would be lost on its way through such a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(Vec<(String, String)>);

impl Metadata {
    /// Adds a name of the client's own (in lower case, without `x-chord-meta-`) and its
    /// value; a name may be there several times.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_string(), value.to_string()));
    }

    /// Sets a standard header.
    pub fn set(&mut self, header: KeptHeader, value: &str) {
        let name = format!("{MARK}{}", header.name());
        self.0.retain(|(other, _)| *other != name);
        self.0.push((name, value.to_string()));
    }

    /// A standard header, where the client gave it.
    pub fn header(&self, header: KeptHeader) -> Option<&str> {
        let of = |name: &str| name.strip_prefix(MARK) == Some(header.name());
        let found = self.0.iter().find(|(name, _)| of(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The names and values that are no standard headers, in their order.
    pub fn custom(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.0.iter().filter(|(name, _)| !name.starts_with(MARK));
        own.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Bytes of all names and values.
    pub fn bytes(&self) -> usize {
        let name = |name: &str| name.trim_start_matches(MARK).len();
        self.0.iter().map(|(n, v)| name(n) + v.len()).sum()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Metadata {
    /// Names and values of a client's own.
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(own: I) -> Metadata {
        let mut meta = Metadata::default();
        own.into_iter()
            .for_each(|(name, value)| meta.add(name, value));
        meta
    }
}
