//! The ledger of a load: what was done, what was acknowledged, and which answers are
//! right by that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio_util::sync::CancellationToken;

use super::shape::LoadShape;
use crate::traffic::content::Content;
use crate::traffic::http::{Http, KEEP_TRYING, Tries, Trouble, persist, unless_unavailable};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Stored, and to be found.
    There,
    /// Being deleted: either answer is right.
    Going,
    /// Deleted, and not to come back.
    Gone,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub content: Content,
    /// Known only where the first try was acknowledged.
    pub etag: Option<String>,
    pub state: FileState,
}

/// A file that one writer overwrites.
#[derive(Debug, Default)]
pub struct Slate {
    pub begun: AtomicU64,
    pub done: AtomicU64,
    /// Versions of which a try was given up: it may still take effect at any time,
    /// even after a later version. parking_lot's mutex, as those of the ledger.
    pub open: Mutex<BTreeSet<u64>>,
}

#[derive(Debug, Default)]
pub struct Slowest {
    pub took: Duration,
    pub what: String,
}

/// What was done and promised. The mutexes are parking_lot's, and not tokio's: nothing
/// is awaited while they are held.
#[derive(Debug)]
pub struct Ledger {
    pub seed: u64,
    pub files: Mutex<BTreeMap<String, Entry>>,
    pub names: Mutex<Vec<String>>,
    pub slates: Vec<Slate>,
    pub writes: AtomicU64,
    pub reads: AtomicU64,
    pub retried: AtomicU64,
    pub slow_write: Mutex<Slowest>,
    pub slow_read: Mutex<Slowest>,
}

/// Whether an answer is right for a file in this state.
pub fn check_answer(
    name: &str,
    state: FileState,
    etag: Option<&str>,
    found: Option<&str>,
) -> Result<()> {
    match (state, found) {
        (FileState::There, None) => {
            bail!("DATA LOSS: {name:?} was acknowledged and is not there (404)")
        }
        (FileState::Gone, Some(_)) => {
            bail!("{name:?} was deleted, which was acknowledged, and is back")
        }
        (FileState::There, Some(found)) if etag.is_some_and(|etag| etag != found) => {
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
        let mut slowest = slowest.lock();
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

    /// Stores, overwrites and deletes until it is stopped.
    pub async fn write(
        &self,
        writer: usize,
        http: Http,
        shape: LoadShape,
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
                self.files.lock().insert(
                    name.clone(),
                    Entry {
                        content,
                        etag,
                        state: FileState::There,
                    },
                );
                self.names.lock().push(name);
            }
            if n.is_multiple_of(7) && n > 20 && n <= shape.files {
                let name = format!("load/{writer}/{:05}", n - 10);
                // A try to store it that was given up may still take effect later.
                let once = self
                    .files
                    .lock()
                    .get(&name)
                    .is_some_and(|e| e.etag.is_some());
                if once {
                    self.set(&name, FileState::Going);
                    let tries = http.delete(&name).await?;
                    self.count(&name, &tries, true);
                    self.set(&name, FileState::Gone);
                }
            }
            tokio::time::sleep(shape.pause).await;
        }
        Ok(())
    }

    fn set(&self, name: &str, state: FileState) {
        if let Some(entry) = self.files.lock().get_mut(name) {
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
            let answer = unless_unavailable(
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
            slate.open.lock().insert(version);
        }
        slate.done.store(version, Ordering::SeqCst);
        Ok(())
    }

    /// Reads a file that is overwritten: it must show no version before the last
    /// acknowledged one.
    pub async fn read_slate(&self, writer: usize, http: &Http) -> Result<()> {
        let slate = &self.slates[writer];
        let name = format!("slate/{writer}");
        let path = Http::path(&name)?;
        let least = slate.done.load(Ordering::SeqCst);
        let (answer, tries) = persist(&format!("reading {name:?}"), KEEP_TRYING, || async {
            unless_unavailable(http.send(http.request("GET", &path)).await?)
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
            (least..=most).contains(&version) || slate.open.lock().contains(&version),
            "{name:?} is version {version}; {least} had been acknowledged before, and {most} was the last begun"
        );
        ensure!(
            answer.body == self.slate(writer, version),
            "{name:?} has wrong bytes in version {version}"
        );
        Ok(())
    }

    /// Reads what there is until it is stopped.
    pub async fn read(&self, reader: usize, http: Http, stop: CancellationToken) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(self.seed ^ (0x100 + reader as u64));
        while !stop.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if !self.slates.is_empty() && rng.random_ratio(1, 5) {
                self.read_slate(rng.random_range(0..self.slates.len()), &http)
                    .await?;
                continue;
            }
            let name = {
                let names = self.names.lock();
                if names.is_empty() {
                    continue;
                }
                names[rng.random_range(0..names.len())].clone()
            };
            let before = self.files.lock().get(&name).cloned();
            let Some(before) = before else { continue };
            let what = format!("fetching {name:?}");
            let (found, tries) =
                persist(&what, KEEP_TRYING, || http.get_once(&name, &before.content)).await?;
            self.count(&name, &tries, false);
            let after = self
                .files
                .lock()
                .get(&name)
                .map_or(FileState::Going, |e| e.state);
            let state = match (before.state, after) {
                (before, after) if before == after => before,
                _ => FileState::Going,
            };
            check_answer(&name, state, before.etag.as_deref(), found.as_deref())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_a_risen_and_another_file_are_told_apart() {
        let tag = Some("\"a\"");
        assert!(check_answer("x", FileState::There, tag, tag).is_ok());
        assert!(check_answer("x", FileState::There, None, tag).is_ok());
        assert!(
            check_answer("x", FileState::There, tag, None)
                .unwrap_err()
                .to_string()
                .contains("DATA LOSS")
        );
        assert!(check_answer("x", FileState::There, tag, Some("\"b\"")).is_err());
        assert!(check_answer("x", FileState::Gone, tag, None).is_ok());
        assert!(check_answer("x", FileState::Gone, tag, tag).is_err());
        assert!(check_answer("x", FileState::Going, tag, None).is_ok());
    }
}
