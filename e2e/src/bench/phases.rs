//! The rounds: each yardstick and each figure of the data path after the other, so
//! that a machine that is slow for a minute is slow for both sides of a ratio.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::{Connection, FileSet, Gets, Lists, Puts, Source, Until, Verifies, load};
use crate::cluster::{Cluster, Node, cpu_seconds, memory_mib, metric};
use crate::figures::{Figures, quantile};
use crate::yardsticks::{COPIES, FileServer, RAW_BYTES, synced_appends, synced_copies};

const BIG: usize = 16 << 20;
const SMALL: usize = 4096;
/// Clients of the figures with big files.
const FOUR: usize = 4;
const SIXTEEN: usize = 16;
/// How long the last copies may take behind the last answer.
const SETTLE: Duration = Duration::from_secs(120);
/// Small requests of one phase at most: what they leave behind must fit.
const MOST: usize = 20_000;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub rounds: usize,
    /// Files of 16 MiB in a round.
    pub big_files: usize,
    /// Files of 4 KiB that are there from the start, for reads and listings.
    pub small_files: usize,
    /// How long each phase with small requests lasts.
    pub phase: Duration,
    /// How long nothing is done before the idle figures, and then while they are taken.
    pub quiet: Duration,
    pub watched: Duration,
}

impl Extent {
    pub fn long(rounds: usize) -> Extent {
        Extent {
            rounds,
            big_files: 32,
            small_files: 1000,
            phase: Duration::from_secs(4),
            quiet: Duration::from_secs(20),
            watched: Duration::from_secs(10),
        }
    }

    /// For a look at whether it works: the figures are rough.
    pub fn short() -> Extent {
        Extent {
            rounds: 1,
            big_files: 8,
            small_files: 100,
            phase: Duration::from_secs(1),
            quiet: Duration::from_secs(2),
            watched: Duration::from_secs(3),
        }
    }
}

/// Everything that is measured on one cluster.
pub struct Bench<'a> {
    pub cluster: &'a Cluster,
    /// A folder on the file system that the cluster is on.
    pub dir: &'a Path,
    pub source: Source,
    pub extent: Extent,
}

impl Bench<'_> {
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
        let nodes = self.cluster.addresses()?;
        load(
            &nodes,
            SIXTEEN,
            Until::requests(extent.small_files),
            self.puts(&small),
        )
        .await
        .context("writing the files that are read and listed")?;
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

    fn puts(&self, set: &FileSet) -> Puts {
        Puts {
            source: self.source.clone(),
            set: set.clone(),
        }
    }

    fn gets(&self, set: &FileSet, count: usize, below: &'static str) -> Gets {
        Gets {
            source: self.source.clone(),
            set: set.clone(),
            count,
            below,
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
        let bytes = (count * BIG) as f64 / 1e6;
        let chunks = count * BIG / RAW_BYTES;

        // One copy after the other, and all three at once: the limit is the better.
        let mut limit = 0.0;
        for writers in [FOUR, FOUR * COPIES] {
            rustix::fs::sync();
            let (dir, source) = (self.dir.to_path_buf(), self.source.clone());
            let raw = move || synced_copies(&dir, &source, chunks, writers);
            let took = tokio::task::spawn_blocking(raw).await??;
            limit = f64::max(limit, bytes / took.as_secs_f64());
        }
        figures.add("raw_3_copies_limit_mbs", "MB/s", limit);

        rustix::fs::sync();
        let nodes = self.cluster.nodes()?;
        let addresses: Vec<SocketAddr> = nodes.iter().map(|n| n.address).collect();
        let before = chunks_held(&addresses).await?;
        let memory = Memory::watch(&nodes);
        let put = load(&addresses, FOUR, Until::requests(count), self.puts(&set)).await?;
        let begun = put.begun.context("no beginning")?;
        let all = before + (chunks * COPIES) as f64;
        let durable = loop {
            let held = chunks_held(&addresses).await?;
            if held >= all {
                break begun.elapsed();
            }
            let missing = all - held;
            ensure!(
                begun.elapsed() < put.took + SETTLE,
                "{missing} copies of chunks are not there long after the PUTs"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let mbs = bytes / put.took.as_secs_f64();
        let durable_mbs = bytes / durable.as_secs_f64();
        figures.add("put_16m_4c_mbs", "MB/s", mbs);
        figures.add("put_16m_4c_third_copy_mbs", "MB/s", durable_mbs);
        figures.add("put_16m_4c_over_limit", "ratio", durable_mbs / limit);
        // Outside the clock: what was counted is what was written, three times.
        load(
            &addresses,
            FOUR,
            Until::requests(count),
            Verifies { set: set.clone() },
        )
        .await?;

        // Twice, so that it lasts long enough; by then all is in the page cache.
        let reads = Until::requests(count * 2);
        load(
            &[server.address],
            FOUR,
            Until::requests(count),
            self.gets(served, count, "/"),
        )
        .await?;
        let plain = load(
            &[server.address],
            FOUR,
            reads,
            self.gets(served, count, "/"),
        )
        .await?;
        let got = load(&addresses, FOUR, reads, self.gets(&set, count, "/files/")).await?;
        let rate = |took: Duration| 2.0 * bytes / took.as_secs_f64();
        figures.add("fileserver_get_16m_4c_mbs", "MB/s", rate(plain.took));
        figures.add("get_16m_4c_mbs", "MB/s", rate(got.took));
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
        let until = Until {
            requests: MOST,
            time: self.extent.phase,
        };
        let nodes = self.cluster.addresses()?;
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

        let one = load(
            &nodes,
            1,
            until,
            self.puts(&FileSet::new(format!("one-{round}/"), SMALL)),
        )
        .await?;
        figures.add("put_4k_1c_per_s", "1/s", one.per_second());
        figures.add(
            "put_4k_1c_p50_ms",
            "ms",
            quantile(&one.latencies, 0.5).unwrap_or_default(),
        );
        figures.add("put_4k_over_fsync", "ratio", one.per_second() / alone);
        let sixteen = load(
            &nodes,
            SIXTEEN,
            until,
            self.puts(&FileSet::new(format!("sixteen-{round}/"), SMALL)),
        )
        .await?;
        figures.add("put_4k_16c_per_s", "1/s", sixteen.per_second());
        figures.add(
            "put_4k_16c_p99_ms",
            "ms",
            quantile(&sixteen.latencies, 0.99).unwrap_or_default(),
        );

        let count = self.extent.small_files;
        let one = load(&nodes, 1, until, self.gets(there, count, "/files/")).await?;
        figures.add(
            "get_4k_1c_p50_ms",
            "ms",
            quantile(&one.latencies, 0.5).unwrap_or_default(),
        );
        figures.add(
            "get_4k_1c_p99_ms",
            "ms",
            quantile(&one.latencies, 0.99).unwrap_or_default(),
        );
        let sixteen = load(&nodes, SIXTEEN, until, self.gets(there, count, "/files/")).await?;
        figures.add("get_4k_16c_per_s", "1/s", sixteen.per_second());
        // What the client itself costs: a server that does nothing but say 404.
        let nothing = load(&[server.address], 1, until, Nothing).await?;
        figures.add(
            "fileserver_404_1c_p50_ms",
            "ms",
            quantile(&nothing.latencies, 0.5).unwrap_or_default(),
        );
        Ok(())
    }

    /// Pages of a listing, one client.
    async fn list(&self, figures: &mut Figures, set: &FileSet) -> Result<()> {
        let until = Until {
            requests: MOST,
            time: self.extent.phase / 2,
        };
        let count = self.extent.small_files;
        let done = load(
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

impl crate::client::Work for Nothing {
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

/// Watches the memory of the nodes until it is asked.
struct Memory {
    stop: tokio::sync::oneshot::Sender<()>,
    watching: tokio::task::JoinHandle<Result<f64>>,
}

impl Memory {
    fn watch(nodes: &[Node]) -> Memory {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let nodes = nodes.to_vec();
        let watching = tokio::spawn(async move {
            let mut most = 0.0;
            loop {
                for node in &nodes {
                    most = f64::max(most, memory_mib(node.pid, "VmRSS")?);
                }
                let pause = tokio::time::timeout(Duration::from_millis(100), &mut stopped);
                if pause.await.is_ok() {
                    return Ok(most);
                }
            }
        });
        Memory { stop, watching }
    }

    /// The most that any of them had.
    async fn most(self) -> Result<f64> {
        // Where it has ended by itself, its result says why.
        let _ = self.stop.send(());
        self.watching.await?
    }
}
