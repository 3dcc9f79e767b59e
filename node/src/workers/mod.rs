//! What a node does by itself. Every worker has a name and a state that people
//! can see, and survives a restart because it derives its work from what is on
//! the disk and in the view. Each holds just the parts that it uses.

pub mod census;
pub mod leftovers;
pub mod migrator;
pub mod owners;
pub mod payer;
pub mod reaper;
mod refill;
pub mod repair;
pub mod replicator;
pub mod scrub;
pub mod takeover;

use std::sync::Arc;

use self::census::Census;
use self::migrator::Migrator;
use self::payer::Payer;
use self::reaper::Reaper;
use self::replicator::Replicator;
use self::scrub::Scrub;
use crate::store::Store;
use crate::world::Tasks;

/// Every worker of a node.
pub struct Workers {
    pub(crate) census: Arc<Census>,
    pub(crate) migrator: Arc<Migrator>,
    pub(crate) replicator: Arc<Replicator>,
    pub(crate) payer: Arc<Payer>,
    pub(crate) reaper: Arc<Reaper>,
    pub(crate) scrub: Arc<Scrub>,
    pub(crate) store: Store,
}

impl Workers {
    /// Starts all of them; they run until the tasks are stopped.
    pub fn start(&self, tasks: &Tasks) {
        tasks.spawn(self.census.clone().run());
        tasks.spawn(self.migrator.clone().run());
        tasks.spawn(self.replicator.clone().run());
        tasks.spawn(self.payer.clone().run());
        tasks.spawn(self.reaper.clone().run());
        tasks.spawn(self.scrub.clone().run());
        tasks.spawn(refill::run(self.store.clone()));
    }
}
