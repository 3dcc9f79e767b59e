//! What a command says: lines for people, JSON for programs, and progress bars
//! where somebody watches.

mod progress;
mod table;
mod text;

use std::io::{ErrorKind, IsTerminal, Write};

use indicatif::ProgressBar;
use serde::Serialize;

pub use self::table::table;
pub use self::text::{escaped, escaped_json, escaped_xml, plain};
use crate::failure::Failure;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// For people or for programs.
    pub format: Format,
    /// Whether more is wanted: where each part is, what was deleted.
    pub verbose: bool,
}

impl Output {
    /// Whether programs read this.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes one line to standard output.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.write(&format!("{}\n", text.as_ref()))
    }

    /// Writes text as it is.
    pub fn write(&self, text: &str) -> Result<(), Failure> {
        stdout_result(std::io::stdout().lock().write_all(text.as_bytes()))
    }

    /// Reports work in one line: that nobody reads any more stops no work.
    pub fn report(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        or_unread(self.line(plain(text.as_ref())))
    }

    /// The same for a value as JSON.
    pub fn report_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        or_unread(self.json(value))
    }

    /// Writes a value as JSON, on lines of its own.
    pub fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Failure::failed(format!("the result cannot be written as JSON: {e}")))?;
        self.line(escaped_json(&text))
    }

    /// Tells on standard error of something that is no failure.
    pub fn warn(&self, text: &str) {
        self.print_aside(text, &serde_json::json!({"warning": text}));
    }

    /// Tells on standard error why something failed.
    pub fn print_failure(&self, failure: &Failure) {
        let text = failure.to_string();
        let code = failure.code().map(|c| c as u8);
        self.print_aside(&text, &serde_json::json!({"error": text, "exit": code}));
    }

    /// Nobody may listen there either, which stops nothing.
    fn print_aside(&self, text: &str, json: &serde_json::Value) {
        let line = if self.is_json() {
            escaped_json(&json.to_string()).into_owned()
        } else if std::io::stderr().is_terminal() {
            let lines: Vec<String> = text.split('\n').map(escaped).collect();
            format!("chord: {}", lines.join("\n"))
        } else {
            format!("chord: {text}")
        };
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// JSON where it is asked for, else lines.
    pub fn show<T: Serialize>(
        &self,
        value: &T,
        lines: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.is_json() {
            return self.json(value);
        }
        for line in lines() {
            self.line(line)?;
        }
        Ok(())
    }

    /// A progress bar on a terminal; elsewhere one that is never drawn. The length is in
    /// bytes; `None` where it is not known.
    pub fn progress(&self, what: &str, length: Option<u64>) -> ProgressBar {
        if self.is_json() || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        progress::bar(what, length)
    }
}

/// A failed write to standard output: a reader that went away ends the command
/// quietly, as it does for `ls | head`.
pub fn stdout_result(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(e) => Err(Failure::failed(format!(
            "cannot write to standard output: {e}"
        ))),
    }
}

/// What became of a report: the work goes on where nobody reads it.
fn or_unread(reported: Result<(), Failure>) -> Result<(), Failure> {
    match reported {
        Err(Failure::OutputClosed) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_stops_no_work_and_a_full_disk_does() {
        assert!(or_unread(Err(Failure::OutputClosed)).is_ok());
        assert!(or_unread(Err(Failure::failed("no space"))).is_err());
    }
}
