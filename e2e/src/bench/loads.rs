//! The loads: what clients ask of a store, chord or another. The same requests over
//! the same connections, whoever answers; only the paths are the store's own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::client::{Done, FileSet, Gets, Paths, Puts, Source, Until, run_clients};
use super::figures::{Figures, quantile};
use super::s3::Signer;

/// Bytes of a big file.
pub const BIG: usize = 16 << 20;
/// Bytes of a small file.
pub const SMALL: usize = 4096;
/// Clients of the figures with big files.
pub const FOUR: usize = 4;
/// Clients of the figures with small files, where there is not one alone.
pub const SIXTEEN: usize = 16;
/// Small requests of one phase at most: what they leave behind must fit.
pub const MOST: usize = 20_000;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How often everything is measured.
    pub rounds: usize,
    /// Files of 16 MiB in a round.
    pub big_files: usize,
    /// Files of 4 KiB that are there from the start, for reads and listings.
    pub small_files: usize,
    /// How long each phase with small requests lasts.
    pub phase: Duration,
    /// How long nothing is done before the idle figures, and then while they are taken.
    pub quiet: Duration,
    /// How long idle figures are taken.
    pub watched: Duration,
}

impl Extent {
    /// What figures are published from.
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

    /// Megabytes of the big files of a round.
    pub fn big_mb(&self) -> f64 {
        (self.big_files * BIG) as f64 / 1e6
    }
}

/// How files are asked for.
#[derive(Clone)]
pub enum Protocol {
    /// As chord has it: by their names.
    Chord,
    /// Through S3, with signed paths.
    S3(Arc<Signer>),
}

/// A store as its clients see it.
#[derive(Clone)]
pub struct Store {
    /// Where its nodes answer.
    pub servers: Vec<SocketAddr>,
    /// How files are asked for.
    pub protocol: Protocol,
}

/// The loads on one store.
pub struct Loads {
    /// Who is asked.
    pub store: Store,
    /// What contents are cut out of.
    pub source: Source,
    /// How much is done.
    pub extent: Extent,
}

impl Loads {
    fn puts(&self, set: &FileSet, count: usize) -> Puts {
        Puts {
            source: self.source.clone(),
            set: set.clone(),
            paths: match &self.store.protocol {
                Protocol::Chord => Paths::FILES,
                Protocol::S3(signer) => signer.puts(set, count),
            },
        }
    }

    fn gets(&self, set: &FileSet, count: usize) -> Gets {
        Gets {
            source: self.source.clone(),
            set: set.clone(),
            count,
            paths: match &self.store.protocol {
                Protocol::Chord => Paths::FILES,
                Protocol::S3(signer) => signer.gets(set, count),
            },
        }
    }

    /// Writes the small files that are read later.
    pub async fn lay_out(&self, set: &FileSet) -> Result<()> {
        let count = self.extent.small_files;
        let puts = self.puts(set, count);
        run_clients(&self.store.servers, SIXTEEN, Until::requests(count), puts)
            .await
            .context("writing the files that are read and listed")?;
        Ok(())
    }

    /// PUT of 16 MiB by four clients, until the last answer.
    pub async fn put_big(&self, figures: &mut Figures, set: &FileSet) -> Result<Done> {
        let count = self.extent.big_files;
        let puts = self.puts(set, count);
        let put = run_clients(&self.store.servers, FOUR, Until::requests(count), puts).await?;
        let mbs = self.extent.big_mb() / put.took.as_secs_f64();
        figures.add("put_16m_4c_mbs", "MB/s", mbs);
        Ok(put)
    }

    /// GET of the same. Twice, so that it lasts long enough; by then all is in the
    /// page cache.
    pub async fn get_big(&self, figures: &mut Figures, set: &FileSet) -> Result<Done> {
        let count = self.extent.big_files;
        let gets = self.gets(set, count);
        let got = run_clients(&self.store.servers, FOUR, Until::requests(count * 2), gets).await?;
        let mbs = 2.0 * self.extent.big_mb() / got.took.as_secs_f64();
        figures.add("get_16m_4c_mbs", "MB/s", mbs);
        Ok(got)
    }

    /// PUT of 4 KiB by one client and by sixteen; what one did is the answer.
    pub async fn put_small(&self, figures: &mut Figures, round: usize) -> Result<Done> {
        let until = self.until();
        let servers = &self.store.servers;
        let set = FileSet::new(format!("one-{round}/"), SMALL);
        let one = run_clients(servers, 1, until, self.puts(&set, MOST)).await?;
        figures.add("put_4k_1c_per_s", "1/s", one.per_second());
        figures.add("put_4k_1c_p50_ms", "ms", latency(&one, 0.5));
        let set = FileSet::new(format!("sixteen-{round}/"), SMALL);
        let sixteen = run_clients(servers, SIXTEEN, until, self.puts(&set, MOST)).await?;
        figures.add("put_4k_16c_per_s", "1/s", sixteen.per_second());
        figures.add("put_4k_16c_p99_ms", "ms", latency(&sixteen, 0.99));
        Ok(one)
    }

    /// GET of the small files that were laid out, by one client and by sixteen.
    pub async fn get_small(&self, figures: &mut Figures, there: &FileSet) -> Result<()> {
        let (until, count) = (self.until(), self.extent.small_files);
        let servers = &self.store.servers;
        let one = run_clients(servers, 1, until, self.gets(there, count)).await?;
        figures.add("get_4k_1c_p50_ms", "ms", latency(&one, 0.5));
        figures.add("get_4k_1c_p99_ms", "ms", latency(&one, 0.99));
        let sixteen = run_clients(servers, SIXTEEN, until, self.gets(there, count)).await?;
        figures.add("get_4k_16c_per_s", "1/s", sixteen.per_second());
        Ok(())
    }

    /// When a phase with small requests ends.
    pub fn until(&self) -> Until {
        Until {
            requests: MOST,
            time: self.extent.phase,
        }
    }
}

/// Milliseconds within which this share of the requests was answered.
pub fn latency(done: &Done, share: f64) -> f64 {
    quantile(&done.latencies, share).unwrap_or_default()
}
