//! Readers and writers in the background, with a ledger of what was acknowledged.
//!
//! Three promises are watched all the while: a write that was acknowledged is
//! found by every read that begins after it, with the right bytes; a file whose
//! deletion was acknowledged stays gone; a file that is overwritten again and again
//! never shows an older version than the last one acknowledged before the read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::traffic::content::Content;
use crate::traffic::http::{Http, KEEP_TRYING, Tries, Trouble, passing, persist};

/// How much is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub writers: usize,
    pub readers: usize,
    /// Between two writes of a writer.
    pub pause: Duration,
    /// A writer makes no more files than this; it goes on overwriting its own one.
    pub files: u64,
    /// The longest file.
    pub longest: u64,
    /// Whether connections are kept.
    pub reuse: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    There,
    /// Being deleted: either answer is right.
    Going,
    Gone,
}

#[derive(Clone, Debug)]
struct Entry {
    content: Content,
    /// Known only where the first try was acknowledged.
    etag: Option<String>,
    state: State,
}

/// A file that one writer overwrites.
#[derive(Debug, Default)]
struct Slate {
    begun: AtomicU64,
    done: AtomicU64,
    /// Versions of which a try was given up: it may still take effect at any time,
    /// even after a later version.
    open: Mutex<std::collections::BTreeSet<u64>>,
}

#[derive(Debug, Default)]
struct Slowest {
    took: Duration,
    what: String,
}

/// What was done and promised.
#[derive(Debug)]
struct Ledger {
    seed: u64,
    files: Mutex<BTreeMap<String, Entry>>,
    names: Mutex<Vec<String>>,
    slates: Vec<Slate>,
    writes: AtomicU64,
    reads: AtomicU64,
    retried: AtomicU64,
    slow_write: Mutex<Slowest>,
    slow_read: Mutex<Slowest>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    pub fn start(endpoint: &str, seed: u64, shape: Shape) -> Result<Load> {
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

    /// Waits until so many more writes and reads have been done.
    pub async fn progress(&mut self, writes: u64, reads: u64) -> Result<()> {
        let (w, r) = (
            self.writes() + writes,
            self.ledger.reads.load(Ordering::Relaxed) + reads,
        );
        let begun = std::time::Instant::now();
        while self.writes() < w || self.ledger.reads.load(Ordering::Relaxed) < r {
            self.check().await?;
            ensure!(
                begun.elapsed() < 2 * KEEP_TRYING,
                "neither reads nor writes go on"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

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
        let (write, read) = (
            locked(&self.ledger.slow_write),
            locked(&self.ledger.slow_read),
        );
        format!(
            "{} writes and {} reads, {} of them repeated; the longest write took {:.1} s ({}), the longest read {:.1} s ({})",
            self.writes(),
            self.ledger.reads.load(Ordering::Relaxed),
            self.ledger.retried.load(Ordering::Relaxed),
            write.took.as_secs_f64(),
            write.what,
            read.took.as_secs_f64(),
            read.what
        )
    }

    /// The files that must be there.
    pub fn kept(&self) -> Vec<String> {
        let files = locked(&self.ledger.files);
        files
            .iter()
            .filter(|(_, e)| e.state == State::There)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Looks at every file of the ledger, and at the listing.
    pub async fn all_there(&self) -> Result<()> {
        let entries: Vec<(String, Entry)> =
            locked(&self.ledger.files).clone().into_iter().collect();
        let http = &self.http;
        futures::stream::iter(entries.iter().map(anyhow::Ok))
            .try_for_each_concurrent(8, |(name, entry)| async move {
                let (found, _) = persist(&format!("fetching {name:?}"), KEEP_TRYING, || {
                    http.get_once(name, &entry.content)
                })
                .await?;
                judge(name, entry.state, entry.etag.as_deref(), found.as_deref())
            })
            .await?;
        for n in 0..self.ledger.slates.len() {
            self.ledger.read_slate(n, http).await?;
        }
        let mut listed = std::collections::BTreeSet::new();
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
                (State::There, false) => bail!("{name:?} is there and is not listed"),
                (State::Gone, true) => bail!("{name:?} was deleted and is listed"),
                _ => {}
            }
        }
        Ok(())
    }
}

fn percent_encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Whether an answer is right for a file in this state.
fn judge(name: &str, state: State, etag: Option<&str>, found: Option<&str>) -> Result<()> {
    match (state, found) {
        (State::There, None) => {
            bail!("DATA LOSS: {name:?} was acknowledged and is not there (404)")
        }
        (State::Gone, Some(_)) => {
            bail!("{name:?} was deleted, which was acknowledged, and is back")
        }
        (State::There, Some(found)) if etag.is_some_and(|etag| etag != found) => {
            bail!(
                "{name:?} was stored once, as {}, and is now {found}",
                etag.unwrap_or_default()
            )
        }
        _ => Ok(()),
    }
}

impl Ledger {
    fn count(&self, what: &str, tries: &Tries, write: bool) {
        let (count, slowest) = if write {
            (&self.writes, &self.slow_write)
        } else {
            (&self.reads, &self.slow_read)
        };
        count.fetch_add(1, Ordering::Relaxed);
        if tries.tries > 1 {
            self.retried.fetch_add(1, Ordering::Relaxed);
        }
        let mut slowest = locked(slowest);
        if tries.took > slowest.took {
            let why = tries
                .trouble
                .as_deref()
                .map(|t| format!(": {}", t.chars().take(120).collect::<String>()));
            let what = format!("{what}, {} tries{}", tries.tries, why.unwrap_or_default());
            *slowest = Slowest {
                took: tries.took,
                what,
            };
        }
    }

    async fn write(
        &self,
        writer: usize,
        http: Http,
        shape: Shape,
        stop: CancellationToken,
    ) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(self.seed ^ (writer as u64 + 1));
        let mut n: u64 = 0;
        while !stop.is_cancelled() {
            n += 1;
            if n.is_multiple_of(5) || n > shape.files {
                self.write_slate(writer, &http).await?;
            }
            if n <= shape.files {
                let size = match n % 10 {
                    0 => shape.longest,
                    3 => 0,
                    _ => rng.random_range(0..=shape.longest / 4),
                };
                let name = format!("load/{writer}/{n:05}");
                let content = Content::of(self.seed, &name, size);
                let (answer, tries) = http.put(&name, &content).await?;
                let etag = if tries.tries == 1 {
                    Some(answer.etag()?)
                } else {
                    None
                };
                self.count(&name, &tries, true);
                locked(&self.files).insert(
                    name.clone(),
                    Entry {
                        content,
                        etag,
                        state: State::There,
                    },
                );
                locked(&self.names).push(name);
            }
            if n.is_multiple_of(7) && n > 20 && n <= shape.files {
                let name = format!("load/{writer}/{:05}", n - 10);
                // A try to store it that was given up may still take effect later.
                let once = locked(&self.files)
                    .get(&name)
                    .is_some_and(|e| e.etag.is_some());
                if once {
                    self.set(&name, State::Going);
                    let tries = http.delete(&name).await?;
                    self.count(&name, &tries, true);
                    self.set(&name, State::Gone);
                }
            }
            tokio::time::sleep(shape.pause).await;
        }
        Ok(())
    }

    fn set(&self, name: &str, state: State) {
        if let Some(entry) = locked(&self.files).get_mut(name) {
            entry.state = state;
        }
    }

    /// Version `version` of a slate: the version, and as many bytes as it says.
    fn slate(&self, writer: usize, version: u64) -> Vec<u8> {
        let size = if version.is_multiple_of(4) {
            300_000
        } else {
            200
        };
        let content = Content::of(self.seed, &format!("slate {writer} {version}"), size);
        [&version.to_be_bytes()[..], &content.bytes()].concat()
    }

    async fn write_slate(&self, writer: usize, http: &Http) -> Result<()> {
        let slate = &self.slates[writer];
        let version = slate.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let name = format!("slate/{writer}");
        let body = bytes::Bytes::from(self.slate(writer, version));
        let path = Http::path(&name)?;
        let (_, tries) = persist(&format!("overwriting {name:?}"), KEEP_TRYING, || async {
            let answer = passing(
                http.send(http.request("PUT", &path).body(body.clone()))
                    .await?,
            )?;
            answer
                .expect(if answer.status == 201 { 201 } else { 200 })
                .map_err(Trouble::Wrong)?;
            Ok(())
        })
        .await?;
        self.count(&name, &tries, true);
        if tries.tries > 1 {
            locked(&slate.open).insert(version);
        }
        slate.done.store(version, Ordering::SeqCst);
        Ok(())
    }

    async fn read_slate(&self, writer: usize, http: &Http) -> Result<()> {
        let slate = &self.slates[writer];
        let name = format!("slate/{writer}");
        let path = Http::path(&name)?;
        let least = slate.done.load(Ordering::SeqCst);
        let (answer, tries) = persist(&format!("reading {name:?}"), KEEP_TRYING, || async {
            passing(http.send(http.request("GET", &path)).await?)
        })
        .await?;
        let most = slate.begun.load(Ordering::SeqCst);
        self.count(&name, &tries, false);
        if answer.status == 404 && least == 0 {
            return Ok(());
        }
        ensure!(
            answer.status != 404,
            "DATA LOSS: {name:?} was acknowledged and is not there (404)"
        );
        answer.expect(200)?;
        let head = answer
            .body
            .first_chunk::<8>()
            .ok_or_else(|| anyhow!("{name:?} came without its head"))?;
        let version = u64::from_be_bytes(*head);
        ensure!(
            (least..=most).contains(&version) || locked(&slate.open).contains(&version),
            "{name:?} is version {version}; {least} had been acknowledged before, and {most} was the last begun"
        );
        ensure!(
            answer.body == self.slate(writer, version),
            "{name:?} has wrong bytes in version {version}"
        );
        Ok(())
    }

    async fn read(&self, reader: usize, http: Http, stop: CancellationToken) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(self.seed ^ (0x100 + reader as u64));
        while !stop.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if !self.slates.is_empty() && rng.random_ratio(1, 5) {
                self.read_slate(rng.random_range(0..self.slates.len()), &http)
                    .await?;
                continue;
            }
            let name = {
                let names = locked(&self.names);
                if names.is_empty() {
                    continue;
                }
                names[rng.random_range(0..names.len())].clone()
            };
            let before = locked(&self.files).get(&name).cloned();
            let Some(before) = before else { continue };
            let what = format!("fetching {name:?}");
            let (found, tries) =
                persist(&what, KEEP_TRYING, || http.get_once(&name, &before.content)).await?;
            self.count(&name, &tries, false);
            let after = locked(&self.files)
                .get(&name)
                .map_or(State::Going, |e| e.state);
            let state = match (before.state, after) {
                (before, after) if before == after => before,
                _ => State::Going,
            };
            judge(&name, state, before.etag.as_deref(), found.as_deref())?;
        }
        Ok(())
    }
}

/// Does something while the load goes on; what fails first is the error.
pub async fn under<T>(load: &mut Load, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::pin!(work);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            done = &mut work => {
                load.check().await?;
                return done;
            }
            _ = tick.tick() => load.check().await?,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_a_risen_and_another_file_are_told_apart() {
        let tag = Some("\"a\"");
        assert!(judge("x", State::There, tag, tag).is_ok());
        assert!(judge("x", State::There, None, tag).is_ok());
        assert!(
            judge("x", State::There, tag, None)
                .unwrap_err()
                .to_string()
                .contains("DATA LOSS")
        );
        assert!(judge("x", State::There, tag, Some("\"b\"")).is_err());
        assert!(judge("x", State::Gone, tag, None).is_ok());
        assert!(judge("x", State::Gone, tag, tag).is_err());
        assert!(judge("x", State::Going, tag, None).is_ok());
    }
}
