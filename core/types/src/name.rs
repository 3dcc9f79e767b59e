//! File names as users give them: 1 to 1 024 bytes of UTF-8 without NUL, taken
//! as they are and never normalised.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;

/// A name that has been checked. Names compare and sort by their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

/// Why a name is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It has no bytes.
    #[error("the name is empty: give the file a name of 1 to {MAX_NAME_BYTES} bytes")]
    Empty,
    /// It has this many bytes.
    #[error("the name has {0} bytes: at most {MAX_NAME_BYTES} are allowed")]
    TooLong(usize),
    /// It holds a NUL byte.
    #[error("the name holds a NUL byte")]
    Nul,
    /// Its bytes are not UTF-8.
    #[error("the name is not UTF-8")]
    NotUtf8,
}

impl FileName {
    /// Checks a name.
    pub fn new(name: impl Into<String>) -> Result<FileName, BadName> {
        let name = name.into();
        match name.len() {
            0 => Err(BadName::Empty),
            n if n > MAX_NAME_BYTES => Err(BadName::TooLong(n)),
            _ if name.contains('\0') => Err(BadName::Nul),
            _ => Ok(FileName(name)),
        }
    }

    /// Decodes the path of a URL, percent-encoding once; `+` stays a plus.
    pub fn from_path(path: &str) -> Result<FileName, BadName> {
        let bytes: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
        FileName::new(String::from_utf8(bytes).map_err(|_| BadName::NotUtf8)?)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path that means this name, below `/files/`: everything but
    /// unreserved characters is escaped, and a name that a URL library would
    /// tidy away (a segment `.` or `..`, an empty one) must go by query instead,
    /// for which this answers `None`.
    pub fn to_path(&self) -> Option<String> {
        if self
            .0
            .split('/')
            .any(|segment| segment.is_empty() || segment == "." || segment == "..")
        {
            return None;
        }
        Some(escape(&self.0))
    }

    /// The name escaped for a query value; safe in `application/x-www-form-urlencoded`.
    pub fn to_query(&self) -> String {
        escape(&self.0)
    }

    /// What people call part `part` (from 1) of this file.
    pub fn part(&self, part: u32) -> String {
        format!("{}-part{part}", self.0)
    }
}

fn escape(text: &str) -> String {
    const KEEP: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    percent_encoding::utf8_percent_encode(text, KEEP).to_string()
}

impl std::str::FromStr for FileName {
    type Err = BadName;
    fn from_str(name: &str) -> Result<FileName, BadName> {
        FileName::new(name)
    }
}

impl TryFrom<String> for FileName {
    type Error = BadName;
    fn try_from(name: String) -> Result<FileName, BadName> {
        FileName::new(name)
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> String {
        name.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact() {
        assert_eq!(FileName::new(""), Err(BadName::Empty));
        assert!(FileName::new("x".repeat(1024)).is_ok());
        assert_eq!(FileName::new("x".repeat(1025)), Err(BadName::TooLong(1025)));
        assert_eq!(FileName::new("a\0b"), Err(BadName::Nul));
        assert_eq!(FileName::from_path("%ff"), Err(BadName::NotUtf8));
    }

    #[test]
    fn paths_are_decoded_once_and_plus_is_a_plus() {
        assert_eq!(FileName::from_path("a%2Fb").unwrap().as_str(), "a/b");
        assert_eq!(FileName::from_path("a%252Fb").unwrap().as_str(), "a%2Fb");
        assert_eq!(FileName::from_path("a+b").unwrap().as_str(), "a+b");
    }

    #[test]
    fn names_that_a_library_would_tidy_have_no_path() {
        for tidy in ["..", "a/../b", "./a", "a//b", "/a", "a/", "."] {
            assert_eq!(FileName::new(tidy).unwrap().to_path(), None, "{tidy}");
        }
        assert_eq!(
            FileName::new("ü b/…").unwrap().to_path().unwrap(),
            "%C3%BC%20b%2F%E2%80%A6"
        );
        assert!(FileName::new("a..b").unwrap().to_path().is_some());
    }
}
