//! Why an exchange is refused, in words, as a status, and counted.

use std::fmt;

use axum::http::StatusCode;
use chord_types::view::ViewRef;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::peer::wire::Refusal;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Cut short, or no exchange at all.
    Unreadable,
    /// More stands behind its end.
    TrailingBytes,
    /// More bytes than are read.
    TooLarge,
    /// More messages than are looked at.
    TooManyMessages,
    /// A list of peers longer than any honest one.
    ListTooLong,
    /// A number past what it may be.
    OutOfRange,
    /// A version of the exchange that is not read here.
    OtherVersion,
    /// Another cluster's.
    OtherCluster,
    /// This node has no view to judge it by.
    NoView,
    /// The same epoch as this node's view, with other content.
    ConflictingView,
    /// The sender is no member.
    Stranger,
    /// The sender's name is a member, its disk is not.
    OtherDisk,
    /// An earlier start of the sender.
    OldBoot,
    /// The sender has sent this before.
    Replayed,
    /// It says that it comes from this node itself.
    FromSelf,
    /// A message in the name of another node.
    SpeaksForOther,
    /// In the name of a virtual node that is another's.
    ClaimedToken,
    /// From a virtual node that is in no table.
    UnknownToken,
    /// For another node.
    Misaddressed,
    /// A reply that was not asked for, or a request in a response.
    WrongDirection,
    /// No refusal: a peer that the view does not know was taken out of a list.
    UnknownPeer,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 21] = [
        Reason::Unreadable,
        Reason::TrailingBytes,
        Reason::TooLarge,
        Reason::TooManyMessages,
        Reason::ListTooLong,
        Reason::OutOfRange,
        Reason::OtherVersion,
        Reason::OtherCluster,
        Reason::NoView,
        Reason::ConflictingView,
        Reason::Stranger,
        Reason::OtherDisk,
        Reason::OldBoot,
        Reason::Replayed,
        Reason::FromSelf,
        Reason::SpeaksForOther,
        Reason::ClaimedToken,
        Reason::UnknownToken,
        Reason::Misaddressed,
        Reason::WrongDirection,
        Reason::UnknownPeer,
    ];

    /// As metrics and logs have it.
    pub fn label(self) -> &'static str {
        match self {
            Reason::Unreadable => "unreadable",
            Reason::TrailingBytes => "trailing_bytes",
            Reason::TooLarge => "too_large",
            Reason::TooManyMessages => "too_many_messages",
            Reason::ListTooLong => "list_too_long",
            Reason::OutOfRange => "out_of_range",
            Reason::OtherVersion => "other_version",
            Reason::OtherCluster => "other_cluster",
            Reason::NoView => "no_view",
            Reason::ConflictingView => "conflicting_view",
            Reason::Stranger => "stranger",
            Reason::OtherDisk => "other_disk",
            Reason::OldBoot => "old_boot",
            Reason::Replayed => "replayed",
            Reason::FromSelf => "from_self",
            Reason::SpeaksForOther => "speaks_for_other",
            Reason::ClaimedToken => "claimed_token",
            Reason::UnknownToken => "unknown_token",
            Reason::Misaddressed => "misaddressed",
            Reason::WrongDirection => "wrong_direction",
            Reason::UnknownPeer => "unknown_peer",
        }
    }

    /// Whether this node could make nothing of it: the sender is told so, and that it
    /// lives.
    pub fn not_understood(self) -> bool {
        matches!(
            self,
            Reason::Unreadable | Reason::TrailingBytes | Reason::OtherVersion
        )
    }

    /// What the sender is answered: 400 for what no sender should make, 403 for
    /// what this sender may not say, 409 where the two disagree about the world. What
    /// was not understood is answered so only to who speaks the first version of the
    /// protocol, in which "not understood" has no status of its own.
    pub fn status(self) -> StatusCode {
        match self {
            Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::Unreadable
            | Reason::TrailingBytes
            | Reason::TooManyMessages
            | Reason::ListTooLong
            | Reason::OutOfRange
            | Reason::WrongDirection
            | Reason::UnknownPeer => StatusCode::BAD_REQUEST,
            Reason::FromSelf
            | Reason::SpeaksForOther
            | Reason::ClaimedToken
            | Reason::UnknownToken
            | Reason::Misaddressed => StatusCode::FORBIDDEN,
            Reason::OtherVersion
            | Reason::OtherCluster
            | Reason::NoView
            | Reason::ConflictingView
            | Reason::Stranger
            | Reason::OtherDisk
            | Reason::OldBoot
            | Reason::Replayed => StatusCode::CONFLICT,
        }
    }
}

/// An exchange that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", .reason.label())]
pub struct Refused {
    /// The kind of fault, which is counted.
    pub reason: Reason,
    /// In words.
    pub why: String,
    /// The sender's view, where the refusal may come of one of the two being old.
    pub theirs: Option<ViewRef>,
}

impl Refused {
    /// Without a view of the sender.
    pub fn new(reason: Reason, why: String) -> Refused {
        Refused {
            reason,
            why,
            theirs: None,
        }
    }

    /// What the sender is told; `ours` is the view that it was judged by.
    pub fn refusal(&self, ours: Option<ViewRef>) -> Refusal {
        match self.reason {
            Reason::OtherCluster => Refusal::OtherCluster,
            // The sender can find out which of the two views is old.
            Reason::NoView | Reason::ConflictingView | Reason::Stranger | Reason::OtherDisk => {
                Refusal::OtherView(ours)
            }
            _ => Refusal::Failed(self.to_string().into()),
        }
    }
}

impl EncodeLabelSet for Reason {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("reason", self.label())].encode(encoder)
    }
}

/// Counts by reason.
#[derive(Debug)]
pub struct RefusalCounts(Family<Reason, Counter>);

impl Default for RefusalCounts {
    /// All of them zero: a rate needs where it began.
    fn default() -> RefusalCounts {
        let counts = Family::default();
        for reason in Reason::ALL {
            // Made here, and counted later.
            drop(counts.get_or_create(&reason));
        }
        RefusalCounts(counts)
    }
}

impl RefusalCounts {
    /// Counts, and says how many there are now.
    pub fn add(&self, reason: Reason, times: usize) -> u64 {
        let times = times as u64;
        self.0.get_or_create(&reason).inc_by(times) + times
    }

    /// Adds them to the node's metrics.
    pub fn add_metrics(&self, registry: &mut Registry) {
        registry.register(
            "chord_ring_refused",
            "Exchanges of the ring that were refused, and (unknown_peer) peers taken out of their lists",
            self.0.clone(),
        );
    }
}
