//! The outcome of an experiment: a table, plots, and the command that makes them.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::plot::Plot;
use crate::failure::Failure;
use crate::output::{self, Output};

/// Where the plots of a document are, beside it.
pub const FOLDER: &str = "figures";

/// What an experiment found.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Part of file names, and of the markers in docs/ring.md.
    pub name: &'static str,
    /// What to type to see it again.
    pub command: String,
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    pub plots: Vec<Plot>,
    /// What was measured, as it was measured.
    pub json: Value,
}

impl Figure {
    /// Says it, and draws it where that is asked for.
    pub fn show(&self, out: Output, svg: Option<&Path>) -> Result<(), Failure> {
        if let Some(file) = svg {
            for (n, plot) in self.plots.iter().enumerate() {
                write(&numbered(file, n), &plot.svg())?;
            }
        }
        out.show(&self.json, || {
            let head = self.head.iter().map(|h| h.to_string()).collect();
            let rows: Vec<Vec<String>> = std::iter::once(head).chain(self.rows.clone()).collect();
            output::table(&rows)
        })
    }

    /// Its part of docs/ring.md.
    pub fn markdown(&self) -> String {
        let mut text = format!("```sh\n{}\n```\n\n", self.command);
        let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        text += &line(self.head.clone());
        text += &line(vec!["---:"; self.head.len()]);
        for row in &self.rows {
            text += &line(row.iter().map(String::as_str).collect());
        }
        for (n, plot) in self.plots.iter().enumerate() {
            text += &format!("\n![{}]({})\n", plot.title, self.file(n));
        }
        text
    }

    /// The file of one of its plots, from the folder of the document.
    pub fn file(&self, plot: usize) -> String {
        let plain = PathBuf::from(format!("{FOLDER}/ring-{}.svg", self.name));
        numbered(&plain, plot).display().to_string()
    }
}

/// Values as the command line takes several.
pub fn list<T: std::fmt::Display>(of: &[T]) -> String {
    let texts: Vec<String> = of.iter().map(|n| n.to_string()).collect();
    texts.join(",")
}

/// The rows as JSON.
pub fn json<T: Serialize>(rows: &T) -> Value {
    // Plain numbers: nothing that JSON cannot say.
    serde_json::to_value(rows).unwrap_or(Value::Null)
}

/// `a.svg` for the first, `a-2.svg` for the second.
fn numbered(file: &Path, n: usize) -> PathBuf {
    if n == 0 {
        return file.to_path_buf();
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}-{}.svg", n + 1))
}

/// Writes a whole file.
pub fn write(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text)
        .map_err(|e| Failure::failed(format!("cannot write {}: {e}", file.display())))
}
