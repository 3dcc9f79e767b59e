//! Reading what the operator tells: lines of JSON at the end of a file.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use chord_operator::local::files::EventLine;

/// Bytes read in one go.
const AT_ONCE: u64 = 256 * 1024;

/// Reads what is added to a file.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    at: u64,
}

impl EventReader {
    /// From the present end on: what was told in an earlier run is old.
    pub fn from_end(path: PathBuf) -> EventReader {
        let at = std::fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
        EventReader { path, at }
    }

    /// The whole lines that were added.
    pub fn read(&mut self) -> Vec<EventLine> {
        let Ok(mut file) = std::fs::File::open(&self.path) else {
            return Vec::new();
        };
        let length = file.metadata().map(|m| m.len()).unwrap_or(0);
        if length < self.at {
            // It was begun anew.
            self.at = 0;
        }
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(self.at)).is_err()
            || file.take(AT_ONCE).read_to_end(&mut bytes).is_err()
        {
            return Vec::new();
        }
        let whole = match bytes.iter().rposition(|b| *b == b'\n') {
            Some(last) => last + 1,
            // A line that long is none of ours: past it.
            None if bytes.len() as u64 == AT_ONCE => bytes.len(),
            None => 0,
        };
        self.at += whole as u64;
        bytes[..whole]
            .split(|b| *b == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(message: &str) -> String {
        format!(
            "{{\"at\":\"2026-01-02T03:04:05Z\",\"type\":\"Normal\",\"reason\":\"R\",\"message\":\"{message}\"}}\n"
        )
    }

    fn told(reader: &mut EventReader) -> Vec<String> {
        reader
            .read()
            .into_iter()
            .map(|event| event.message)
            .collect()
    }

    #[test]
    fn only_what_is_added_in_whole_lines_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, line("old")).unwrap();
        let mut reader = EventReader::from_end(path.clone());
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        let (two, half) = (line("two"), line("two").len() / 2);
        file.write_all(format!("{}noise\n{}", line("one"), &two[..half]).as_bytes())
            .unwrap();
        assert_eq!(told(&mut reader), ["one"]);
        assert!(told(&mut reader).is_empty());
        file.write_all(&two.as_bytes()[half..]).unwrap();
        assert_eq!(told(&mut reader), ["two"]);
        std::fs::write(&path, line("anew")).unwrap();
        assert_eq!(told(&mut reader), ["anew"]);
    }
}
