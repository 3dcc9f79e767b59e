//! One exchange of the ring as it goes over the wire.

use chord_types::view::ViewRef;
use chord_types::{ClusterUid, DiskId, Ordinal};
use serde::{Deserialize, Serialize};

use crate::message::Envelope;

/// The version of [`RingExchange`] that this program writes.
pub const RING_VERSION: u16 = 2;
/// The oldest that it reads: the one before exchanges had a version and a number.
pub const RING_VERSION_OLDEST: u16 = 1;

/// The version of an exchange that names none.
pub fn unnumbered() -> u16 {
    1
}

/// One exchange of the ring: its messages, and news that ride along. What a node
/// makes of one is decided by the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingExchange {
    /// The version that it is written in.
    #[serde(default = "unnumbered")]
    pub version: u16,
    /// The sender's cluster.
    pub cluster: ClusterUid,
    /// The sender.
    pub from: Ordinal,
    /// The sender's disk.
    pub disk: DiskId,
    /// The boot number of that disk.
    pub boot: u64,
    /// Of a request, counted from 1 for each receiver and boot, so that a replay
    /// can be told. In a response: that of its sender's last request to the receiver,
    /// or 0.
    #[serde(default)]
    pub number: u64,
    /// The sender's view.
    pub view: ViewRef,
    /// Bytes that clients may still write here.
    pub available: u64,
    /// What the virtual nodes say.
    pub messages: Vec<Envelope>,
}
