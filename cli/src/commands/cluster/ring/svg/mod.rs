//! The ring as an SVG image: the arc of every virtual node, the shares of each
//! node, and, for a name, its key, its owners and the look-up.
//!
//! An image of its own, without scripts, fonts or anything to fetch. Its colours
//! follow the viewer's light or dark mode; the seven of each mode were chosen to
//! stay apart for the colour-blind as well, and past seven nodes the form of the
//! band changes, too. What a pointer rests on says its name.

#[cfg(test)]
mod tests;

use std::f64::consts::TAU;
use std::fmt::Write;

use super::layout::{Landing, Layout, Node, percent, turn};
use crate::output::escaped_xml;

/// On white: each against it with a contrast of at least 3.
const LIGHT: [&str; 7] = [
    "#115599", "#ff5511", "#4499aa", "#aa33ff", "#550000", "#001166", "#993322",
];

/// On the dark background, likewise.
const DARK: [&str; 7] = [
    "#99aaff", "#ffee00", "#117788", "#ee9966", "#88ffff", "#aa00ff", "#cc2200",
];

const LIGHT_BACKGROUND: &str = "#ffffff";

const DARK_BACKGROUND: &str = "#15181d";

/// The bands that nodes have in turn, once the colours are used up: how far from
/// the middle of the ring, and how wide.
const BANDS: [(f64, f64); 4] = [(0.0, 30.0), (8.0, 14.0), (-8.0, 14.0), (0.0, 8.0)];

const MIDDLE: (f64, f64) = (360.0, 390.0);

const RADIUS: f64 = 270.0;

/// Where a look-up runs from and to, inside of the ring.
const INNER: f64 = RADIUS - 24.0;

/// Where owners are numbered.
const OUTER: f64 = RADIUS + 48.0;

/// Rows of the legend before the next column.
const ROWS: usize = 30;

const ROW: f64 = 20.0;

const COLUMN: f64 = 380.0;

const LEGEND: (f64, f64) = (740.0, 92.0);

/// Characters of a name that are written out.
const NAME: usize = 48;

/// The image.
pub fn draw(layout: &Layout) -> String {
    let columns = layout.nodes.len().div_ceil(ROWS).max(1);
    let width = LEGEND.0 + columns as f64 * COLUMN;
    let height = 2.0 * MIDDLE.1 - 30.0;
    let mut svg = Svg(String::with_capacity(8192 + layout.arcs.len() * 48));
    svg.line(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\">"
    ));
    let about = about(layout);
    svg.line(format_args!("<title>{}</title>", escaped_xml(&about)));
    style(&mut svg);
    svg.line(format_args!(
        "<rect width=\"100%\" height=\"100%\" class=\"paper\"/>"
    ));
    svg.line(format_args!(
        "<text x=\"30\" y=\"38\" font-size=\"18\">{}</text>",
        escaped_xml(&about)
    ));
    circle(&mut svg, layout);
    legend(&mut svg, layout);
    if let Some(landing) = &layout.name {
        name(&mut svg, layout, landing);
    }
    svg.line(format_args!("</svg>"));
    svg.0
}

struct Svg(String);

impl Svg {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn about(layout: &Layout) -> String {
    let change = if layout.tables == "Joint" {
        ", what a change under way leads to"
    } else {
        ""
    };
    format!(
        "Ring of {} nodes, {} copies of everything, epoch {}{change}",
        layout.nodes.len(),
        layout.replication,
        layout.epoch
    )
}

/// The first characters, and a sign where there are more.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return escaped_xml(text);
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", escaped_xml(&kept))
}

fn style(svg: &mut Svg) {
    let palette = |colours: &[&str]| -> String {
        let named = colours.iter().enumerate();
        named.map(|(n, c)| format!("--c{n}:{c};")).collect()
    };
    svg.line(format_args!("<style>"));
    svg.line(format_args!(
        "svg{{--paper:{LIGHT_BACKGROUND};--ink:#1b1f24;--faint:#5c6570;--track:#e7eaee;{}}}",
        palette(&LIGHT)
    ));
    svg.line(format_args!(
        "@media (prefers-color-scheme:dark){{svg{{--paper:{DARK_BACKGROUND};--ink:#eceff3;--faint:#a3acb8;--track:#2a2f37;{}}}}}",
        palette(&DARK)
    ));
    svg.line(format_args!(
        ".paper{{fill:var(--paper)}}text{{fill:var(--ink)}}.faint{{fill:var(--faint)}}.end{{text-anchor:end}}.mid{{text-anchor:middle}}.track{{fill:none;stroke:var(--track)}}.off{{opacity:.35}}.path{{fill:none;stroke:var(--ink);stroke-width:1.6}}.lead{{fill:none;stroke:var(--faint)}}.ink{{fill:var(--ink)}}.halo{{stroke:var(--paper);stroke-width:4px}}.badge{{fill:var(--paper);stroke:var(--ink);stroke-width:1.5}}"
    ));
    for n in 0..LIGHT.len() {
        svg.line(format_args!(
            ".s{n}{{fill:none;stroke:var(--c{n})}}.f{n}{{fill:var(--c{n})}}"
        ));
    }
    svg.line(format_args!("</style>"));
}

/// The colour and the band of a node.
fn style_of(node: usize) -> (usize, (f64, f64)) {
    let colours = LIGHT.len();
    (node % colours, BANDS[node / colours % BANDS.len()])
}

fn is_off(node: &Node) -> bool {
    node.out || node.state == "Down"
}

/// A point at a turn (0 is the top, clockwise) and a distance from the middle.
fn at(turn: f64, far: f64) -> (f64, f64) {
    (
        MIDDLE.0 + far * (turn * TAU).sin(),
        MIDDLE.1 - far * (turn * TAU).cos(),
    )
}

fn circle(svg: &mut Svg, layout: &Layout) {
    svg.line(format_args!(
        "<circle cx=\"{}\" cy=\"{}\" r=\"{RADIUS}\" class=\"track\" stroke-width=\"{}\"/>",
        MIDDLE.0, MIDDLE.1, BANDS[0].1
    ));
    let mut ways: Vec<String> = vec![String::new(); layout.nodes.len()];
    for arc in &layout.arcs {
        let Some(way) = ways.get_mut(arc.node) else {
            continue;
        };
        let (_, (off, _)) = style_of(arc.node);
        let far = RADIUS + off;
        let length = arc.length();
        let from = turn(arc.after);
        // A gap shows where one virtual node ends, as wide as there is room for.
        let gap = (length * 0.12).min(0.9 / (far * TAU));
        // An arc that comes round to where it began is two.
        let pieces: &[(f64, f64)] = if length >= 0.999 {
            &[(0.0, 0.5), (0.5, 1.0)]
        } else {
            &[(0.0, 1.0)]
        };
        for (begin, end) in pieces {
            let (x, y) = at(from + begin * length + gap / 2.0, far);
            let (to_x, to_y) = at(from + end * length - gap / 2.0, far);
            let large = u8::from((end - begin) * length - gap > 0.5);
            let _ = write!(
                way,
                "M{x:.2} {y:.2}A{far} {far} 0 {large} 1 {to_x:.2} {to_y:.2}"
            );
        }
    }
    for (index, (node, way)) in layout.nodes.iter().zip(ways).enumerate() {
        let (colour, (_, wide)) = style_of(index);
        let off = if is_off(node) { " off" } else { "" };
        svg.line(format_args!(
            "<path class=\"node s{colour}{off}\" stroke-width=\"{wide}\" d=\"{way}\"><title>{}</title></path>",
            escaped_xml(&describe(node))
        ));
    }
    // Where the circle begins.
    let (x, y) = at(0.0, RADIUS + 26.0);
    svg.line(format_args!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"faint mid\" font-size=\"11\">0</text>"
    ));
}

fn describe(node: &Node) -> String {
    let kept = match node.used_share {
        Some(share) => format!(", {} of the bytes kept", percent(share)),
        None => String::new(),
    };
    format!(
        "{}: {} of the copies, first owner of {} of the names{kept}, {} virtual nodes, {}",
        node.name,
        percent(node.share),
        percent(node.primary),
        node.tokens.len(),
        node.state
    )
}

fn legend(svg: &mut Svg, layout: &Layout) {
    let rows: Vec<&[Node]> = layout.nodes.chunks(ROWS).collect();
    for (column, nodes) in rows.into_iter().enumerate() {
        let x = LEGEND.0 + column as f64 * COLUMN;
        let head = LEGEND.1 - 24.0;
        for (right, text) in [(192.0, "copies"), (250.0, "first"), (308.0, "bytes")] {
            svg.line(format_args!(
                "<text x=\"{}\" y=\"{head}\" class=\"faint end\" font-size=\"11\">{text}</text>",
                x + right
            ));
        }
        for (row, node) in nodes.iter().enumerate() {
            let index = column * ROWS + row;
            entry(svg, layout, node, index, x, LEGEND.1 + row as f64 * ROW);
        }
    }
}

fn entry(svg: &mut Svg, layout: &Layout, node: &Node, index: usize, x: f64, y: f64) {
    let (colour, (off, wide)) = style_of(index);
    // The swatch has the form of the band, seen from the right.
    let (high, shift) = (wide * 0.5, -off * 0.5);
    let top = y - 4.5 + shift - high / 2.0;
    let faded = if is_off(node) { " off" } else { "" };
    svg.line(format_args!(
        "<g><title>{}</title><rect x=\"{x}\" y=\"{top:.1}\" width=\"20\" height=\"{high:.1}\" class=\"f{colour}{faded}\"/>",
        escaped_xml(&describe(node))
    ));
    let owner = layout.name.as_ref().and_then(|landing| {
        let place = landing.owners.iter().position(|o| *o == node.name)?;
        Some(place + 1)
    });
    let name = short(&node.name, if owner.is_some() { 13 } else { 15 });
    let weight = if owner.is_some() {
        " font-weight=\"bold\""
    } else {
        ""
    };
    svg.line(format_args!(
        "<text x=\"{}\" y=\"{y}\"{weight}>{name}</text>",
        x + 28.0
    ));
    let kept = node.used_share.map_or_else(|| "-".into(), percent);
    for (right, text) in [
        (192.0, percent(node.share)),
        (250.0, percent(node.primary)),
        (308.0, kept),
    ] {
        svg.line(format_args!(
            "<text x=\"{}\" y=\"{y}\" class=\"end\">{text}</text>",
            x + right
        ));
    }
    if node.state != "Ready" {
        svg.line(format_args!(
            "<text x=\"{}\" y=\"{y}\">{}</text>",
            x + 318.0,
            node.state
        ));
    }
    if let Some(number) = owner {
        badge(svg, x + 130.0, y - 4.5, number);
    }
    svg.line(format_args!("</g>"));
}

fn badge(svg: &mut Svg, x: f64, y: f64, number: usize) {
    svg.line(format_args!(
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\" class=\"badge\"/><text x=\"{x:.1}\" y=\"{:.1}\" class=\"mid\" font-size=\"11\">{number}</text>",
        y + 4.0
    ));
}

/// The key, its owners, and the look-up.
fn name(svg: &mut Svg, layout: &Layout, landing: &Landing) {
    let below = 2.0 * MIDDLE.1 - 30.0;
    svg.line(format_args!(
        "<text x=\"30\" y=\"60\"><title>{}</title>key of “{}”, at {} of the circle</text>",
        escaped_xml(&landing.name),
        short(&landing.name, NAME),
        percent(landing.at)
    ));
    svg.line(format_args!(
        "<text x=\"30\" y=\"{}\" class=\"faint\" font-size=\"11\">{} · numbers outside: its owners · lines inside: the look-up, {}</text>",
        below - 14.0,
        escaped_xml(&landing.id),
        short(&landing.path.join(" → "), 60)
    ));
    look_up(svg, landing);
    // A wedge that points at the key, with the owners beside it in a fan: the real
    // distances are too small to write in.
    let wedge = [
        (0.0, RADIUS + 17.0),
        (-0.006, RADIUS + 31.0),
        (0.006, RADIUS + 31.0),
    ];
    let points: Vec<String> = wedge
        .iter()
        .map(|(turn, far)| at(landing.at + turn, *far))
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    svg.line(format_args!(
        "<polygon points=\"{}\" class=\"ink\"/>",
        points.join(" ")
    ));
    let (x, y) = at(landing.at, OUTER);
    svg.line(format_args!(
        "<text x=\"{x:.1}\" y=\"{:.1}\" class=\"mid\" font-weight=\"bold\">key</text>",
        y + 4.0
    ));
    for stop in &landing.walk {
        let Some(owner) = stop.owner else { continue };
        let (x, y) = at(landing.at + 0.018 * owner as f64, OUTER);
        let (to_x, to_y) = at(stop.at, RADIUS + 16.0);
        let node = layout.nodes.iter().find(|n| n.name == stop.node);
        svg.line(format_args!(
            "<g class=\"owner\"><title>owner {owner}: {}, virtual node {}</title><path d=\"M{x:.1} {y:.1}L{to_x:.1} {to_y:.1}\" class=\"lead\"/>",
            escaped_xml(&node.map_or_else(|| stop.node.clone(), describe)),
            escaped_xml(&stop.token)
        ));
        badge(svg, x, y, owner);
        svg.line(format_args!("</g>"));
    }
}

/// From hop to hop, bent towards the middle so that near ones can be told apart.
fn look_up(svg: &mut Svg, landing: &Landing) {
    for pair in landing.hops.windows(2) {
        let (from, to) = (at(pair[0].at, INNER), at(pair[1].at, INNER));
        let bend = |a: f64, b: f64, middle: f64| middle + ((a + b) / 2.0 - middle) * 0.55;
        let (x, y) = (bend(from.0, to.0, MIDDLE.0), bend(from.1, to.1, MIDDLE.1));
        svg.line(format_args!(
            "<path class=\"path\" d=\"M{:.1} {:.1}Q{x:.1} {y:.1} {:.1} {:.1}\"/>",
            from.0, from.1, to.0, to.1
        ));
        // The tip points the way the curve ends; markers do not turn in every viewer.
        let (dx, dy) = (to.0 - x, to.1 - y);
        let long = dx.hypot(dy).max(1.0);
        let tip = |back: f64, side: f64| {
            (
                to.0 - (dx * back + dy * side) / long,
                to.1 - (dy * back - dx * side) / long,
            )
        };
        let (left, right) = (tip(13.0, 4.5), tip(13.0, -4.5));
        svg.line(format_args!(
            "<polygon points=\"{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}\" class=\"ink\"/>",
            to.0, to.1, left.0, left.1, right.0, right.1
        ));
    }
    for (index, hop) in landing.hops.iter().enumerate() {
        let (x, y) = at(hop.at, INNER);
        let (label_x, label_y) = at(hop.at, INNER - 22.0);
        let side = if label_x > MIDDLE.0 { "end" } else { "start" };
        let words = format!(
            "x=\"{label_x:.1}\" y=\"{:.1}\" font-size=\"11\">{}</text>",
            label_y + 4.0,
            escaped_xml(&hop.node)
        );
        // The words twice: the first, broad and of the paper's colour, parts them
        // from the lines that they stand on.
        svg.line(format_args!(
            "<g class=\"hop\"><title>{}: {} on {}</title><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" class=\"ink\"/><text class=\"{side} halo\" {words}<text class=\"{side}\" {words}</g>",
            if index == 0 { "the look-up begins" } else { "hop" },
            escaped_xml(&hop.id),
            escaped_xml(&hop.node),
        ));
    }
}
