//! `chord ring`: the ring drawn, in the terminal or as SVG; with `--name`, where a
//! name lands on it and how the ring found that.
//!
//! [`layout`] works out what there is to show, which `-o json` gives as it is;
//! [`terminal`] and [`svg`] draw it.

mod layout;
mod svg;
mod terminal;

use std::io::IsTerminal;
use std::path::Path;

use crate::args::Ring;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;

use self::terminal::Screen;

pub async fn run(args: &Ring, target: &Target, out: Output) -> Result<(), Failure> {
    let to_stdout = args.svg.as_deref() == Some(Path::new("-"));
    if to_stdout && out.is_json() {
        return Err(Failure::usage(
            "--svg - and -o json both write to standard output: give --svg a file",
        ));
    }
    let files = target.files().await?;
    let (view, status) = (files.view().await?, files.status().await?);
    let mut ring = layout::ring(&view, &status);
    if let Some(name) = &args.name {
        let found = files.successor(name).await?;
        ring.name = Some(layout::landing(&view, &status, name, &found)?);
    }
    match &args.svg {
        Some(_) if to_stdout => return out.raw(&svg::draw(&ring)),
        Some(file) => {
            std::fs::write(file, svg::draw(&ring)).map_err(|e| {
                Failure::failed(format!("cannot write the drawing to {file:?}: {e}"))
            })?;
            if !out.is_json() {
                return out.line(format!(
                    "drew the ring of {} nodes at epoch {} into {}",
                    ring.nodes.len(),
                    ring.epoch,
                    file.display()
                ));
            }
        }
        None => {}
    }
    out.show(&ring, || terminal::lines(&ring, &screen()))
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
