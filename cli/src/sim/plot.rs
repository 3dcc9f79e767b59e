//! Plots as SVG: axes, series, a legend, and nothing else. Colours are of middle
//! lightness on a clear ground, so that one file reads well on light and on dark
//! pages.

use std::fmt::Write;

use crate::output::escaped_xml;

/// A plot of some series over common axes.
#[derive(Clone, Debug)]
pub struct Plot {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

#[derive(Clone, Debug)]
pub struct Axis {
    pub label: String,
    pub scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From zero, or from below it.
    Linear,
    /// In powers of two.
    Log2,
}

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// For what is not measured but to be compared with.
    pub dashed: bool,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 60.0;
/// How wide and high the part between the axes is.
const WIDE: f64 = WIDTH - LEFT - RIGHT;
const HIGH: f64 = HEIGHT - TOP - BOTTOM;
/// The height of a line of the legend.
const LEGEND_LINE: f64 = 20.0;
const TEXT: &str = "#76808c";
const COLOURS: [&str; 6] = [
    "#3a86d8", "#d9772b", "#2a9d6f", "#b75bc9", "#c9a227", "#d94f5c",
];

impl Axis {
    pub fn linear(label: &str) -> Axis {
        Axis {
            label: label.to_string(),
            scale: Scale::Linear,
        }
    }

    pub fn log2(label: &str) -> Axis {
        Axis {
            label: label.to_string(),
            scale: Scale::Log2,
        }
    }
}

/// The part of a scale that is shown, and where it is marked.
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
    marks: Vec<f64>,
}

impl Range {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Range {
        let usable = |v: &f64| v.is_finite() && (scale == Scale::Linear || *v > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(usable) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 2.0);
        }
        match scale {
            Scale::Linear => {
                let low = low.min(0.0);
                let step = step((high - low).max(1e-9) / 6.0);
                let (first, last) = ((low / step).floor(), (high / step).ceil());
                let count = (last - first).clamp(1.0, 20.0) as usize;
                let marks: Vec<f64> = (0..=count).map(|n| (first + n as f64) * step).collect();
                let ends = (marks[0], marks[count]);
                Range {
                    scale,
                    low: ends.0,
                    high: ends.1,
                    marks,
                }
            }
            Scale::Log2 => {
                let first = low.log2().floor() as i32;
                let last = (high.log2().ceil() as i32).max(first + 1);
                let every = 1 + (last - first) as usize / 9;
                Range {
                    scale,
                    low: f64::from(first),
                    high: f64::from(last),
                    marks: (first..=last)
                        .step_by(every)
                        .map(|p| 2f64.powi(p))
                        .collect(),
                }
            }
        }
    }

    /// Where a value is, from 0 to 1.
    fn place(&self, value: f64) -> Option<f64> {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Log2 if value > 0.0 => value.log2(),
            Scale::Log2 => return None,
        };
        let place = (value - self.low) / (self.high - self.low);
        place.is_finite().then_some(place)
    }
}

/// A round step of at least `least`: 1, 2 or 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|t| t * power >= least);
    times.unwrap_or(10.0) * power
}

/// A number as a mark: no more digits than it needs, thousands set apart.
fn mark(value: f64) -> String {
    if value.abs() < 1000.0 {
        let text = format!("{value:.3}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        return if text == "-0" { "0" } else { text }.to_string();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) && digit != '-' {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

impl Series {
    /// A line of what was measured.
    pub fn measured(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        Series {
            name: name.to_string(),
            points: points.into_iter().collect(),
            dashed: false,
        }
    }

    /// A line of what is not measured but to be compared with.
    pub fn compared(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        Series {
            dashed: true,
            ..Series::measured(name, points)
        }
    }
}

impl Plot {
    /// The whole file.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let frame = Frame::of(self);
        let total = HEIGHT + self.series.len() as f64 * LEGEND_LINE;
        writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" height="{total}" font-family="system-ui, sans-serif" font-size="13" fill="{TEXT}" role="img">"#
        )?;
        let title = escaped_xml(&self.title);
        writeln!(out, "<title>{title}</title>")?;
        writeln!(
            out,
            r#"<text x="{LEFT}" y="24" font-size="16" font-weight="600">{title}</text>"#
        )?;
        self.write_axes(out, &frame)?;
        for (n, series) in self.series.iter().enumerate() {
            series.write(out, &frame, n)?;
        }
        writeln!(out, "</svg>")
    }

    /// The axes with their marks and labels.
    fn write_axes(&self, out: &mut String, frame: &Frame) -> std::fmt::Result {
        let (right, bottom) = (LEFT + WIDE, TOP + HIGH);
        for value in &frame.y.marks {
            if let Some(at) = frame.at_y(*value) {
                writeln!(
                    out,
                    r#"<path d="M{LEFT} {at:.1}H{right}" stroke="{TEXT}" stroke-opacity=".25"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                    LEFT - 8.0,
                    at + 4.5,
                    mark(*value)
                )?;
            }
        }
        for value in &frame.x.marks {
            if let Some(at) = frame.at_x(*value) {
                writeln!(
                    out,
                    r#"<path d="M{at:.1} {bottom}v5" stroke="{TEXT}"/><text x="{at:.1}" y="{}" text-anchor="middle">{}</text>"#,
                    bottom + 20.0,
                    mark(*value)
                )?;
            }
        }
        writeln!(
            out,
            r#"<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="{TEXT}"/>"#
        )?;
        writeln!(
            out,
            r#"<text x="{}" y="{}" text-anchor="middle">{}</text>"#,
            LEFT + WIDE / 2.0,
            bottom + 42.0,
            escaped_xml(&self.x.label)
        )?;
        writeln!(
            out,
            r#"<text transform="translate(18 {}) rotate(-90)" text-anchor="middle">{}</text>"#,
            TOP + HIGH / 2.0,
            escaped_xml(&self.y.label)
        )
    }
}

/// The ranges that a plot shows, and where values stand in it.
struct Frame {
    x: Range,
    y: Range,
}

impl Frame {
    fn of(plot: &Plot) -> Frame {
        let points = || plot.series.iter().flat_map(|s| s.points.iter());
        Frame {
            x: Range::of(plot.x.scale, points().map(|p| p.0)),
            y: Range::of(plot.y.scale, points().map(|p| p.1)),
        }
    }

    fn at_x(&self, value: f64) -> Option<f64> {
        self.x.place(value).map(|p| LEFT + p * WIDE)
    }

    fn at_y(&self, value: f64) -> Option<f64> {
        self.y.place(value).map(|p| TOP + (1.0 - p) * HIGH)
    }
}

impl Series {
    /// The line, its points, and its part of the legend; `n` counts the series.
    fn write(&self, out: &mut String, frame: &Frame, n: usize) -> std::fmt::Result {
        let colour = COLOURS[n % COLOURS.len()];
        let dash = if self.dashed {
            r#" stroke-dasharray="6 5""#
        } else {
            ""
        };
        let places: Vec<(f64, f64)> = self
            .points
            .iter()
            .filter_map(|p| Some((frame.at_x(p.0)?, frame.at_y(p.1)?)))
            .collect();
        let path: Vec<String> = places
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        writeln!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>"#,
            path.join(" ")
        )?;
        if !self.dashed {
            for (x, y) in places {
                writeln!(
                    out,
                    r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.2" fill="{colour}"/>"#
                )?;
            }
        }
        let row = HEIGHT - 4.0 + n as f64 * LEGEND_LINE;
        writeln!(
            out,
            r#"<path d="M{LEFT} {row}h28" stroke="{colour}" stroke-width="2"{dash}/><text x="{}" y="{}">{}</text>"#,
            LEFT + 38.0,
            row + 4.5,
            escaped_xml(&self.name)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale, points: &[(f64, f64)]) -> String {
        let axis = |label: &str| Axis {
            label: label.to_string(),
            scale,
        };
        let plot = Plot {
            title: "a < b & c".to_string(),
            x: axis("x"),
            y: axis("y"),
            series: vec![Series {
                name: "one".to_string(),
                points: points.to_vec(),
                dashed: false,
            }],
        };
        plot.svg()
    }

    #[test]
    fn points_stand_in_the_frame_and_text_is_escaped() {
        for scale in [Scale::Linear, Scale::Log2] {
            let svg = plot(scale, &[(8.0, 1.0), (1024.0, 9.0)]);
            assert!(svg.contains("a &lt; b &amp; c"));
            let circles: Vec<&str> = svg.lines().filter(|l| l.starts_with("<circle")).collect();
            assert_eq!(circles.len(), 2);
            for circle in circles {
                let number = |name: &str| -> f64 {
                    let from = circle.split(name).nth(1).unwrap();
                    from.split('"').next().unwrap().parse().unwrap()
                };
                let (x, y) = (number("cx=\""), number("cy=\""));
                assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{circle}");
                assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{circle}");
            }
        }
    }

    #[test]
    fn no_values_at_all_make_an_empty_plot() {
        for points in [&[][..], &[(f64::NAN, 1.0)], &[(0.0, 0.0)]] {
            let svg = plot(Scale::Linear, points) + &plot(Scale::Log2, points);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn marks_read_as_people_write_them() {
        assert_eq!(mark(0.25), "0.25");
        assert_eq!(mark(-0.0), "0");
        assert_eq!(mark(131072.0), "131\u{2009}072");
        assert_eq!([step(0.3), step(1.0), step(6.1)], [0.5, 1.0, 10.0]);
    }
}
