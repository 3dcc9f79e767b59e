//! The census: counts the files of which this node is the primary, for reports.

use std::sync::Arc;
use std::time::Duration;

use chord_types::Id;
use tokio::time::Instant;

use crate::notes::Standing;
use crate::store::Store;
use crate::view::{Current, Identity, Interrupted, ViewKeeper, walk};

/// It rests at least this long, and this many times as long as it counted.
const LEAST: Duration = Duration::from_secs(2);
const REST: u32 = 50;
const BATCH: usize = 1000;

/// Counts files.
pub struct Census {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) store: Store,
    pub(crate) standing: Arc<Standing>,
}

impl Census {
    /// Runs until the node stops.
    pub async fn run(self: Arc<Census>) {
        loop {
            let began = Instant::now();
            if let Some(current) = self.view.current()
                && let Ok(files) = self.count(&current).await
            {
                self.standing.set_primary_files(files);
            }
            tokio::time::sleep((began.elapsed() * REST).max(LEAST)).await;
        }
    }

    async fn count(&self, current: &Current) -> Result<u64, Interrupted> {
        let target = current.placements.target();
        let mut files = 0;
        let mut pages = walk::listed(&self.store, BATCH);
        while let Some(page) = pages.next().await? {
            let whole = page.iter().filter(|listed| listed.current.is_some());
            let mine = whole.filter(|listed| {
                let key = Id::of_file(&listed.name);
                target
                    .owners(&key)
                    .next()
                    .is_some_and(|m| m.disk == self.me.disk)
            });
            files += mine.count() as u64;
        }
        Ok(files)
    }
}
