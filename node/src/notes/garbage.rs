//! Uploads whose chunks may be garbage: whoever hears of one notes it here, and the
//! reaper finds out.

use std::collections::BTreeMap;
use std::time::Duration;

use chord_types::{FileName, UploadId};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Uploads that are remembered; past it the full pass finds them.
const MAX_EXPECTED: usize = 100_000;

/// What may be garbage, by name, and since when that is known. (No lock of tokio's:
/// nothing is awaited while it is held.)
#[derive(Debug, Default)]
pub struct Garbage(Mutex<BTreeMap<(FileName, UploadId), Instant>>);

impl Garbage {
    /// An upload of this name may be garbage: looked into after the grace.
    pub fn expect(&self, name: FileName, upload: UploadId) {
        let mut expected = self.0.lock();
        if expected.len() < MAX_EXPECTED {
            expected.entry((name, upload)).or_insert_with(Instant::now);
        }
    }

    /// Whether an upload is expected to be garbage.
    pub fn is_expected(&self, name: &FileName, upload: UploadId) -> bool {
        self.0.lock().contains_key(&(name.clone(), upload))
    }

    /// Up to `most` of those that have waited for `grace`.
    pub fn due(&self, grace: Duration, most: usize) -> Vec<(FileName, UploadId)> {
        let expected = self.0.lock();
        let due = expected.iter().filter(|(_, at)| at.elapsed() >= grace);
        let mut due: Vec<_> = due.map(|(what, at)| (*at, what)).collect();
        // The oldest first: without a grace, what has to be kept yet is due again each
        // time, and would keep the others from their turn.
        due.sort_unstable_by_key(|(at, _)| *at);
        let due = due.into_iter().take(most);
        due.map(|(_, what)| what.clone()).collect()
    }

    /// Nothing is left to find out about it.
    pub fn settle(&self, name: &FileName, upload: UploadId) {
        self.0.lock().remove(&(name.clone(), upload));
    }

    /// It has to be kept yet, and waits anew.
    pub fn postpone(&self, name: &FileName, upload: UploadId) {
        if let Some(at) = self.0.lock().get_mut(&(name.clone(), upload)) {
            *at = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_postponed_is_due_after_the_others() {
        let garbage = Garbage::default();
        let name: FileName = "f".parse().unwrap();
        let [one, two] = [1, 2].map(|n| UploadId::from_bytes([n; 16]));
        let grace = Duration::from_secs(10);
        garbage.expect(name.clone(), one);
        assert_eq!(garbage.due(grace, 9), []);
        tokio::time::sleep(grace).await;
        garbage.expect(name.clone(), two);
        assert_eq!(garbage.due(grace, 9), [(name.clone(), one)]);
        garbage.postpone(&name, one);
        let both = garbage.due(Duration::ZERO, 9);
        assert_eq!(both.len(), 2);
        tokio::time::sleep(grace).await;
        garbage.settle(&name, two);
        assert!(!garbage.is_expected(&name, two) && garbage.is_expected(&name, one));
        assert_eq!(garbage.due(grace, 9), [(name, one)]);
    }
}
