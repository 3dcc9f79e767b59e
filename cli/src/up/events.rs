//! Following what the operator tells: lines of JSON at the end of a file.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;

/// Bytes read in one go.
const AT_ONCE: u64 = 256 * 1024;

/// A line of the operator's, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Event {
    #[serde(default)]
    pub warning: bool,
    pub message: String,
}

/// Reads what is added to a file.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    at: u64,
}

impl Follow {
    /// From the present end on: what was told in an earlier run is old.
    pub fn from_end(path: PathBuf) -> Follow {
        let at = std::fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
        Follow { path, at }
    }

    /// The whole lines that were added.
    pub fn read(&mut self) -> Vec<Event> {
        let Ok(mut file) = std::fs::File::open(&self.path) else { return Vec::new() };
        let length = file.metadata().map(|m| m.len()).unwrap_or(0);
        if length < self.at {
            // It was begun anew.
            self.at = 0;
        }
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(self.at)).is_err() || file.take(AT_ONCE).read_to_end(&mut bytes).is_err() {
            return Vec::new();
        }
        let whole = match bytes.iter().rposition(|b| *b == b'\n') {
            Some(last) => last + 1,
            // A line that long is none of ours: past it.
            None if bytes.len() as u64 == AT_ONCE => bytes.len(),
            None => 0,
        };
        self.at += whole as u64;
        bytes[..whole].split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_what_is_added_in_whole_lines_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, "{\"message\":\"old\"}\n").unwrap();
        let mut follow = Follow::from_end(path.clone());
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"message\":\"one\",\"warning\":true}\nnoise\n{\"mess").unwrap();
        assert_eq!(follow.read(), [Event { warning: true, message: "one".into() }]);
        assert_eq!(follow.read(), []);
        file.write_all(b"age\":\"two\"}\n").unwrap();
        assert_eq!(follow.read()[0].message, "two");
        std::fs::write(&path, "{\"message\":\"anew\"}\n").unwrap();
        assert_eq!(follow.read()[0].message, "anew");
    }
}
