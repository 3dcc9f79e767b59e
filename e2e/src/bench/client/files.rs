//! The files of a bench: their names, contents and paths.

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;

use crate::traffic::content::mix;

/// Bytes that all contents are cut out of: comparing with them costs next to
/// nothing, making them anew for every file would cost more than the transfer.
#[derive(Clone)]
pub struct Source(Bytes);

impl Default for Source {
    fn default() -> Source {
        let mut bytes = Vec::with_capacity(17 << 20);
        let mut state = 0x0123_4567_89ab_cdef_u64;
        while bytes.len() < 17 << 20 {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            bytes.extend_from_slice(&mix(state).to_le_bytes());
        }
        Source(bytes.into())
    }
}

impl Source {
    /// The contents of a file, other ones for each file.
    pub fn file(&self, set: &FileSet, index: usize) -> Bytes {
        let room = (self.0.len() - set.size) as u64;
        let salt = set
            .prefix
            .bytes()
            .fold(7, |state, byte| mix(state ^ u64::from(byte)));
        let from = (mix(salt ^ index as u64) % room) as usize;
        self.0.slice(from..from + set.size)
    }
}

/// Files of one size with numbered names.
#[derive(Clone, Debug)]
pub struct FileSet {
    /// What their names begin with.
    pub prefix: String,
    /// Bytes of each.
    pub size: usize,
}

impl FileSet {
    /// Files of this size, whose names begin with the prefix.
    pub fn new(prefix: impl Into<String>, size: usize) -> FileSet {
        FileSet {
            prefix: prefix.into(),
            size,
        }
    }

    /// The name of one of them.
    pub fn name(&self, index: usize) -> String {
        format!("{}{index:06}", self.prefix)
    }
}

/// The paths under which a server has the files of a set.
#[derive(Clone)]
pub enum Paths {
    /// Their names below this.
    Below(&'static str),
    /// Signed, which is done before the clock is started, and good for this host only.
    Signed {
        /// The name that servers are called by.
        host: String,
        /// Path and signature of each file, in their order.
        paths: Arc<[String]>,
    },
}

impl Paths {
    /// Where chord has files.
    pub const FILES: Paths = Paths::Below("/files/");

    /// The path of one file.
    pub fn of(&self, set: &FileSet, index: usize) -> Result<Cow<'_, str>> {
        match self {
            Paths::Below(folder) => Ok(format!("{folder}{}", set.name(index)).into()),
            Paths::Signed { paths, .. } => {
                let path = paths.get(index).with_context(|| {
                    let name = set.name(index);
                    format!("{} requests were signed, none for {name}", paths.len())
                })?;
                Ok(path.into())
            }
        }
    }

    /// The name that servers are called by, where it is not their address.
    pub fn host(&self) -> Option<&str> {
        match self {
            Paths::Below(_) => None,
            Paths::Signed { host, .. } => Some(host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_path_that_its_server_wants() {
        let set = FileSet::new("small/", 1);
        let below = Paths::FILES;
        assert_eq!(below.of(&set, 7).unwrap(), "/files/small/000007");
        assert_eq!(below.host(), None);
        let signed = Paths::Signed {
            host: "here".into(),
            paths: Arc::new(["/b/small/000000?X-Amz-Signature=1".to_string()]),
        };
        assert_eq!(
            signed.of(&set, 0).unwrap(),
            "/b/small/000000?X-Amz-Signature=1"
        );
        assert_eq!(signed.host(), Some("here"));
        let error = signed.of(&set, 1).unwrap_err().to_string();
        assert!(error.contains("small/000001"), "{error}");
    }
}
