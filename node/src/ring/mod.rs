//! The ring's shell: carries the messages of [`chord_ring`] to the other nodes, tells
//! it who the members are, and lets news of views and disks ride along. It finds, and
//! tells who is alive; no safety rests on it.
//!
//! Nobody waits here for a slow peer: exchanges run beside each other and beside
//! the ring's rounds. One that is not answered soon counts as silent, and goes
//! on for a while, since a late answer is a sign of life, too.

mod drive;
mod exchange;
mod gossip;
mod heard;
mod lookup;

use std::sync::Arc;
use std::time::Duration;

use chord_ring::Host;
use chord_types::Ordinal;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use self::heard::Hearsay;
use crate::notes::Progress;
use crate::peer::Transport;
use crate::peer::ring::Admission;
use crate::store::Store;
use crate::view::{Identity, ViewKeeper};
use crate::world::Tasks;

pub use heard::Heard;

const NAME: &str = "ring";
/// An exchange that is not answered within two rounds, or this, is silence.
const PATIENCE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(4);
/// How long this node's own free space is as good as new.
const SPACE_EVERY: Duration = Duration::from_secs(1);

/// This node's part of the ring.
pub struct Ring {
    me: Arc<Identity>,
    view: Arc<ViewKeeper>,
    store: Store,
    peers: Arc<dyn Transport>,
    tasks: Tasks,
    progress: Arc<Progress>,
    /// The core. (No lock of tokio's, here and below: nothing is awaited while one is
    /// held.)
    host: Mutex<Host>,
    admission: Admission,
    heard: Hearsay,
    /// The free space that others were told, and when it was looked up.
    told_space: Mutex<Option<(Instant, u64)>>,
    /// The core's clock counts from here.
    started: Instant,
    /// Between two rounds of the core.
    round: Duration,
}

impl Ring {
    /// Puts it together; `round` is how often the core stabilizes.
    pub fn new(
        me: Arc<Identity>,
        view: Arc<ViewKeeper>,
        store: Store,
        peers: Arc<dyn Transport>,
        tasks: Tasks,
        progress: Arc<Progress>,
        round: Duration,
    ) -> Ring {
        let boot = u32::try_from(me.boot).unwrap_or(u32::MAX);
        let config = chord_ring::Config::new(boot, round.as_millis() as u64);
        Ring {
            host: Mutex::new(Host::new(config, me.ordinal)),
            me,
            view,
            store,
            peers,
            tasks,
            progress,
            admission: Admission::default(),
            heard: Hearsay::default(),
            told_space: Mutex::new(None),
            started: Instant::now(),
            round,
        }
    }

    /// Lets the core do something, at its time.
    fn with_host<T>(&self, work: impl FnOnce(&mut Host, u64) -> T) -> T {
        let mut host = self.host.lock();
        // Monotonic, and read under the lock, so that it never goes back for the core.
        let now = self.started.elapsed().as_millis() as u64;
        work(&mut host, now)
    }

    /// Lets somebody see the core as it is.
    pub fn read_host<T>(&self, at: impl FnOnce(&Host) -> T) -> T {
        at(&self.host.lock())
    }

    /// Whether a node lives, as far as this one can tell. It itself does.
    pub fn alive(&self, ordinal: Ordinal) -> bool {
        self.host.lock().alive(ordinal)
    }

    /// What was last heard of another node.
    pub fn heard(&self, ordinal: Ordinal) -> Option<Heard> {
        self.heard.of(ordinal)
    }

    /// Adds what was refused to the node's metrics.
    pub fn add_metrics(&self, registry: &mut Registry) {
        self.admission.add_metrics(registry);
    }

    fn patience(&self) -> Duration {
        (self.round * 2).clamp(*PATIENCE.start(), *PATIENCE.end())
    }

    /// The free space for others to know; asking the file system for every exchange
    /// would cost more than the rest of it.
    fn available(&self) -> u64 {
        let mut known = self.told_space.lock();
        match *known {
            Some((at, available)) if at.elapsed() < SPACE_EVERY => available,
            _ => {
                let available = self.store.space().available;
                *known = Some((Instant::now(), available));
                available
            }
        }
    }
}
