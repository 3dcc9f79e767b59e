//! The ring in characters: a circle, a line for each node, and the way of a name.
//!
//! Each character of the circle stands for the node that has most of the part of
//! the circle behind it. Colours help the eye, they never carry anything alone:
//! each node has its mark. They are the terminal's own six, so that they suit its
//! background.

#[cfg(test)]
mod tests;

use std::f64::consts::TAU;

use chord_api::human;

use super::layout::{Landing, Layout, Node, Passed, percent};
use crate::output::{escaped, table};

/// What the lines are for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Screen {
    /// Not known where standard output is no terminal.
    pub columns: Option<usize>,
    pub rows: Option<usize>,
    pub colours: bool,
}

/// Where the size is not known.
const COLUMNS: usize = 80;

const ROWS: usize = 24;

/// Points looked at for each character of the circle, about.
const POINTS: usize = 40;

/// What stands for each node, again from the start past the end.
const MARKS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The owners of a name, the primary first.
const OWNERS: [char; 9] = ['¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

/// Blue, yellow, cyan, magenta, green, red: neighbours differ for every eye.
const COLOURS: [u8; 6] = [34, 33, 36, 35, 32, 31];

const KEY: char = '@';

/// All of it.
pub fn lines(layout: &Layout, screen: &Screen) -> Vec<String> {
    let columns = screen.columns.unwrap_or(COLUMNS).clamp(40, 400);
    let mut lines = circle(layout, screen, columns);
    lines.push(String::new());
    lines.extend(legend(layout));
    lines.push(String::new());
    lines.extend(nodes(layout, screen, columns));
    if let Some(landing) = &layout.name {
        lines.push(String::new());
        lines.extend(name(landing));
    }
    lines
}

fn mark(node: usize) -> char {
    char::from(MARKS[node % MARKS.len()])
}

fn coloured(text: &str, node: usize, screen: &Screen) -> String {
    if screen.colours {
        format!("\x1b[{}m{text}\x1b[0m", COLOURS[node % COLOURS.len()])
    } else {
        text.to_string()
    }
}

/// Characters with the nodes they are coloured for.
struct Grid {
    cells: Vec<Vec<(char, Option<usize>)>>,
    middle: (f64, f64),
    radius: (f64, f64),
}

impl Grid {
    /// A circle with a margin for what is marked outside; a character is about
    /// twice as high as wide.
    fn new(columns: usize, rows: usize) -> Grid {
        let height = (rows.saturating_sub(3)).min(columns / 2).clamp(11, 41) | 1;
        let width = 2 * height + 3;
        let middle = ((width - 1) as f64 / 2.0, (height - 1) as f64 / 2.0);
        Grid {
            cells: vec![vec![(' ', None); width]; height],
            middle,
            radius: (middle.0 - 3.0, middle.1 - 1.0),
        }
    }

    /// The cell at a turn (0 is the top, clockwise), at `far` of the radius.
    fn at(&self, turn: f64, far: f64) -> (usize, usize) {
        let x = self.middle.0 + self.radius.0 * far * (turn * TAU).sin();
        let y = self.middle.1 - self.radius.1 * far * (turn * TAU).cos();
        let within = |v: f64, end: usize| (v.round().max(0.0) as usize).min(end - 1);
        (within(x, self.cells[0].len()), within(y, self.cells.len()))
    }

    fn put(&mut self, (x, y): (usize, usize), what: char, node: Option<usize>) {
        self.cells[y][x] = (what, node);
    }

    fn is_free(&self, (x, y): (usize, usize)) -> bool {
        self.cells[y][x].0 == ' '
    }

    /// Dots from one cell to another, where nothing is yet.
    fn line(&mut self, from: (usize, usize), to: (usize, usize)) {
        let (dx, dy) = (to.0 as f64 - from.0 as f64, to.1 as f64 - from.1 as f64);
        let steps = dx.abs().max(dy.abs()).max(1.0);
        for step in 0..=(steps as usize) {
            let part = step as f64 / steps;
            let cell = (
                (from.0 as f64 + dx * part).round() as usize,
                (from.1 as f64 + dy * part).round() as usize,
            );
            if self.is_free(cell) {
                self.put(cell, '·', None);
            }
        }
    }
}

fn circle(layout: &Layout, screen: &Screen, columns: usize) -> Vec<String> {
    let rows = screen.rows.unwrap_or(ROWS);
    let mut grid = Grid::new(columns.saturating_sub(6), rows);
    let (height, width) = (grid.cells.len(), grid.cells[0].len());
    // How much of each cell each node has.
    let mut tally: Vec<Vec<Vec<(usize, u32)>>> = vec![vec![Vec::new(); width]; height];
    let points = POINTS * 2 * (width + height);
    for point in 0..points {
        let turn = point as f64 / points as f64;
        let Some(node) = node_at(layout, turn) else {
            break;
        };
        let (x, y) = grid.at(turn, 1.0);
        let cell = &mut tally[y][x];
        match cell.iter_mut().find(|(n, _)| *n == node) {
            Some((_, count)) => *count += 1,
            None => cell.push((node, 1)),
        }
    }
    for (y, row) in tally.into_iter().enumerate() {
        for (x, cell) in row.into_iter().enumerate() {
            if let Some((node, _)) = cell.into_iter().max_by_key(|(_, count)| *count) {
                grid.put((x, y), mark(node), Some(node));
            }
        }
    }
    if let Some(landing) = &layout.name {
        mark_name(&mut grid, landing);
    }
    grid.cells
        .iter()
        .map(|row| {
            let used = row
                .iter()
                .rposition(|(c, _)| *c != ' ')
                .map_or(0, |p| p + 1);
            row[..used]
                .iter()
                .map(|(c, node)| match node {
                    Some(node) => coloured(&c.to_string(), *node, screen),
                    None => c.to_string(),
                })
                .collect()
        })
        .collect()
}

/// The key and its owners outside the circle, the look-up inside.
fn mark_name(grid: &mut Grid, landing: &Landing) {
    let outside = |grid: &Grid, turn: f64| {
        let (x, y) = grid.at(turn, 1.0);
        let side = (turn * TAU).sin();
        let x = (x as f64 + 2.0 * side.signum() * f64::from(side.abs() > 0.3)).max(0.0);
        let up = -(turn * TAU).cos();
        let y = (y as f64 + up.signum() * f64::from(up.abs() > 0.5)).max(0.0);
        (
            (x as usize).min(grid.cells[0].len() - 1),
            (y as usize).min(grid.cells.len() - 1),
        )
    };
    let key = outside(grid, landing.at);
    grid.put(key, KEY, None);
    for stop in &landing.walk {
        let Some(sign) = stop.owner.and_then(|n| OWNERS.get(n - 1)) else {
            continue;
        };
        // Most stand too near to the key for a place of their own: beside it, then.
        let mut beside = (0..200).map(|step| outside(grid, stop.at + f64::from(step) * 0.005));
        let free = beside.find(|cell| grid.is_free(*cell));
        if let Some(cell) = free {
            grid.put(cell, *sign, None);
        }
    }
    let inside: Vec<(usize, usize)> = landing.hops.iter().map(|h| grid.at(h.at, 0.82)).collect();
    for cell in &inside {
        grid.put(*cell, '•', None);
    }
    for pair in inside.windows(2) {
        grid.line(pair[0], pair[1]);
    }
}

/// The node that is the successor of a place on the circle.
fn node_at(layout: &Layout, turn: f64) -> Option<usize> {
    let place = (turn * 2f64.powi(64)) as u64;
    let at = layout.arcs.partition_point(|arc| arc.upto < place);
    layout
        .arcs
        .get(at)
        .or(layout.arcs.first())
        .map(|arc| arc.node)
}

fn legend(layout: &Layout) -> Vec<String> {
    let mut lines = vec![
        "top is 0, clockwise; a character: who has most of that part of the circle".to_string(),
    ];
    if let Some(landing) = &layout.name {
        let look_up = if landing.hops.len() > 1 {
            "; • · the look-up"
        } else {
            ""
        };
        let owners: String = OWNERS[..landing.owners.len().min(OWNERS.len())]
            .iter()
            .flat_map(|c| [*c, ' '])
            .collect();
        lines.push(format!("{KEY} the key, {owners}its owners{look_up}"));
    }
    let change = if layout.tables == "Joint" {
        ", changing: this is what it leads to"
    } else {
        ""
    };
    lines.push(format!(
        "epoch {}, {} copies of everything{change}",
        layout.epoch, layout.replication
    ));
    lines
}

/// A line for each node, with a bar for its share of the copies.
fn nodes(layout: &Layout, screen: &Screen, columns: usize) -> Vec<String> {
    let row = |node: &Node| {
        vec![
            escaped(&node.name),
            node.state.to_string(),
            format!("{:>7}", percent(node.share)),
            format!("{:>7}", percent(node.primary)),
            match (node.used, node.used_share) {
                (Some(used), Some(share)) => {
                    format!("{:>9} {:>7}", human::size(used), percent(share))
                }
                _ => format!("{:>9} {:>7}", "-", "-"),
            },
            format!("{:>6}", node.tokens.len()),
        ]
    };
    let mut rows = vec![
        [
            "NODE",
            "STATE",
            " COPIES",
            "  FIRST",
            "    KEEPS   BYTES",
            "TOKENS",
        ]
        .map(String::from)
        .to_vec(),
    ];
    rows.extend(layout.nodes.iter().map(row));
    let text = table(&rows);
    let longest = text.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    // A mark and a blank before it, two blanks and the bar behind.
    let bar = columns.saturating_sub(longest + 5).min(40);
    let most = layout.nodes.iter().map(|n| n.share).fold(0.0, f64::max);
    let mut lines = Vec::with_capacity(text.len());
    for (index, text) in text.into_iter().enumerate() {
        let Some(node) = index.checked_sub(1) else {
            lines.push(format!("   {text}"));
            continue;
        };
        let filled = match layout.nodes.get(node) {
            Some(n) if most > 0.0 => (n.share / most * bar as f64).round() as usize,
            _ => 0,
        };
        let wide = text.chars().count();
        let line = format!(
            "{}  {text}{}  {}",
            coloured(&mark(node).to_string(), node, screen),
            " ".repeat(longest.saturating_sub(wide)),
            coloured(&"#".repeat(filled), node, screen)
        );
        lines.push(line.trim_end().to_string());
    }
    lines
}

/// Where a name lands, in words.
fn name(landing: &Landing) -> Vec<String> {
    let mut lines = vec![
        format!("name       {}", escaped(&landing.name)),
        format!("id         {}", landing.id),
        format!("lands at   {} of the circle", percent(landing.at)),
        format!("successor  {}", escaped(&landing.successor)),
        format!("owners     {}", escaped(&landing.owners.join(" "))),
    ];
    // What the ring walks over to find the owners; long only where nodes have many
    // virtual nodes side by side.
    const STOPS: usize = 12;
    for (index, stop) in landing.walk.iter().take(STOPS).enumerate() {
        let role = match (stop.owner, stop.passed) {
            (Some(n), _) => format!("owner {n}"),
            (None, Some(Passed::Out)) => "passed over: given up".to_string(),
            (None, Some(Passed::Place)) => "passed over: zone or machine has a copy".to_string(),
            (None, _) => "passed over: met before".to_string(),
        };
        lines.push(format!(
            "{:<11}{}  {}  {role}",
            if index == 0 { "clockwise" } else { "" },
            stop.token,
            escaped(&stop.node)
        ));
    }
    if landing.walk.len() > STOPS {
        lines.push(format!(
            "           and {} more virtual nodes",
            landing.walk.len() - STOPS
        ));
    }
    lines.push(format!("path       {}", escaped(&landing.path.join(" → "))));
    if landing.hops.is_empty() {
        lines.push("           the ring had no answer: the successor is the view's".to_string());
    }
    for (index, hop) in landing.hops.iter().enumerate() {
        let id: String = hop.id.chars().take(16).collect();
        lines.push(format!(
            "{:<11}{id}  {:>7}  {}",
            if index == 0 { "hops" } else { "" },
            percent(hop.at),
            escaped(&hop.node)
        ));
    }
    lines
}
