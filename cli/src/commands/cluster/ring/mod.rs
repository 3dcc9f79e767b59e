//! `chord ring`: the ring drawn, in the terminal or as SVG; with `--name`, where a
//! name lands on it and how the ring found that.
//!
//! [`layout`] works out what there is to show, which `-o json` gives as it is;
//! [`terminal`] and [`svg`] draw it.

#[cfg(test)]
mod fixtures;
mod layout;
mod svg;
mod terminal;

use std::io::IsTerminal;
use std::path::Path;

use crate::access::Target;
use crate::args::RingArgs;
use crate::failure::Failure;
use crate::output::Output;

use self::terminal::Screen;

/// Draws the ring.
pub async fn run(args: &RingArgs, target: &Target, out: Output) -> Result<(), Failure> {
    let to_stdout = args.svg.as_deref() == Some(Path::new("-"));
    if to_stdout && out.is_json() {
        return Err(Failure::usage(
            "--svg - and -o json both write to standard output: give --svg a file",
        ));
    }
    let files = target.files().await?;
    let (view, status) = (files.view().await?, files.status().await?);
    let mut layout = layout::layout(&view, &status);
    if let Some(name) = &args.name {
        let found = files.successor(name).await?;
        layout.name = Some(layout::landing(&view, &status, name, &found)?);
    }
    match &args.svg {
        Some(_) if to_stdout => return out.write(&svg::draw(&layout)),
        Some(file) => {
            std::fs::write(file, svg::draw(&layout)).map_err(|e| {
                Failure::failed(format!("cannot write the drawing to {file:?}: {e}"))
            })?;
            if !out.is_json() {
                return out.line(format!(
                    "drew the ring of {} nodes at epoch {} into {}",
                    layout.nodes.len(),
                    layout.epoch,
                    file.display()
                ));
            }
        }
        None => {}
    }
    out.show(&layout, || terminal::lines(&layout, &screen()))
}

/// The terminal that standard output is, if it is one.
fn screen() -> Screen {
    let stdout = std::io::stdout();
    let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let size = rustix::termios::tcgetwinsize(&stdout).ok();
    let columns = set("COLUMNS").and_then(|c| c.parse().ok());
    let colours = stdout.is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_none_or(|term| term != "dumb");
    Screen {
        columns: columns.or(size.map(|s| usize::from(s.ws_col)).filter(|c| *c > 0)),
        rows: size.map(|s| usize::from(s.ws_row)).filter(|r| *r > 0),
        colours,
    }
}
