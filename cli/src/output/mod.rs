//! What a command says: lines for people, JSON for programs, and progress bars
//! where somebody watches.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

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
    pub format: Format,
    pub verbose: bool,
}

impl Output {
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes one line to standard output.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.raw(&format!("{}\n", text.as_ref()))
    }

    /// Writes text as it is.
    pub fn raw(&self, text: &str) -> Result<(), Failure> {
        written(std::io::stdout().lock().write_all(text.as_bytes()))
    }

    /// Tells of work in one line: that nobody reads any more stops no work.
    pub fn tell(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        carried_on(self.line(plain(text.as_ref())))
    }

    /// The same for a value as JSON.
    pub fn tell_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        carried_on(self.json(value))
    }

    /// Writes a value as JSON, on lines of its own.
    pub fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Failure::failed(format!("the result cannot be written as JSON: {e}")))?;
        self.line(escaped_json(&text))
    }

    /// Tells on standard error of something that is no failure.
    pub fn warn(&self, text: &str) {
        self.aside(text, &serde_json::json!({"warning": text}));
    }

    /// Tells on standard error why something failed.
    pub fn complain(&self, failure: &Failure) {
        let text = failure.to_string();
        let code = failure.code().map(|c| c as u8);
        self.aside(&text, &serde_json::json!({"error": text, "exit": code}));
    }

    /// Nobody may listen there either, which stops nothing.
    fn aside(&self, text: &str, json: &serde_json::Value) {
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

    /// A progress bar on a terminal; elsewhere one that is never drawn.
    pub fn progress(&self, what: &str, length: Option<u64>) -> ProgressBar {
        if self.is_json() || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let template = match length {
            Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{msg} {spinner} {bytes} {bytes_per_sec}",
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = match length {
            Some(length) => {
                ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(10))
            }
            None => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)),
        };
        bar.set_style(style);
        bar.set_message(escaped(what).chars().take(40).collect::<String>());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// A failed write to standard output: a reader that went away ends the command
/// quietly, as it does for `ls | head`.
pub fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(e) => Err(Failure::failed(format!(
            "cannot write to standard output: {e}"
        ))),
    }
}

/// What became of telling about work: the work goes on where nobody reads.
fn carried_on(told: Result<(), Failure>) -> Result<(), Failure> {
    match told {
        Err(Failure::OutputClosed) => Ok(()),
        other => other,
    }
}

/// Text in which names stand, for standard output: a name may hold what a terminal
/// obeys, so on a terminal that is shown and not sent. Programs get it as it is.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) && std::io::stdout().is_terminal() {
        Cow::Owned(escaped(text))
    } else {
        Cow::Borrowed(text)
    }
}

/// Text with its control characters spelled out: `\u{1b}` for an escape.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// JSON with the control characters that JSON itself lets through spelled out,
/// which means the same to every reader.
pub fn escaped_json(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && u32::from(c) >= 0x7f;
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Bytes as people read them.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Columns, each as wide as its widest cell; the last one is not padded.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| {
            rows.iter()
                .filter_map(|row| row.get(c))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().enumerate().map(|(c, cell)| {
                if c + 1 == row.len() {
                    cell.clone()
                } else {
                    format!("{cell:<width$}", width = widths[c])
                }
            });
            cells.collect::<Vec<_>>().join("  ")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well_at_the_edges_of_units() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn what_nobody_reads_stops_no_work_and_a_full_disk_does() {
        assert!(carried_on(Err(Failure::OutputClosed)).is_ok());
        assert!(carried_on(Err(Failure::failed("no space"))).is_err());
    }

    #[test]
    fn nothing_in_a_name_is_obeyed_by_a_terminal() {
        let name = "a\u{1b}[2Jb\nc\u{9b}31m\u{7f}é";
        assert_eq!(
            escaped(name),
            "a\\u{1b}[2Jb\\nc\\u{9b}31m\\u{7f}é",
            "and letters stay"
        );
        let json = serde_json::to_string(name).unwrap();
        let shown = escaped_json(&json);
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), name);
    }

    #[test]
    fn columns_line_up_and_carry_no_trailing_blanks() {
        let rows = vec![
            vec!["a".into(), "bb".into()],
            vec!["ccc".into(), "d".into()],
        ];
        assert_eq!(table(&rows), ["a    bb", "ccc  d"]);
    }
}
