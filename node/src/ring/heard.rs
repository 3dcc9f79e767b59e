//! The news of other nodes that rides along with the ring's exchanges.

use std::collections::BTreeMap;

use chord_ring::wire::RingExchange;
use chord_types::view::ViewRef;
use chord_types::{DiskId, Ordinal};
use parking_lot::Mutex;
use tokio::time::Instant;

/// What was last heard of another node.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When, by this node's clock.
    pub at: Instant,
    /// The disk that it said it is on.
    pub disk: DiskId,
    /// The boot number of that disk.
    pub boot: u64,
    /// The view that it was at.
    pub view: ViewRef,
    /// Bytes that clients may still write there.
    pub available: u64,
}

/// What was last heard of each. (No lock of tokio's: nothing is awaited while it is
/// held.)
#[derive(Debug, Default)]
pub struct Hearsay(Mutex<BTreeMap<Ordinal, Heard>>);

impl Hearsay {
    /// What was last heard of a node.
    pub fn of(&self, ordinal: Ordinal) -> Option<Heard> {
        self.0.lock().get(&ordinal).cloned()
    }

    /// Takes note of news from a node.
    pub fn note(&self, exchange: &RingExchange) {
        let heard = Heard {
            at: Instant::now(),
            disk: exchange.disk,
            boot: exchange.boot,
            view: exchange.view,
            available: exchange.available,
        };
        self.0.lock().insert(exchange.from, heard);
    }
}
