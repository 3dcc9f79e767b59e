//! Figures: what was measured in each round, as lines of JSON and as a table.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// One figure over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name.
    pub figure: String,
    /// The median.
    pub value: f64,
    /// `MB/s`, `ms`, `ratio` and the like.
    pub unit: String,
    /// Measurements.
    pub n: usize,
    /// The least measurement.
    pub min: f64,
    /// The greatest measurement.
    pub max: f64,
}

/// Measurements, in the order in which their figures first came.
#[derive(Debug, Default)]
pub struct Figures(Vec<(String, String, Vec<f64>)>);

impl Figures {
    /// Adds a measurement.
    pub fn add(&mut self, figure: &str, unit: &str, value: f64) {
        match self.0.iter_mut().find(|(name, ..)| name == figure) {
            Some((.., values)) => values.push(value),
            None => self.0.push((figure.into(), unit.into(), vec![value])),
        }
    }

    /// The names of the figures, their units and the last measurement of each.
    pub fn last(&self) -> impl Iterator<Item = (&str, &str, f64)> {
        self.0.iter().filter_map(|(name, unit, values)| {
            Some((name.as_str(), unit.as_str(), *values.last()?))
        })
    }

    /// All figures, four digits each.
    pub fn all(&self) -> Vec<Figure> {
        let figure = |(name, unit, values): &(String, String, Vec<f64>)| {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            Some(Figure {
                figure: name.clone(),
                value: rounded(quantile(&sorted, 0.5)?),
                unit: unit.clone(),
                n: sorted.len(),
                min: rounded(*sorted.first()?),
                max: rounded(*sorted.last()?),
            })
        };
        self.0.iter().filter_map(figure).collect()
    }

    /// Appends a line for each figure to a file.
    pub fn append(&self, path: &Path) -> Result<()> {
        let mut text = String::new();
        for figure in self.all() {
            text.push_str(&serde_json::to_string(&figure)?);
            text.push('\n');
        }
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("appending figures to {}", path.display()))
    }

    /// All figures as a table for people.
    pub fn table(&self) -> String {
        let figures = self.all();
        let width = figures.iter().map(|f| f.figure.len()).max().unwrap_or(0);
        let mut text = format!(
            "{:width$} {:>12} {:8} {:>3} {:>12} {:>12}\n",
            "figure", "median", "unit", "n", "min", "max"
        );
        for f in figures {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:width$} {:>12} {:8} {:>3} {:>12} {:>12}",
                f.figure, f.value, f.unit, f.n, f.min, f.max
            );
        }
        text
    }
}

/// A quantile of sorted values, between neighbours where it falls between them.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let at = q.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (
        sorted.get(at.floor() as usize)?,
        sorted.get(at.ceil() as usize)?,
    );
    Some(low + (high - low) * at.fract())
}

/// Four digits that count: more would pretend to a precision that nobody has.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 9.0);
    let scale = 10f64.powi(digits as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_with_its_limits() {
        let mut figures = Figures::default();
        for value in [3.0, 1.0, 2.0] {
            figures.add("a", "MB/s", value);
        }
        figures.add("b", "ratio", 0.123_456);
        let all = figures.all();
        assert_eq!(
            (all[0].value, all[0].n, all[0].min, all[0].max),
            (2.0, 3, 1.0, 3.0)
        );
        assert_eq!((all[1].value, all[1].n), (0.1235, 1));
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[1.0, 3.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 1.0), Some(3.0));
    }

    #[test]
    fn lines_are_added_to_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("figures.jsonl");
        let mut figures = Figures::default();
        figures.add("a", "s", 1.5);
        figures.append(&path).unwrap();
        figures.append(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let line = r#"{"figure":"a","value":1.5,"unit":"s","n":1,"min":1.5,"max":1.5}"#;
        assert_eq!(text, format!("{line}\n{line}\n"));
    }
}
