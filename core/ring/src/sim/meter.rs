//! What the ring sends, in bytes of the encoding that nodes really use.

use std::io::Write;

use chord_types::view::{ViewHash, ViewRef};
use chord_types::{ClusterUid, DiskId, Epoch, Ordinal};
use serde::Serialize;

use crate::message::Envelope;
use crate::wire::{RING_VERSION, RingExchange};

/// What was sent: bodies of requests and of responses. The HTTP around them is
/// not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Bodies of the ring's upkeep.
    pub bodies: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The messages in them.
    pub messages: u64,
    /// Bytes of look-ups.
    pub lookup_bytes: u64,
}

/// Counts what is sent.
pub(super) struct Meter {
    traffic: Traffic,
    /// A body without messages.
    body: RingExchange,
}

impl Meter {
    pub fn new() -> Meter {
        let body = RingExchange {
            version: RING_VERSION,
            number: 1,
            // As long as the UIDs that Kubernetes gives.
            cluster: ClusterUid("00000000-0000-0000-0000-000000000000".to_string()),
            from: Ordinal(0),
            disk: DiskId(uuid::Uuid::from_bytes([0x5a; 16])),
            boot: 1,
            view: ViewRef {
                epoch: Epoch(1000),
                hash: ViewHash([0xa5; 32]),
            },
            available: 100 << 30,
            messages: Vec::new(),
        };
        Meter {
            traffic: Traffic::default(),
            body,
        }
    }

    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Counts one body; `batch` is lent and comes back as it was.
    pub fn count(&mut self, upkeep: bool, from: Ordinal, batch: &mut Vec<Envelope>) {
        self.body.from = from;
        std::mem::swap(&mut self.body.messages, batch);
        let bytes = encoded(&self.body);
        std::mem::swap(&mut self.body.messages, batch);
        if upkeep {
            self.traffic.bodies += 1;
            self.traffic.bytes += bytes;
            self.traffic.messages += batch.len() as u64;
        } else {
            self.traffic.lookup_bytes += bytes;
        }
    }
}

/// The bytes of a body without messages: what each exchange costs each way.
pub fn empty_body() -> u64 {
    encoded(&Meter::new().body)
}

/// How long a body is, encoded as [`crate::peer::client`] does it.
fn encoded(body: &RingExchange) -> u64 {
    struct Length(u64);
    impl Write for Length {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    let mut to = rmp_serde::Serializer::new(&mut length).with_struct_map();
    // Nothing here can fail: there is nothing to write to.
    let _ = body.serialize(&mut to);
    length.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_what_a_node_would_send() {
        let meter = Meter::new();
        let sent = rmp_serde::to_vec_named(&meter.body).unwrap();
        assert_eq!(encoded(&meter.body), sent.len() as u64);
    }
}
