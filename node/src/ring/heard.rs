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
    pub at: Instant,
    pub disk: DiskId,
    pub boot: u64,
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
