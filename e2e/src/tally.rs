//! What passed and what did not: a line a case, and the counts.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use chord_api::human;
use parking_lot::Mutex;

/// Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

impl Tally {
    /// Adds other counts to these.
    pub fn add(&mut self, more: Tally) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
    }

    /// Adds a line `PASSED FAILED SKIPPED` to a file, for whoever sums over several runs.
    pub fn append(&self, path: &Path) -> Result<()> {
        let doing = || format!("writing the counts to {}", path.display());
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .with_context(doing)?;
        writeln!(file, "{} {} {}", self.passed, self.failed, self.skipped).with_context(doing)
    }
}

/// The error of a case that has been told and counted.
#[derive(Clone, Debug)]
pub struct Reported;

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a case before this one failed")
    }
}
impl std::error::Error for Reported {}

/// Tells and counts the cases of one suite.
#[derive(Clone)]
pub struct Cases {
    suite: Arc<str>,
    /// parking_lot's mutex, and not tokio's: nothing is awaited while it is held.
    tally: Arc<Mutex<Tally>>,
}

impl Cases {
    /// `suite`: as it is shown, `local/migration`.
    pub fn new(suite: &str) -> Cases {
        Cases {
            suite: suite.into(),
            tally: Arc::default(),
        }
    }

    pub fn tally(&self) -> Tally {
        *self.tally.lock()
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock());
    }

    /// Runs a case. Its failure ends the suite where it is passed on with `?`, and
    /// nothing else where it is not.
    pub async fn case<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T, Reported> {
        let begun = Instant::now();
        match work.await {
            Ok(value) => {
                self.count(|t| t.passed += 1);
                print_line(&format!(
                    "ok {}: {what} ({})",
                    self.suite,
                    human::span(begun.elapsed())
                ));
                Ok(value)
            }
            Err(e) => {
                self.failed(what, &format!("{e:#}"));
                Err(Reported)
            }
        }
    }

    pub fn failed(&self, what: &str, why: &str) {
        self.count(|t| t.failed += 1);
        print_line(&format!("FAILED {}: {what}: {why}", self.suite));
    }

    pub fn skipped(&self, what: &str, why: &str) {
        self.count(|t| t.skipped += 1);
        print_line(&format!("skipped {}: {what}: {why}", self.suite));
    }

    /// A figure or a remark; counts for nothing.
    pub fn note(&self, text: &str) {
        print_line(&format!("   {}: {text}", self.suite));
    }
}

/// A line, at once: a run may be cut off.
pub fn print_line(line: &str) {
    if cfg!(test) {
        // Of which the harness shows what belongs to a failed test, and nothing else.
        println!("{line}");
        return;
    }
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cases_are_counted_and_a_failed_one_can_end_the_suite() {
        let cases = Cases::new("local/x");
        assert_eq!(cases.case("one", async { Ok(5) }).await.unwrap(), 5);
        assert!(
            cases
                .case::<()>("two", async { anyhow::bail!("no") })
                .await
                .is_err()
        );
        cases.skipped("three", "nobody is there");
        assert_eq!(cases.tally().to_string(), "1 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn counts_are_appended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tally");
        Tally {
            passed: 1,
            failed: 2,
            skipped: 3,
        }
        .append(&path)
        .unwrap();
        Tally::default().append(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1 2 3\n0 0 0\n");
    }
}
