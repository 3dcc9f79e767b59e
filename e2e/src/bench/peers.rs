//! Chord beside a peer: the same loads on each store in turn, round by round, so that
//! a machine that is slow for a minute is slow for both sides of a ratio.
//!
//! Every turn is a new store that runs alone: nothing is left of the turn before,
//! neither processes nor files. Another peer is another [`Contender`].

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::client::{FileSet, Source};
use super::cluster::{Cluster, Memory};
use super::figures::{Figure, Figures};
use super::garage::{Durability, Garage};
use super::loads::{BIG, Extent, Loads, Protocol, SMALL, Store};
use super::record::{CLUSTER, PEER, busy};

/// For what a store does behind its answers (the third copy among it) before the
/// next thing is measured.
const QUIET: Duration = Duration::from_secs(2);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// This store.
    Chord,
    /// The peer, set up in this way.
    Garage(Durability),
}

/// In the order of their turns.
const ALL: [Contender; 3] = [
    Contender::Chord,
    Contender::Garage(Durability::Synced),
    Contender::Garage(Durability::Defaults),
];

impl Contender {
    /// What stands before the names of its figures.
    fn prefix(self) -> &'static str {
        match self {
            Contender::Chord => "",
            Contender::Garage(Durability::Synced) => "garage_",
            Contender::Garage(Durability::Defaults) => "garage_defaults_",
        }
    }

    /// What stands behind the names of the ratios to it. The peer that promises what
    /// chord does is *the* peer.
    fn ratio(self) -> Option<&'static str> {
        match self {
            Contender::Chord => None,
            Contender::Garage(Durability::Synced) => Some("_over_peer"),
            Contender::Garage(Durability::Defaults) => Some("_over_peer_defaults"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Contender::Chord => "chord",
            Contender::Garage(Durability::Synced) => "garage, synced",
            Contender::Garage(Durability::Defaults) => "garage, defaults",
        }
    }
}

/// A store that runs.
enum Running {
    Chord(Cluster),
    Garage(Garage),
}

impl Running {
    async fn start(who: Contender, work: &Path) -> Result<Running> {
        Ok(match who {
            Contender::Chord => {
                let spec = json!({
                    "nodes": 3,
                    "replication": 3,
                    "storage": {"size": "8Gi"},
                    "durability": "Durable",
                });
                Running::Chord(Cluster::start(&work.join(CLUSTER), &spec, 3).await?)
            }
            Contender::Garage(durability) => {
                Running::Garage(Garage::start(&work.join(PEER), durability).await?)
            }
        })
    }

    fn store(&self) -> Result<Store> {
        Ok(match self {
            Running::Chord(cluster) => Store {
                servers: cluster.addresses()?,
                protocol: Protocol::Chord,
            },
            Running::Garage(garage) => garage.store(),
        })
    }

    fn pids(&self) -> Result<Vec<u32>> {
        Ok(match self {
            Running::Chord(cluster) => cluster.nodes()?.iter().map(|n| n.pid).collect(),
            Running::Garage(garage) => garage.pids(),
        })
    }

    async fn stop(self) -> Result<()> {
        match self {
            Running::Chord(cluster) => cluster.stop().await,
            Running::Garage(garage) => garage.stop().await,
        }
    }
}

/// All rounds. Figures of a round are kept when all have had their turn.
pub async fn run(work: &Path, extent: Extent, figures: &mut Figures) -> Result<()> {
    let source = Source::default();
    for round in 0..extent.rounds {
        let mut turns = Vec::new();
        for who in ALL {
            eprintln!(
                "round {} of {}: {}{}",
                round + 1,
                extent.rounds,
                who.name(),
                busy().map_or(String::new(), |load| format!("; load {load}"))
            );
            let measured = measure_alone(who, work, &source, extent)
                .await
                .with_context(|| format!("measuring {}", who.name()))?;
            turns.push((who, measured));
        }
        add_round(figures, &turns);
    }
    Ok(())
}

/// One store, from its start to its end.
async fn measure_alone(
    who: Contender,
    work: &Path,
    source: &Source,
    extent: Extent,
) -> Result<Figures> {
    for store in [CLUSTER, PEER] {
        remove(&work.join(store))?;
    }
    quiet_down().await;
    let running = Running::start(who, work).await?;
    let result = measure(&running, source, extent).await;
    let stopped = running.stop().await;
    let figures = result?;
    stopped.map(|()| figures)
}

async fn measure(running: &Running, source: &Source, extent: Extent) -> Result<Figures> {
    let mut figures = Figures::default();
    let loads = Loads {
        store: running.store()?,
        source: source.clone(),
        extent,
    };
    let (small, big) = (FileSet::new("small/", SMALL), FileSet::new("big/", BIG));
    loads.lay_out(&small).await?;
    quiet_down().await;
    let memory = Memory::watch(running.pids()?);
    loads.put_big(&mut figures, &big).await?;
    quiet_down().await;
    loads.get_big(&mut figures, &big).await?;
    match memory.most().await {
        Ok(most) => figures.add("load_rss_mib", "MiB", most),
        Err(e) => eprintln!("no load_rss_mib: {e:#}"),
    }
    loads.put_small(&mut figures, 0).await?;
    quiet_down().await;
    loads.get_small(&mut figures, &small).await?;
    Ok(figures)
}

/// Lets the disk and the store finish what they have begun.
async fn quiet_down() {
    // In a thread of its own: it waits for the disk, and nodes are asked meanwhile.
    let synced = tokio::task::spawn_blocking(rustix::fs::sync).await;
    if let Err(e) = synced {
        eprintln!("the disk was not synced before: {e}");
    }
    tokio::time::sleep(QUIET).await;
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Adds what a round has measured, and chord's over each peer's.
fn add_round(figures: &mut Figures, turns: &[(Contender, Figures)]) {
    let ours = turns.iter().find(|(who, _)| *who == Contender::Chord);
    for (who, measured) in turns {
        for (name, unit, value) in measured.last() {
            figures.add(&format!("{}{name}", who.prefix()), unit, value);
        }
    }
    for (who, theirs) in turns {
        let (Some(behind), Some((_, ours))) = (who.ratio(), ours) else {
            continue;
        };
        for (name, _, value) in ours.last() {
            let other = theirs.last().find(|(other, ..)| *other == name);
            if let Some((.., other)) = other.filter(|(.., other)| *other > 0.0) {
                figures.add(&format!("{name}{behind}"), "ratio", value / other);
            }
        }
    }
}

/// Medians side by side, as a table of Markdown.
pub fn table(figures: &Figures) -> String {
    let all = figures.all();
    let find = |name: String| all.iter().find(|f| f.figure == name);
    let peers = || ALL.into_iter().filter_map(|who| Some((who, who.ratio()?)));
    let mut text = String::from("| figure | unit | chord |");
    let mut line = String::from("| --- | --- | ---: |");
    for (who, _) in peers() {
        text.push_str(&format!(" {} | chord over it |", who.name()));
        line.push_str(" ---: | ---: |");
    }
    text.push_str(&format!("\n{line}\n"));
    // Ours are those whose ratios there are.
    let ours = all
        .iter()
        .filter(|f| peers().any(|(_, behind)| find(format!("{}{behind}", f.figure)).is_some()));
    for figure in ours {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "| `{}` | {} | {} |",
            figure.figure, figure.unit, figure.value
        );
        for (who, behind) in peers() {
            let theirs = find(format!("{}{}", who.prefix(), figure.figure));
            let theirs = theirs.map_or(String::new(), |f| f.value.to_string());
            let ratio = find(format!("{}{behind}", figure.figure));
            let _ = write!(
                text,
                " {theirs} | {} |",
                ratio.map_or(String::new(), spread)
            );
        }
        text.push('\n');
    }
    text
}

/// A median with its limits, in three digits.
fn spread(figure: &Figure) -> String {
    let short = |value: f64| {
        let digits = if value >= 10.0 { 1 } else { 2 };
        format!("{value:.digits$}")
    };
    format!(
        "{} ({}–{})",
        short(figure.value),
        short(figure.min),
        short(figure.max)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds() -> Figures {
        let mut figures = Figures::default();
        for (ours, theirs, unsynced) in [(4.0, 2.0, 8.0), (9.0, 3.0, 9.0), (5.0, 5.0, 10.0)] {
            let one = |value: f64| {
                let mut one = Figures::default();
                one.add("put_4k_1c_per_s", "1/s", value);
                one
            };
            add_round(
                &mut figures,
                &[
                    (ALL[0], one(ours)),
                    (ALL[1], one(theirs)),
                    (ALL[2], one(unsynced)),
                ],
            );
        }
        figures
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let all = rounds().all();
        let of = |name: &str| {
            let found = all.iter().find(|f| f.figure == name).unwrap();
            (found.value, found.min, found.max, found.n)
        };
        assert_eq!(of("put_4k_1c_per_s"), (5.0, 4.0, 9.0, 3));
        assert_eq!(of("garage_put_4k_1c_per_s"), (3.0, 2.0, 5.0, 3));
        assert_eq!(of("put_4k_1c_per_s_over_peer"), (2.0, 1.0, 3.0, 3));
        assert_eq!(of("put_4k_1c_per_s_over_peer_defaults").0, 0.5);
    }

    #[test]
    fn what_a_peer_did_not_do_has_no_ratio() {
        let mut ours = Figures::default();
        ours.add("a", "ms", 1.0);
        let mut figures = Figures::default();
        add_round(
            &mut figures,
            &[(ALL[0], ours), (ALL[1], Figures::default())],
        );
        assert_eq!(figures.all().len(), 1);
    }

    #[test]
    fn the_table_has_a_line_for_each_figure_of_ours() {
        let text = table(&rounds());
        assert_eq!(text.lines().count(), 3, "{text}");
        let row = "| `put_4k_1c_per_s` | 1/s | 5 | 3 | 2.00 (1.00–3.00) | 9 | 0.50 (0.50–1.00) |";
        assert_eq!(text.lines().last(), Some(row));
    }
}
