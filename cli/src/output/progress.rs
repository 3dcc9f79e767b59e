//! Progress bars, with sizes as everything else shows them.

use std::time::Duration;

use chord_api::human;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::text::escaped;

/// How often a bar is drawn, a second.
const HZ: u8 = 10;
/// Characters of what is transferred that are shown.
const MOST_SHOWN: usize = 40;

/// A bar on standard error; of unknown length where there is none.
pub fn bar(what: &str, length: Option<u64>) -> ProgressBar {
    let template = match length {
        Some(_) => "{msg} {wide_bar} {size}/{total_size} {rate} {left}",
        None => "{msg} {spinner} {size} {rate}",
    };
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key(
            "size",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // Where it cannot be drawn nobody sees it.
                let _ = out.write_str(&human::size(state.pos()));
            },
        )
        .with_key(
            "total_size",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&human::size(state.len().unwrap_or(0)));
            },
        )
        .with_key(
            "rate",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}/s", human::size(state.per_sec() as u64));
            },
        )
        .with_key(
            "left",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&human::span(state.eta()));
            },
        );
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(HZ));
    bar.set_style(style);
    bar.set_message(escaped(what).chars().take(MOST_SHOWN).collect::<String>());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
