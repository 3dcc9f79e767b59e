//! The ring in characters: a circle, a line for each node, and the way of a name.
//!
//! Each character of the circle stands for the node that has most of the part of
//! the circle behind it. Colours help the eye, they never carry anything alone:
//! each node has its mark. They are the terminal's own six, so that they suit its
//! background.

use std::f64::consts::TAU;

use super::layout::{Landing, Node, Passed, Ring};
use crate::output::{bytes, table};

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
pub fn lines(ring: &Ring, screen: &Screen) -> Vec<String> {
    let columns = screen.columns.unwrap_or(COLUMNS).clamp(40, 400);
    let mut lines = circle(ring, screen, columns);
    lines.push(String::new());
    lines.extend(legend(ring));
    lines.push(String::new());
    lines.extend(nodes(ring, screen, columns));
    if let Some(landing) = &ring.name {
        lines.push(String::new());
        lines.extend(name(landing));
    }
    lines
}

/// Text of others' making, without what a terminal would act on.
fn shown(text: &str) -> String {
    let escaped = |c: char| match c {
        // Right-to-left marks and their like reorder what stands beside them.
        '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    };
    text.chars()
        .flat_map(|c| {
            let (plain, code) = if escaped(c) {
                (None, Some(c.escape_unicode()))
            } else {
                (Some(c), None)
            };
            plain.into_iter().chain(code.into_iter().flatten())
        })
        .collect()
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

fn circle(ring: &Ring, screen: &Screen, columns: usize) -> Vec<String> {
    let rows = screen.rows.unwrap_or(ROWS);
    let mut grid = Grid::new(columns.saturating_sub(6), rows);
    let (height, width) = (grid.cells.len(), grid.cells[0].len());
    // How much of each cell each node has.
    let mut tally: Vec<Vec<Vec<(usize, u32)>>> = vec![vec![Vec::new(); width]; height];
    let points = POINTS * 2 * (width + height);
    for point in 0..points {
        let turn = point as f64 / points as f64;
        let Some(node) = node_at(ring, turn) else {
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
    if let Some(landing) = &ring.name {
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
fn node_at(ring: &Ring, turn: f64) -> Option<usize> {
    let place = (turn * 2f64.powi(64)) as u64;
    let at = ring.arcs.partition_point(|arc| arc.upto < place);
    ring.arcs.get(at).or(ring.arcs.first()).map(|arc| arc.node)
}

fn legend(ring: &Ring) -> Vec<String> {
    let mut lines = vec![
        "top is 0, clockwise; a character: who has most of that part of the circle".to_string(),
    ];
    if let Some(landing) = &ring.name {
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
    let change = if ring.tables == "Joint" {
        ", changing: this is what it leads to"
    } else {
        ""
    };
    lines.push(format!(
        "epoch {}, {} copies of everything{change}",
        ring.epoch, ring.replication
    ));
    lines
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A line for each node, with a bar for its share of the copies.
fn nodes(ring: &Ring, screen: &Screen, columns: usize) -> Vec<String> {
    let row = |node: &Node| {
        vec![
            shown(&node.name),
            node.state.to_string(),
            format!("{:>7}", percent(node.share)),
            format!("{:>7}", percent(node.primary)),
            match (node.used, node.used_share) {
                (Some(used), Some(share)) => {
                    format!("{:>9} {:>7}", bytes(used), percent(share))
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
    rows.extend(ring.nodes.iter().map(row));
    let text = table(&rows);
    let longest = text.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    // A mark and a blank before it, two blanks and the bar behind.
    let bar = columns.saturating_sub(longest + 5).min(40);
    let most = ring.nodes.iter().map(|n| n.share).fold(0.0, f64::max);
    let mut lines = Vec::with_capacity(text.len());
    for (index, text) in text.into_iter().enumerate() {
        let Some(node) = index.checked_sub(1) else {
            lines.push(format!("   {text}"));
            continue;
        };
        let filled = match ring.nodes.get(node) {
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
        format!("name       {}", shown(&landing.name)),
        format!("id         {}", landing.id),
        format!("lands at   {} of the circle", percent(landing.at)),
        format!("successor  {}", shown(&landing.successor)),
        format!("owners     {}", shown(&landing.owners.join(" "))),
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
            shown(&stop.node)
        ));
    }
    if landing.walk.len() > STOPS {
        lines.push(format!(
            "           and {} more virtual nodes",
            landing.walk.len() - STOPS
        ));
    }
    lines.push(format!("path       {}", shown(&landing.path.join(" → "))));
    if landing.hops.is_empty() {
        lines.push("           the ring had no answer: the successor is the view's".to_string());
    }
    for (index, hop) in landing.hops.iter().enumerate() {
        let id: String = hop.id.chars().take(16).collect();
        lines.push(format!(
            "{:<11}{id}  {:>7}  {}",
            if index == 0 { "hops" } else { "" },
            percent(hop.at),
            shown(&hop.node)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::layout::{self, tests};
    use super::*;
    use crate::commands::cluster::status::tests::node;
    use chord_types::FileName;

    fn wide(columns: usize, rows: usize) -> Screen {
        Screen {
            columns: Some(columns),
            rows: Some(rows),
            colours: false,
        }
    }

    #[test]
    fn the_circle_shows_each_arc() {
        // Node 0 has the first half of the circle (right), node 1 the second (left).
        let view = tests::view(1, &[&[1 << 63], &[u64::MAX]]);
        let ring = layout::ring(&view, &node(&[]));
        let drawn = circle(&ring, &Screen::default(), 80);
        let middle = drawn[drawn.len() / 2].trim();
        assert!(
            middle.starts_with('1') && middle.ends_with('0'),
            "{drawn:#?}"
        );
    }

    #[test]
    fn it_fits_the_terminal_whatever_its_size() {
        for ring in [tests::large(3, 64), tests::large(100, 64)] {
            for (columns, rows) in [(80, 24), (100, 30), (132, 50), (200, 60)] {
                let lines = lines(&ring, &wide(columns, rows));
                let longest = lines.iter().map(|l| l.chars().count()).max().unwrap();
                assert!(longest <= columns, "{longest} in {columns}");
                let drawn = circle(&ring, &wide(columns, rows), columns);
                assert!(drawn.len() < rows, "{} rows of {rows}", drawn.len());
            }
        }
    }

    #[test]
    fn every_node_has_a_line_with_its_shares_and_state() {
        let ring = tests::large(100, 64);
        let lines = lines(&ring, &wide(100, 40));
        for node in &ring.nodes {
            let line = lines.iter().find(|l| {
                let words: Vec<&str> = l.split_whitespace().collect();
                words.get(1) == Some(&node.name.as_str())
            });
            let line = line.unwrap_or_else(|| panic!("no {}", node.name));
            assert!(line.contains(node.state), "{line}");
            assert!(line.contains(&percent(node.share)), "{line}");
            assert!(line.contains(&percent(node.primary)), "{line}");
            assert!(line.contains("64"), "{line}");
        }
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let ring = tests::large(3, 64);
        let plain = lines(&ring, &wide(90, 30));
        assert!(!plain.concat().contains('\x1b'));
        let screen = Screen {
            colours: true,
            ..wide(90, 30)
        };
        let coloured = lines(&ring, &screen);
        assert!(coloured.concat().contains("\x1b[34m"));
        let mut stripped = coloured.join("\n");
        for code in COLOURS.map(|c| format!("\x1b[{c}m")) {
            stripped = stripped.replace(&code, "");
        }
        let stripped = stripped.replace("\x1b[0m", "");
        let trimmed: Vec<&str> = stripped.lines().map(str::trim_end).collect();
        assert_eq!(trimmed, plain);
    }

    #[test]
    fn a_name_is_marked_with_its_owners_and_the_look_up() {
        let name: FileName = "x".parse().unwrap();
        let view = tests::view(2, &[&[1 << 61, 1 << 63], &[3 << 62]]);
        let mut ring = layout::ring(&view, &node(&[]));
        let found = tests::found(&name, &[3 << 62, 1 << 61], &["files-0", "files-1"]);
        ring.name = Some(layout::landing(&view, &node(&[]), &name, &found).unwrap());
        let text = lines(&ring, &wide(90, 30)).join("\n");
        let drawn = circle(&ring, &wide(90, 30), 90).join("\n");
        for sign in ['@', '¹', '²', '•', '·'] {
            assert!(drawn.contains(sign), "{sign} in\n{drawn}");
        }
        assert!(text.contains("owners     files-0 files-1"), "{text}");
        assert!(text.contains("lands at   7.0 % of the circle"), "{text}");
        let key = text.lines().find(|l| l.contains("clockwise  ")).unwrap();
        assert!(key.contains("2000000000000000") && key.ends_with("owner 1"));
        assert!(
            text.contains("8000000000000000  node 0  passed over"),
            "{text}"
        );
    }

    #[test]
    fn a_name_is_marked_with_the_owners_that_zones_make() {
        let name: FileName = "x".parse().unwrap();
        let view = tests::zoned();
        let mut ring = layout::ring(&view, &node(&[]));
        let found = tests::found(&name, &[], &["node 0", "node 2"]);
        ring.name = Some(layout::landing(&view, &node(&[]), &name, &found).unwrap());
        let text = lines(&ring, &wide(80, 30));
        let role = |token: &str| {
            let line = text.iter().find(|l| l.contains(token)).unwrap();
            assert!(line.chars().count() <= 80, "{line}");
            line.split("  ").last().unwrap().to_string()
        };
        assert_eq!(role("2000000000000000"), "owner 1");
        assert_eq!(role("2800000000000000"), "passed over: met before");
        assert_eq!(
            role("3000000000000000"),
            "passed over: zone or machine has a copy"
        );
        assert_eq!(role("4000000000000000"), "owner 2");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let name: FileName = "a\x1b[2Jb\u{202e}c".parse().unwrap();
        let view = tests::view(1, &[&[1 << 63], &[u64::MAX]]);
        let mut ring = layout::ring(&view, &node(&[]));
        let found = tests::found(&name, &[], &["files-0"]);
        ring.name = Some(layout::landing(&view, &node(&[]), &name, &found).unwrap());
        let text = lines(&ring, &wide(90, 30)).join("\n");
        assert!(text.contains("a\\u{1b}[2Jb\\u{202e}c"), "{text}");
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'));
    }
}
