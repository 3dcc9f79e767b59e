//! What a node takes of the ring's exchanges, and what it refuses.
//!
//! Every exchange comes from somebody who has the cluster's secret. This is the
//! second line: a node of another cluster or version, one that was restarted or
//! replaced since, a replay, or a program gone wrong must not be able to bend the
//! pointers of this node. Bytes are read by [`decode`], judged by [`check()`], a
//! pure function of the exchange and of what this node knows, and only what is
//! [`Valid`] reaches the ring. Whatever is refused is counted by its reason.

mod check;
pub mod fuzzing;
#[cfg(test)]
mod fuzzing_tests;
mod refused;
mod senders;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Cursor;

use chord_types::{ClusterUid, Ordinal};
// Held for a look at what is in memory, never while anything is awaited.
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde::Deserialize;

pub use self::check::{Direction, Known, Valid, check};
pub use self::refused::{Reason, RefusalCounts, Refused};
pub use self::senders::Senders;
use crate::view::Current;
use chord_ring::wire::{RING_VERSION, RING_VERSION_OLDEST, RingExchange};

/// The longest body of an exchange; the largest honest ones are a tenth of it.
pub const MAX_BODY: usize = 4 << 20;
/// Messages in one exchange: as many as the ring looks at.
pub const MAX_MESSAGES: usize = chord_ring::host::MOST_ENVELOPES;

/// Enough of an exchange to see whether its version is one of ours.
#[derive(Deserialize)]
struct Head {
    #[serde(default = "chord_ring::wire::unnumbered")]
    version: u16,
}

/// Reads an exchange: all of the bytes, and nothing but it.
pub fn decode(bytes: &[u8]) -> Result<RingExchange, Refused> {
    if bytes.len() > MAX_BODY {
        return Err(Refused::new(
            Reason::TooLarge,
            format!("it has {} bytes, at most {MAX_BODY} are read", bytes.len()),
        ));
    }
    // A reader that allocates as it reads: a length that lies costs nothing.
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(bytes));
    match RingExchange::deserialize(&mut reader) {
        Ok(exchange) => {
            known_version(exchange.version)?;
            let read = usize::try_from(reader.position()).unwrap_or(usize::MAX);
            if read < bytes.len() {
                return Err(Refused::new(
                    Reason::TrailingBytes,
                    format!("{} bytes stand behind its end", bytes.len() - read),
                ));
            }
            Ok(exchange)
        }
        Err(error) => {
            // Another version may have another shape: then that is what to say.
            if let Ok(head) = rmp_serde::from_slice::<Head>(bytes) {
                known_version(head.version)?;
            }
            Err(Refused::new(Reason::Unreadable, error.to_string()))
        }
    }
}

fn known_version(version: u16) -> Result<(), Refused> {
    if (RING_VERSION_OLDEST..=RING_VERSION).contains(&version) {
        return Ok(());
    }
    Err(Refused::new(
        Reason::OtherVersion,
        format!(
            "it is of version {version}, this node reads {RING_VERSION_OLDEST} to {RING_VERSION}"
        ),
    ))
}

/// What a node lets in: it remembers who has sent what, and counts what it refuses.
#[derive(Default)]
pub struct Admission {
    senders: Mutex<Senders>,
    counts: RefusalCounts,
    /// The number of the last request to each node, so that it can tell a replay.
    sent: Mutex<BTreeMap<Ordinal, u64>>,
}

impl Admission {
    /// Reads and judges an exchange. Its number is used up only if it is valid.
    pub fn admit(
        &self,
        cluster: &ClusterUid,
        me: Ordinal,
        current: &Current,
        direction: Direction,
        exchange: RingExchange,
    ) -> Result<Valid, Refused> {
        let mut senders = self.senders.lock();
        let known = Known {
            cluster,
            me,
            view: current.reference,
            index: &current.member_index,
            senders: &senders,
        };
        let valid = check(exchange, direction, &known)?;
        senders.note(valid.exchange(), direction);
        senders.keep(&current.member_index);
        self.counts.add(Reason::UnknownPeer, valid.unknown_peers());
        Ok(valid)
    }

    /// Counts a refusal. The log has the first of each reason, and then ever
    /// fewer: a sender gone wrong must not fill a disk.
    pub fn count(&self, refused: &Refused, from: &str) {
        let so_far = self.counts.add(refused.reason, 1);
        if so_far.is_power_of_two() {
            tracing::warn!(reason = refused.reason.label(), why = %refused, from, so_far, "refused an exchange of the ring");
        } else {
            tracing::debug!(reason = refused.reason.label(), why = %refused, from, "refused an exchange of the ring");
        }
    }

    /// The number of the next request to a node, from 1.
    pub fn number(&self, to: Ordinal) -> u64 {
        let mut sent = self.sent.lock();
        let last = sent.entry(to).or_default();
        *last += 1;
        *last
    }

    /// The number of the last request to a node, for it to know; 0: none yet.
    pub fn last_number(&self, to: Ordinal) -> u64 {
        let sent = self.sent.lock();
        sent.get(&to).copied().unwrap_or_default()
    }

    /// Adds what was refused to the node's metrics.
    pub fn add_metrics(&self, registry: &mut Registry) {
        self.counts.add_metrics(registry);
    }
}
