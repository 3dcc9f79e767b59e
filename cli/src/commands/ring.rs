//! `chord ring`: the ring drawn, with the share of each node and its tokens.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use chord_api::report::NodeStatus;
use chord_api::{DiskId, Placement, Token, View};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Output, table};
use crate::target::Target;

/// Columns and rows of the drawing; a character is about twice as high as wide.
const WIDTH: usize = 45;
const HEIGHT: usize = 21;
/// Columns of a share's bar.
const BAR: usize = 24;
/// What stands for each node in the drawing, again from the start past the end.
const MARKS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The ring, as programs get it.
#[derive(Debug, Serialize)]
struct Told {
    epoch: u64,
    /// `Stable`, or `Joint` while a change is under way; then this is what it
    /// leads to.
    tables: &'static str,
    replication: u8,
    nodes: Vec<Node>,
}

#[derive(Debug, Serialize)]
struct Node {
    name: String,
    ordinal: u32,
    disk: DiskId,
    out: bool,
    /// Of all copies, from 0 to 1.
    share: f64,
    /// Where its virtual nodes stand: the first 16 digits of their ids.
    tokens: Vec<String>,
}

pub async fn run(target: &Target, out: Output) -> Result<(), Failure> {
    let files = target.files().await?;
    let (view, status) = (files.view().await?, files.status().await?);
    let placement = Placement::new(view.new_table());
    let told = told(&view, &placement, &status);
    out.show(&told, || lines(&told, &placement))
}

fn told(view: &View, placement: &Placement, status: &NodeStatus) -> Told {
    let names: BTreeMap<DiskId, &str> = status
        .members
        .iter()
        .map(|m| (m.disk, m.name.as_str()))
        .collect();
    let shares = placement.shares();
    // Shares add up to as many circles as there are copies.
    let whole: f64 = shares.values().sum();
    let nodes = placement.table().members.iter().map(|member| Node {
        name: names
            .get(&member.disk)
            .map_or_else(|| format!("node {}", member.ordinal), |n| n.to_string()),
        ordinal: member.ordinal.0,
        disk: member.disk,
        out: member.out,
        share: if whole > 0.0 {
            shares.get(&member.ordinal).copied().unwrap_or(0.0) / whole
        } else {
            0.0
        },
        tokens: member
            .tokens
            .iter()
            .map(|t| format!("{:016x}", t.0))
            .collect(),
    });
    Told {
        epoch: view.epoch.0,
        tables: view.state(),
        replication: placement.table().replication,
        nodes: nodes.collect(),
    }
}

fn lines(told: &Told, placement: &Placement) -> Vec<String> {
    let mut lines = drawing(placement);
    lines.push(String::new());
    lines.push("each character: the node that is the successor of that part of the circle; top is 0, clockwise".into());
    let change = if told.tables == "Joint" {
        ", changing: this is what it leads to"
    } else {
        ""
    };
    lines.push(format!(
        "epoch {}, {} copies of everything{change}",
        told.epoch, told.replication
    ));
    lines.push(String::new());
    let most = told.nodes.iter().map(|n| n.share).fold(0.0, f64::max);
    let rows: Vec<Vec<String>> = told
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            let filled = if most > 0.0 {
                (node.share / most * BAR as f64).round() as usize
            } else {
                0
            };
            let note = if node.out { "given up" } else { "" };
            vec![
                mark(index).to_string(),
                node.name.clone(),
                format!("{:5.1} %", node.share * 100.0),
                format!("{:<BAR$}", "#".repeat(filled)),
                format!("{} tokens {note}", node.tokens.len())
                    .trim_end()
                    .to_string(),
            ]
        })
        .collect();
    lines.extend(table(&rows));
    lines
}

fn mark(index: usize) -> char {
    char::from(MARKS[index % MARKS.len()])
}

/// The circle: each character on it stands for the arc around its angle.
fn drawing(placement: &Placement) -> Vec<String> {
    let index_of: BTreeMap<u32, usize> = placement
        .table()
        .members
        .iter()
        .enumerate()
        .map(|(index, m)| (m.ordinal.0, index))
        .collect();
    let mut grid = vec![vec![' '; WIDTH]; HEIGHT];
    let (middle_x, middle_y) = ((WIDTH - 1) as f64 / 2.0, (HEIGHT - 1) as f64 / 2.0);
    let steps = 4 * (WIDTH + HEIGHT);
    for step in 0..steps {
        let turn = step as f64 / steps as f64;
        let x = (middle_x + middle_x * (turn * TAU).sin()).round() as usize;
        let y = (middle_y - middle_y * (turn * TAU).cos()).round() as usize;
        let point = Token((turn * 2f64.powi(64)) as u64).id();
        if let Some((_, member)) = placement.successor(&point)
            && let Some(cell) = grid.get_mut(y).and_then(|row| row.get_mut(x))
            && *cell == ' '
        {
            *cell = index_of
                .get(&member.ordinal.0)
                .map_or('?', |index| mark(*index));
        }
    }
    grid.into_iter()
        .map(|row| row.into_iter().collect::<String>().trim_end().to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_api::{ClusterUid, Member, Ordinal, Table};

    fn view(tokens: &[&[u64]]) -> View {
        let members = tokens.iter().enumerate().map(|(n, tokens)| Member {
            ordinal: Ordinal(n as u32),
            disk: DiskId(uuid::Uuid::from_u128(n as u128)),
            tokens: tokens.iter().map(|t| Token(*t)).collect(),
            zone: None,
            out: false,
        });
        View::first(
            ClusterUid("u".into()),
            Table {
                replication: 1,
                members: members.collect(),
            },
        )
        .unwrap()
    }

    #[test]
    fn shares_add_up_and_the_drawing_shows_each_arc() {
        // Node 0 has the first half of the circle (right), node 1 the second (left).
        let view = view(&[&[1 << 63], &[u64::MAX]]);
        let placement = Placement::new(view.new_table());
        let told = told(&view, &placement, &super::super::status::tests::node(&[]));
        let sum: f64 = told.nodes.iter().map(|n| n.share).sum();
        assert!((sum - 1.0).abs() < 1e-9);
        assert!((told.nodes[0].share - 0.5).abs() < 1e-9);
        let drawn = drawing(&placement);
        let middle = &drawn[HEIGHT / 2];
        assert!(
            middle.starts_with('1') && middle.ends_with('0'),
            "{drawn:#?}"
        );
        assert_eq!(drawn.len(), HEIGHT);
    }
}
