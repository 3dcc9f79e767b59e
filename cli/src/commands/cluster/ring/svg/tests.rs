//! The ring drawn as an image.

use chord_types::FileName;

use super::*;
use crate::commands::cluster::fixtures::node;
use crate::commands::cluster::ring::fixtures;
use crate::commands::cluster::ring::layout::{landing, layout};

/// Whether every element is closed in order, and what stands between them is text.
fn is_well_formed(svg: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for piece in svg.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').ok_or("a tag does not end")?;
        if text.contains('>') {
            return Err(format!("a stray > in {text:?}"));
        }
        for entity in text.split('&').skip(1).chain(tag.split('&').skip(1)) {
            let name = entity.split(';').next().unwrap_or("");
            if !["amp", "lt", "gt", "quot", "#39"].contains(&name) {
                return Err(format!("a stray & before {entity:?}"));
            }
        }
        if tag.matches('"').count() % 2 == 1 {
            return Err(format!("quotes in {tag}"));
        }
        match tag.strip_prefix('/') {
            Some(end) if open.pop() != Some(end) => return Err(format!("</{end}>")),
            Some(_) => {}
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap_or("")),
        }
    }
    match open.is_empty() {
        true => Ok(()),
        false => Err(format!("not closed: {open:?}")),
    }
}

fn with_name(name: &str) -> Layout {
    let name: FileName = name.parse().unwrap();
    let view = fixtures::view(2, &[&[1 << 61, 1 << 63], &[3 << 62]]);
    let mut ring = layout(&view, &node(&[]));
    let found = fixtures::found(&name, &[3 << 62, 1 << 61], &["node 0", "node 1"]);
    ring.name = Some(landing(&view, &node(&[]), &name, &found).unwrap());
    ring
}

#[test]
fn every_virtual_node_has_its_arc_in_the_path_of_its_node() {
    for (ring, nodes) in [(fixtures::large(3, 64), 3), (fixtures::large(100, 64), 100)] {
        let svg = draw(&ring);
        is_well_formed(&svg).unwrap();
        let ways: Vec<&str> = svg
            .lines()
            .filter(|l| l.contains("class=\"node "))
            .collect();
        assert_eq!(ways.len(), nodes);
        for (way, node) in ways.iter().zip(&ring.nodes) {
            assert_eq!(way.matches('M').count(), 64, "{}", node.name);
            assert!(way.contains(&format!("<title>{}: ", node.name)), "{way}");
            assert_eq!(way.contains(" off\""), node.state == "Down");
        }
        assert!(svg.len() < 700_000, "{} bytes", svg.len());
    }
}

#[test]
fn the_legend_has_the_shares_of_each_node() {
    let ring = fixtures::large(100, 64);
    let svg = draw(&ring);
    for node in &ring.nodes {
        let from = svg.find(&format!("<g><title>{}:", node.name)).unwrap();
        let entry = &svg[from..from + svg[from..].find("</g>").unwrap()];
        assert!(entry.contains(&format!(">{}<", percent(node.share))));
        assert!(entry.contains(&format!(">{}<", percent(node.primary))));
        assert_eq!(entry.contains(">Down<"), node.state == "Down");
    }
}

#[test]
fn the_arcs_of_a_node_are_as_long_as_its_share() {
    let view = fixtures::view(1, &[&[1 << 63], &[u64::MAX]]);
    let svg = draw(&layout(&view, &node(&[])));
    // Half of the circle each: from the top to the bottom on the right, and back.
    let (top, bottom) = (MIDDLE.1 - RADIUS, MIDDLE.1 + RADIUS);
    let ends: Vec<Vec<f64>> = svg
        .lines()
        .filter(|l| l.contains("class=\"node "))
        .map(|l| {
            let d = l.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
            let numbers = d.split(['M', 'A', ' ']).filter_map(|n| n.parse().ok());
            let numbers: Vec<f64> = numbers.collect();
            vec![numbers[1], *numbers.last().unwrap()]
        })
        .collect();
    let near = |a: f64, b: f64| (a - b).abs() < 1.0;
    assert!(
        near(ends[0][0], top) && near(ends[0][1], bottom),
        "{ends:?}"
    );
    assert!(
        near(ends[1][0], bottom) && near(ends[1][1], top),
        "{ends:?}"
    );
}

#[test]
fn a_name_has_its_key_its_owners_and_its_look_up() {
    let svg = draw(&with_name("x"));
    is_well_formed(&svg).unwrap();
    assert!(svg.contains("key of “x”, at 7.0 % of the circle"), "{svg}");
    assert!(svg.contains("owner 1: node 0") && svg.contains("owner 2: node 1"));
    assert_eq!(svg.matches("class=\"path\"").count(), 1);
    assert_eq!(svg.matches("class=\"hop\"").count(), 2);
}

#[test]
fn the_badges_are_those_of_the_owners_that_zones_make() {
    let name: FileName = "x".parse().unwrap();
    let view = fixtures::zoned();
    let mut ring = layout(&view, &node(&[]));
    let found = fixtures::found(&name, &[], &["node 0", "node 2"]);
    ring.name = Some(landing(&view, &node(&[]), &name, &found).unwrap());
    let svg = draw(&ring);
    assert!(svg.contains("owner 1: node 0") && svg.contains("owner 2: node 2"));
    assert!(!svg.contains("owner 2: node 1") && !svg.contains("owner 3"));
}

#[test]
fn a_name_is_text_whatever_it_is() {
    for hostile in [
        "</text><script>alert(1)</script>",
        "a\"b'c&d;e<f>",
        "]]>",
        "&amp;lt;",
        "line\nbreak\x1b[31m\u{ffff}",
        &"long ".repeat(200),
    ] {
        let svg = draw(&with_name(hostile));
        is_well_formed(&svg).unwrap_or_else(|why| panic!("{hostile:?}: {why}"));
        assert!(!svg.contains("<script"));
        assert!(!svg.contains('\x1b') && !svg.contains('\u{ffff}'));
    }
    assert!(draw(&with_name("a&b")).contains("“a&amp;b”"));
    let mut ring = with_name("x");
    ring.nodes[0].name = "<b>&".into();
    is_well_formed(&draw(&ring)).unwrap();
}

#[test]
fn colours_stand_out_from_their_background() {
    let light = |colour: &str| {
        let part = |at: usize| {
            let c = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    };
    for (background, colours) in [(LIGHT_BACKGROUND, LIGHT), (DARK_BACKGROUND, DARK)] {
        for colour in colours {
            let (a, b) = (light(background) + 0.05, light(colour) + 0.05);
            let contrast = a.max(b) / a.min(b);
            assert!(contrast >= 3.0, "{colour} on {background}: {contrast:.2}");
        }
    }
}
