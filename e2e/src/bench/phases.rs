//! The rounds: each yardstick and each figure of the data path after the other, so
//! that a machine that is slow for a minute is slow for both sides of a ratio.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::client::{
    Connection, FileSet, Gets, Lists, Paths, Source, Until, Verifies, Work, run_clients,
};
use super::cluster::{Cluster, Memory, cpu_seconds, memory_mib, metric};
use super::figures::Figures;
use super::loads::{BIG, Extent, FOUR, Loads, MOST, Protocol, SIXTEEN, SMALL, Store, latency};
use super::yardsticks::{COPIES, FileServer, RAW_BYTES, synced_appends, synced_copies};
use crate::wait::closely;

/// How long the last copies may take behind the last answer.
const SETTLE: Duration = Duration::from_secs(120);

/// Everything that is measured on one cluster.
pub struct Bench<'a> {
    cluster: &'a Cluster,
    /// A folder on the file system that the cluster is on.
    dir: &'a Path,
    source: Source,
    extent: Extent,
    loads: Loads,
}

impl Bench<'_> {
    /// Prepares to measure this cluster, in a folder on its file system.
    pub fn new<'a>(
        cluster: &'a Cluster,
        dir: &'a Path,
        source: &Source,
        extent: Extent,
    ) -> Result<Bench<'a>> {
        let store = Store {
            servers: cluster.addresses()?,
            protocol: Protocol::Chord,
        };
        Ok(Bench {
            cluster,
            dir,
            source: source.clone(),
            extent,
            loads: Loads {
                store,
                source: source.clone(),
                extent,
            },
        })
    }

    /// All rounds.
    pub async fn run(&self, figures: &mut Figures) -> Result<()> {
        let extent = self.extent;
        self.idle(figures, "idle").await?;
        let served = FileSet::new("served-", BIG);
        let server = FileServer::start(
            &self.dir.join("served"),
            &self.source,
            &served,
            extent.big_files,
        )
        .await?;
        let small = FileSet::new("small/", SMALL);
        self.loads.lay_out(&small).await?;
        for round in 0..extent.rounds {
            eprintln!("round {} of {}", round + 1, extent.rounds);
            self.big(figures, round, &server, &served)
                .await
                .context("files of 16 MiB")?;
            self.small(figures, round, &small, &server)
                .await
                .context("files of 4 KiB")?;
            self.list(figures, &small).await.context("listings")?;
        }
        self.idle(figures, "idle_after_load").await
    }

    /// What the file server has of a set.
    fn plain(&self, set: &FileSet, count: usize) -> Gets {
        Gets {
            source: self.source.clone(),
            set: set.clone(),
            count,
            paths: Paths::Below("/"),
        }
    }

    /// 16 MiB by four clients: what the disk allows, PUT; what a file server does, GET.
    async fn big(
        &self,
        figures: &mut Figures,
        round: usize,
        server: &FileServer,
        served: &FileSet,
    ) -> Result<()> {
        let count = self.extent.big_files;
        let set = FileSet::new(format!("big-{round}/"), BIG);
        let megabytes = self.extent.big_mb();
        let chunks = count * BIG / RAW_BYTES;

        // One copy after the other, and all three at once: the limit is the better.
        let mut limit = 0.0;
        for writers in [FOUR, FOUR * COPIES] {
            rustix::fs::sync();
            let (dir, source) = (self.dir.to_path_buf(), self.source.clone());
            let raw = move || synced_copies(&dir, &source, chunks, writers);
            let took = tokio::task::spawn_blocking(raw).await??;
            limit = f64::max(limit, megabytes / took.as_secs_f64());
        }
        figures.add("raw_3_copies_limit_mbs", "MB/s", limit);

        rustix::fs::sync();
        let nodes = self.cluster.nodes()?;
        let addresses: Vec<SocketAddr> = nodes.iter().map(|n| n.address).collect();
        let before = chunks_held(&addresses).await?;
        let memory = Memory::watch(nodes.iter().map(|n| n.pid).collect());
        let put = self.loads.put_big(figures, &set).await?;
        let begun = put.begun.context("no beginning")?;
        let all = before + (chunks * COPIES) as f64;
        let patience = (put.took + SETTLE).saturating_sub(begun.elapsed());
        let often = Duration::from_millis(5);
        let durable = closely(
            "all copies of chunks are there",
            patience,
            often,
            async || {
                let held = chunks_held(&addresses).await?;
                Ok(match held >= all {
                    true => Ok(begun.elapsed()),
                    false => Err(format!("{} copies are missing", all - held)),
                })
            },
        );
        let durable = durable.await?;
        let durable_mbs = megabytes / durable.as_secs_f64();
        figures.add("put_16m_4c_third_copy_mbs", "MB/s", durable_mbs);
        figures.add("put_16m_4c_over_limit", "ratio", durable_mbs / limit);
        // Outside the clock: what was counted is what was written, three times.
        run_clients(
            &addresses,
            FOUR,
            Until::requests(count),
            Verifies { set: set.clone() },
        )
        .await?;

        // Once beforehand, so that all is in the page cache.
        let plain = || self.plain(served, count);
        let server = [server.address];
        run_clients(&server, FOUR, Until::requests(count), plain()).await?;
        let reads = Until::requests(count * 2);
        let plain = run_clients(&server, FOUR, reads, plain()).await?;
        let plain_mbs = 2.0 * megabytes / plain.took.as_secs_f64();
        figures.add("fileserver_get_16m_4c_mbs", "MB/s", plain_mbs);
        let got = self.loads.get_big(figures, &set).await?;
        figures.add(
            "get_16m_4c_over_fileserver",
            "ratio",
            plain.took.as_secs_f64() / got.took.as_secs_f64(),
        );
        match memory.most().await {
            Ok(most) => figures.add("load_rss_mib", "MiB", most),
            Err(e) => eprintln!("no load_rss_mib: {e:#}"),
        }
        Ok(())
    }

    /// 4 KiB by one client and by sixteen.
    async fn small(
        &self,
        figures: &mut Figures,
        round: usize,
        there: &FileSet,
        server: &FileServer,
    ) -> Result<()> {
        let (dir, source, time) = (
            self.dir.to_path_buf(),
            self.source.clone(),
            self.extent.phase / 2,
        );
        let (alone, grouped) = tokio::task::spawn_blocking(move || {
            anyhow::Ok((
                synced_appends(&dir, &source, 1, time)?,
                synced_appends(&dir, &source, SIXTEEN, time)?,
            ))
        })
        .await??;
        figures.add("raw_append_4k_per_s", "1/s", alone);
        figures.add("raw_append_4k_by_16_per_s", "1/s", grouped);

        let one = self.loads.put_small(figures, round).await?;
        figures.add("put_4k_over_fsync", "ratio", one.per_second() / alone);
        self.loads.get_small(figures, there).await?;
        // What the client itself costs: a server that does nothing but say 404.
        let nothing = run_clients(&[server.address], 1, self.loads.until(), Nothing).await?;
        figures.add("fileserver_404_1c_p50_ms", "ms", latency(&nothing, 0.5));
        Ok(())
    }

    /// Pages of a listing, one client.
    async fn list(&self, figures: &mut Figures, set: &FileSet) -> Result<()> {
        let until = Until {
            requests: MOST,
            time: self.extent.phase / 2,
        };
        let count = self.extent.small_files;
        let done = run_clients(
            &self.cluster.addresses()?,
            1,
            until,
            Lists {
                set: set.clone(),
                count,
            },
        )
        .await?;
        figures.add("list_per_s", "1/s", done.per_second());
        figures.add("list_names_per_s", "1/s", done.per_second() * count as f64);
        Ok(())
    }

    /// What a node costs that nobody asks anything; the dearest of them.
    async fn idle(&self, figures: &mut Figures, name: &str) -> Result<()> {
        let nodes = self.cluster.nodes()?;
        tokio::time::sleep(self.extent.quiet).await;
        let used = || {
            nodes
                .iter()
                .map(|n| cpu_seconds(n.pid))
                .collect::<Result<Vec<f64>>>()
        };
        let Ok(before) = used() else {
            eprintln!("no figures of idle nodes: there is no /proc here");
            return Ok(());
        };
        let begun = Instant::now();
        tokio::time::sleep(self.extent.watched).await;
        let (after, took) = (used()?, begun.elapsed().as_secs_f64());
        let cpu = before
            .iter()
            .zip(after)
            .map(|(before, after)| 100.0 * (after - before) / took);
        figures.add(&format!("{name}_cpu_percent"), "%", cpu.fold(0.0, f64::max));
        let mut most = 0.0;
        for node in &nodes {
            most = f64::max(most, memory_mib(node.pid, "VmRSS")?);
        }
        figures.add(&format!("{name}_rss_mib"), "MiB", most);
        Ok(())
    }
}

/// A request for what is not there.
struct Nothing;

impl Work for Nothing {
    async fn run(&self, connection: &mut Connection, _: usize) -> Result<()> {
        connection.missing("/nothing").await
    }
}

/// Copies of chunks that the nodes have in their indexes: written, synced, entered.
async fn chunks_held(nodes: &[SocketAddr]) -> Result<f64> {
    let mut held = 0.0;
    for node in nodes {
        let text = Connection::open(*node).await?.ask("/metrics").await?;
        held += metric(&text, "chord_chunks")?;
    }
    Ok(held)
}
