//! What a ring costs when nothing happens: processor time and memory of real
//! nodes at rest, from /proc.
//!
//! `make bench-ring`, or with words after `--`: nodes, seconds. `CHORD_NODE_BIN`
//! puts another build of the node to it. Adds a line for each figure to
//! `target/bench/figures.jsonl`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use support::Cluster;
use support::ring::CALM;

const TOKENS: usize = 8;
/// Until the first rounds are over and everybody has come to rest.
const SETTLES: Duration = Duration::from_secs(45);

/// Processor time since its start, and resident memory.
struct Cost {
    seconds: f64,
    mib: f64,
}

/// In which /proc counts; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

fn cost(pid: u32) -> Cost {
    let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap();
    let stat = read("stat");
    // The name in parentheses may contain anything; the state comes first after it.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = |n: usize| fields[n].parse::<f64>().unwrap();
    let status = read("status");
    let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib: f64 = resident
        .and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap();
    Cost {
        seconds: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
        mib: kib / 1024.0,
    }
}

fn costs(cluster: &Cluster) -> Vec<Cost> {
    let pids = cluster.nodes.iter().map(|n| n.child.as_ref().unwrap().id());
    pids.map(cost).collect()
}

#[tokio::main]
async fn main() {
    // `cargo bench` adds words of its own.
    let words: Vec<u64> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let count = words.first().copied().unwrap_or(64) as u32;
    let seconds = words.get(1).copied().unwrap_or(30);
    let cluster = Cluster::start_with(count, &CALM);
    let all: Vec<usize> = (0..count as usize).collect();
    cluster.form_ring(TOKENS).await;
    cluster.ring_of("all form the ring", &all, TOKENS).await;
    tokio::time::sleep(SETTLES).await;

    let (before, began) = (costs(&cluster), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (after, took) = (costs(&cluster), began.elapsed().as_secs_f64());

    let mut percent: Vec<f64> = before
        .iter()
        .zip(&after)
        .map(|(b, a)| (a.seconds - b.seconds) / took * 100.0)
        .collect();
    percent.sort_by(f64::total_cmp);
    let mut mib: Vec<f64> = after.iter().map(|c| c.mib).collect();
    mib.sort_by(f64::total_cmp);
    let total: f64 = percent.iter().sum();
    println!(
        "{count} nodes of {TOKENS} tokens at rest, {took:.0} s: {total:.1} % of one processor in all; \
         a node {:.2} % in the median, {:.2} to {:.2}; {:.1} MiB in the median, {:.1} in all",
        percent[percent.len() / 2],
        percent[0],
        percent[percent.len() - 1],
        mib[mib.len() / 2],
        mib.iter().sum::<f64>(),
    );
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&dir).unwrap();
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("figures.jsonl"))
        .unwrap();
    for (name, unit, values) in [
        ("idle_ring_cpu", "percent", &percent),
        ("idle_ring_rss", "MiB", &mib),
    ] {
        let line = serde_json::json!({
            "figure": format!("{name}_{count}"),
            "value": values[values.len() / 2],
            "unit": unit,
            "n": values.len(),
            "min": values[0],
            "max": values[values.len() - 1],
        });
        writeln!(file, "{line}").unwrap();
    }
}
