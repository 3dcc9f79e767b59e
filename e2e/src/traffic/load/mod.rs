//! Readers and writers in the background, with a ledger of what was acknowledged.
//!
//! Three promises are watched all the while: a write that was acknowledged is
//! found by every read that begins after it, with the right bytes; a file whose
//! deletion was acknowledged stays gone; a file that is overwritten again and again
//! never shows an older version than the last one acknowledged before the read.

mod ledger;
mod shape;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chord_api::human;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::ledger::{Entry, FileState, Ledger, Slate, check_answer};
pub use self::shape::LoadShape;
use super::content::Content;
use super::http::{Http, KEEP_TRYING, persist};
use crate::wait::closely;

/// Readers and writers that run until they are stopped.
pub struct Load {
    ledger: Arc<Ledger>,
    http: Http,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Drop for Load {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Load {
    /// Begins at once; contents are made from the seed.
    pub fn start(endpoint: &str, seed: u64, shape: LoadShape) -> Result<Load> {
        let ledger = Arc::new(Ledger {
            seed,
            files: Mutex::default(),
            names: Mutex::default(),
            slates: (0..shape.writers).map(|_| Slate::default()).collect(),
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            slow_write: Mutex::default(),
            slow_read: Mutex::default(),
        });
        let http = Http::new(endpoint, shape.reuse)?;
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        for n in 0..shape.writers {
            let (ledger, http, stop) = (Arc::clone(&ledger), http.clone(), stop.clone());
            tasks.push(tokio::spawn(async move {
                ledger.write(n, http, shape, stop).await
            }));
        }
        for n in 0..shape.readers {
            let (ledger, http, stop) = (Arc::clone(&ledger), http.clone(), stop.clone());
            tasks.push(tokio::spawn(
                async move { ledger.read(n, http, stop).await },
            ));
        }
        Ok(Load {
            ledger,
            http,
            stop,
            tasks,
        })
    }

    /// Fails as soon as a reader or a writer has failed.
    pub async fn check(&mut self) -> Result<()> {
        while let Some(at) = self.tasks.iter().position(JoinHandle::is_finished) {
            let ended = self.tasks.swap_remove(at).await;
            ended.context("a reader or writer panicked")??;
        }
        Ok(())
    }

    /// Does something while the load goes on; what fails first is the error.
    pub async fn during<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::pin!(work);
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                done = &mut work => {
                    self.check().await?;
                    return done;
                }
                _ = tick.tick() => self.check().await?,
            }
        }
    }

    /// Waits until so many more writes and reads have been done.
    pub async fn progress(&mut self, writes: u64, reads: u64) -> Result<()> {
        let (w, r) = (
            self.writes() + writes,
            self.ledger.reads.load(Ordering::Relaxed) + reads,
        );
        let often = Duration::from_millis(50);
        closely(
            "reads and writes go on",
            2 * KEEP_TRYING,
            often,
            async || {
                let (writes, reads) = (self.writes(), self.ledger.reads.load(Ordering::Relaxed));
                if writes >= w && reads >= r {
                    return Ok(Ok(()));
                }
                self.check().await?;
                Ok(Err(format!("{writes} of {w} writes, {reads} of {r} reads")))
            },
        )
        .await
    }

    /// Writes that were acknowledged.
    pub fn writes(&self) -> u64 {
        self.ledger.writes.load(Ordering::Relaxed)
    }

    /// Ends readers and writers; their errors come out here.
    pub async fn stop(&mut self) -> Result<()> {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            task.await.context("a reader or writer panicked")??;
        }
        Ok(())
    }

    /// What was done, and the longest that one read and one write took, with all
    /// their tries.
    pub fn summary(&self) -> String {
        let (write, read) = (self.ledger.slow_write.lock(), self.ledger.slow_read.lock());
        format!(
            "{} writes and {} reads, {} of them repeated; the longest write took {} ({}), the longest read {} ({})",
            self.writes(),
            self.ledger.reads.load(Ordering::Relaxed),
            self.ledger.retried.load(Ordering::Relaxed),
            human::span(write.took),
            write.what,
            human::span(read.took),
            read.what
        )
    }

    /// The files that must be there.
    pub fn kept(&self) -> Vec<String> {
        let files = self.ledger.files.lock();
        files
            .iter()
            .filter(|(_, e)| e.state == FileState::There)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// That every one of these nodes gives the same of every file that must be there.
    pub async fn same_from(&self, urls: &[&str]) -> Result<()> {
        let nodes: Vec<Http> = urls
            .iter()
            .map(|url| Http::new(url, true))
            .collect::<Result<_>>()?;
        let nodes = &nodes;
        let entries = self.ledger.files.lock().clone();
        let there = entries
            .iter()
            .filter(|(_, entry)| entry.state == FileState::There);
        futures::stream::iter(there.map(anyhow::Ok))
            .try_for_each_concurrent(4, |(name, entry)| async move {
                let mut tags = BTreeSet::new();
                for node in nodes {
                    tags.insert(node.get(name, &entry.content).await?.0);
                }
                ensure!(tags.len() == 1, "{name:?} is {tags:?}, each from some node");
                Ok(())
            })
            .await?;
        for writer in 0..self.ledger.slates.len() {
            let path = Http::path(&format!("slate/{writer}"))?;
            let mut contents = BTreeSet::new();
            for node in nodes {
                let answer = node.ask("GET", &path).await?;
                contents.insert((answer.etag()?, answer.expect(200)?.body.clone()));
            }
            let tags: Vec<&String> = contents.iter().map(|(tag, _)| tag).collect();
            ensure!(tags.len() == 1, "{path} is {tags:?}, each from some node");
        }
        Ok(())
    }

    /// Looks at every file of the ledger, and at the listing.
    pub async fn all_there(&self) -> Result<()> {
        let entries: Vec<(String, Entry)> = self.ledger.files.lock().clone().into_iter().collect();
        let http = &self.http;
        futures::stream::iter(entries.iter().map(anyhow::Ok))
            .try_for_each_concurrent(8, |(name, entry)| async move {
                let (found, _) = persist(&format!("fetching {name:?}"), KEEP_TRYING, || {
                    http.get_once(name, &entry.content)
                })
                .await?;
                check_answer(name, entry.state, entry.etag.as_deref(), found.as_deref())
            })
            .await?;
        for n in 0..self.ledger.slates.len() {
            self.ledger.read_slate(n, http).await?;
        }
        let mut listed = BTreeSet::new();
        let mut after = String::new();
        loop {
            let query = format!("/files?prefix=load/&after={}", percent_encoded(&after));
            let answer = http.ask("GET", &query).await?;
            let page: chord_api::http::FileList =
                serde_json::from_slice(&answer.expect(200)?.body).context("reading the listing")?;
            listed.extend(page.files.into_iter().map(|f| f.name));
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        for (name, entry) in &entries {
            match (entry.state, listed.contains(name)) {
                (FileState::There, false) => bail!("{name:?} is there and is not listed"),
                (FileState::Gone, true) => bail!("{name:?} was deleted and is listed"),
                _ => {}
            }
        }
        Ok(())
    }
}

fn percent_encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Stores several files side by side.
pub async fn put_all(http: &Http, files: &[(String, Content)]) -> Result<()> {
    futures::stream::iter(files.iter().map(anyhow::Ok))
        .try_for_each_concurrent(4, |(name, content)| async move {
            http.put(name, content).await.map(|_| ())
        })
        .await
}

/// Fetches several files and compares each byte.
pub async fn get_all(http: &Http, files: &[(String, Content)]) -> Result<()> {
    futures::stream::iter(files.iter())
        .map(|(name, content)| async move { http.get(name, content).await.map(|_| ()) })
        .buffer_unordered(4)
        .try_collect()
        .await
}
