//! The ring drawn in characters.

use chord_types::FileName;

use super::*;
use crate::commands::cluster::fixtures::node;
use crate::commands::cluster::ring::fixtures;
use crate::commands::cluster::ring::layout::{landing, layout};

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
    let view = fixtures::view(1, &[&[1 << 63], &[u64::MAX]]);
    let ring = layout(&view, &node(&[]));
    let drawn = circle(&ring, &Screen::default(), 80);
    let middle = drawn[drawn.len() / 2].trim();
    assert!(
        middle.starts_with('1') && middle.ends_with('0'),
        "{drawn:#?}"
    );
}

#[test]
fn it_fits_the_terminal_whatever_its_size() {
    for ring in [fixtures::large(3, 64), fixtures::large(100, 64)] {
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
    let ring = fixtures::large(100, 64);
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
    let ring = fixtures::large(3, 64);
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
    let view = fixtures::view(2, &[&[1 << 61, 1 << 63], &[3 << 62]]);
    let mut ring = layout(&view, &node(&[]));
    let found = fixtures::found(&name, &[3 << 62, 1 << 61], &["files-0", "files-1"]);
    ring.name = Some(landing(&view, &node(&[]), &name, &found).unwrap());
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
    let view = fixtures::zoned();
    let mut ring = layout(&view, &node(&[]));
    let found = fixtures::found(&name, &[], &["node 0", "node 2"]);
    ring.name = Some(landing(&view, &node(&[]), &name, &found).unwrap());
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
    let view = fixtures::view(1, &[&[1 << 63], &[u64::MAX]]);
    let mut ring = layout(&view, &node(&[]));
    let found = fixtures::found(&name, &[], &["files-0"]);
    ring.name = Some(landing(&view, &node(&[]), &name, &found).unwrap());
    let text = lines(&ring, &wide(90, 30)).join("\n");
    assert!(text.contains("a\\u{1b}[2Jb\\u{202e}c"), "{text}");
    assert!(!text.contains('\x1b') && !text.contains('\u{202e}'));
}
