//! The judgement of one exchange: a pure function of it and of what a node knows.
//!
//! What it rests on is the view: who is a member, with which disk, and whose each
//! virtual node is. A sender speaks for its own virtual nodes only. The two ends
//! may be at different views for a moment, so a list that names a peer which this
//! view does not know is no crime: a successor list ends before that peer (to take
//! out just the one would make the list step over it), and of a list in no order the
//! peer is taken out. Thus a node never points at anybody whom its view does not name.

use chord_types::view::ViewRef;
use chord_types::{ClusterUid, Ordinal};

use super::refused::{Reason, Refused};
use super::senders::Senders;
use super::{MAX_MESSAGES, known_version};
use crate::view::members::{MemberIndex, Stands};
use chord_ring::wire::RingExchange;
use chord_ring::{Envelope, Message, Peer, Route};

/// Peers in one list of a message; honest lists have 16 and a few.
const MAX_PEERS: usize = 64;

/// Which way an exchange goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came by itself.
    Request,
    /// It answers a request to this node.
    Response(Ordinal),
}

/// What a node knows that an exchange is judged by.
pub struct Known<'a> {
    /// The cluster that this node belongs to.
    pub cluster: &'a ClusterUid,
    /// This node.
    pub me: Ordinal,
    /// The view that it is at.
    pub view: ViewRef,
    /// The members of that view.
    pub index: &'a MemberIndex,
    /// Who has spoken before.
    pub senders: &'a Senders,
}

/// An exchange that may reach the ring. Only [`check`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid {
    exchange: RingExchange,
    unknown_peers: usize,
}

impl Valid {
    /// The exchange, lists cut to peers that the view knows.
    pub fn exchange(&self) -> &RingExchange {
        &self.exchange
    }

    /// The messages, for the ring.
    pub fn into_messages(self) -> Vec<Envelope> {
        self.exchange.messages
    }

    /// Peers that were taken out of lists.
    pub fn unknown_peers(&self) -> usize {
        self.unknown_peers
    }
}

/// Judges an exchange.
pub fn check(
    exchange: RingExchange,
    direction: Direction,
    known: &Known,
) -> Result<Valid, Refused> {
    let mut exchange = exchange;
    sender(&exchange, direction, known)?;
    if exchange.messages.len() > MAX_MESSAGES {
        return refuse(
            Reason::TooManyMessages,
            format!(
                "it has {} messages, at most {MAX_MESSAGES} are taken",
                exchange.messages.len()
            ),
        );
    }
    let same_view = exchange.view == known.view;
    let from = exchange.from;
    for envelope in &exchange.messages {
        message(envelope, from, direction, same_view, known)?;
    }
    let mut unknown_peers = 0;
    for envelope in &mut exchange.messages {
        unknown_peers += without_strangers(envelope, known.index);
    }
    Ok(Valid {
        exchange,
        unknown_peers,
    })
}

fn refuse<T>(reason: Reason, why: String) -> Result<T, Refused> {
    Err(Refused::new(reason, why))
}

/// Who it is from, and when.
fn sender(exchange: &RingExchange, direction: Direction, known: &Known) -> Result<(), Refused> {
    let (from, disk, view) = (exchange.from, exchange.disk, exchange.view);
    known_version(exchange.version)?;
    if exchange.cluster != *known.cluster {
        return refuse(
            Reason::OtherCluster,
            format!(
                "it is of cluster {:.64}, this is {}",
                exchange.cluster.0, known.cluster
            ),
        );
    }
    // The ring's request ids have room for 32 bits of it.
    if exchange.boot > u64::from(u32::MAX) {
        return refuse(
            Reason::OutOfRange,
            format!("{} is no boot number", exchange.boot),
        );
    }
    if from == known.me {
        return refuse(Reason::FromSelf, format!("this is node {from}"));
    }
    if let Direction::Response(asked) = direction
        && asked != from
    {
        return refuse(
            Reason::SpeaksForOther,
            format!("node {asked} was asked, the answer is signed by node {from}"),
        );
    }
    let disagree = |reason, why| {
        Err(Refused {
            reason,
            why,
            theirs: Some(view),
        })
    };
    if !known.index.has(from, disk) {
        let (reason, who) = if known.index.named(from) {
            (
                Reason::OtherDisk,
                format!("disk {disk} is not node {from}'s"),
            )
        } else {
            (Reason::Stranger, format!("node {from} is no member"))
        };
        return disagree(reason, format!("{who} in view {}", known.view.epoch));
    }
    if view.epoch == known.view.epoch && view.hash != known.view.hash {
        return disagree(
            Reason::ConflictingView,
            format!(
                "its view {} has other content ({:?}) than the one held ({:?})",
                view.epoch, view.hash, known.view.hash
            ),
        );
    }
    known
        .senders
        .fresh(exchange, direction)
        .map_err(|(reason, why)| Refused::new(reason, why))
}

/// One message: who says it, to whom, and what it may say.
fn message(
    envelope: &Envelope,
    sender: Ordinal,
    direction: Direction,
    same_view: bool,
    known: &Known,
) -> Result<(), Refused> {
    let Envelope { from, to, message } = envelope;
    if from.ordinal != sender {
        return refuse(
            Reason::SpeaksForOther,
            format!("node {sender} speaks for node {}", from.ordinal),
        );
    }
    if to.ordinal != known.me {
        return refuse(
            Reason::Misaddressed,
            format!("it is for node {}, this is node {}", to.ordinal, known.me),
        );
    }
    let response = direction != Direction::Request;
    if message.is_reply() != response {
        let what = if response {
            "a request in a response"
        } else {
            "a reply in a request"
        };
        return refuse(Reason::WrongDirection, format!("there is {what}"));
    }
    match known.index.stands(from) {
        Stands::Here => {}
        Stands::Elsewhere => return claimed(from),
        // A reply from there only says that the virtual node is gone.
        Stands::Nowhere if response => {}
        Stands::Nowhere => {
            return refuse(
                Reason::UnknownToken,
                format!("node {sender} has no virtual node {}", from.id),
            );
        }
    }
    // An id that nobody has is answered with `Gone`, which the sender should hear.
    if same_view && known.index.stands(to) == Stands::Elsewhere {
        return refuse(
            Reason::Misaddressed,
            format!("virtual node {} is another's", to.id),
        );
    }
    if let Message::Route {
        route: Route::Nearer { at, .. },
        ..
    } = message
        && at.ordinal != sender
    {
        return refuse(
            Reason::SpeaksForOther,
            format!("node {sender} routes for node {}", at.ordinal),
        );
    }
    for list in lists(message) {
        if list.len() > MAX_PEERS {
            return refuse(
                Reason::ListTooLong,
                format!("a list has {} peers, at most {MAX_PEERS}", list.len()),
            );
        }
    }
    // By one and the same view a peer cannot be in two places.
    let misplaced = |p: &&Peer| same_view && known.index.stands(p) == Stands::Elsewhere;
    match named(message).find(misplaced) {
        Some(peer) => claimed(peer),
        None => Ok(()),
    }
}

fn claimed(peer: &Peer) -> Result<(), Refused> {
    refuse(
        Reason::ClaimedToken,
        format!("virtual node {} is not node {}'s", peer.id, peer.ordinal),
    )
}

fn lists(message: &Message) -> impl Iterator<Item = &Vec<Peer>> {
    let (one, two) = match message {
        Message::State { succ, .. } => (Some(succ), None),
        Message::Route { route, .. } => match route {
            Route::Found { successors, .. } => (Some(successors), None),
            Route::Nearer {
                candidates, beyond, ..
            } => (Some(candidates), Some(beyond)),
        },
        _ => (None, None),
    };
    one.into_iter().chain(two)
}

/// All peers that a message speaks of.
fn named(message: &Message) -> impl Iterator<Item = &Peer> {
    let single = match message {
        Message::State { pred, .. } => pred.as_ref(),
        Message::Route {
            route: Route::Found { before: peer, .. } | Route::Nearer { at: peer, .. },
            ..
        } => Some(peer),
        _ => None,
    };
    single.into_iter().chain(lists(message).flatten())
}

/// Takes out of a message whom the view does not know; says how many.
fn without_strangers(envelope: &mut Envelope, index: &MemberIndex) -> usize {
    let known = |peer: &Peer| index.knows(peer);
    if !known(&envelope.from)
        && let Some(request) = envelope.message.answers()
    {
        envelope.message = Message::Gone { request };
        return 1;
    }
    let before = named(&envelope.message).count();
    let cut = |list: &mut Vec<Peer>| {
        let whole = list.len();
        list.truncate(list.iter().take_while(|p| known(p)).count());
        // Nothing is left of it: this view does not know the successor.
        list.is_empty() && whole > 0
    };
    let mut of_no_use = None;
    match &mut envelope.message {
        Message::State {
            request,
            pred,
            succ,
        } => {
            *pred = pred.filter(known);
            if cut(succ) {
                of_no_use = Some(*request);
            }
        }
        Message::Route { request, route } => {
            let useless = match route {
                Route::Found { before, successors } => !known(before) | cut(successors),
                Route::Nearer {
                    at,
                    candidates,
                    beyond,
                } => {
                    candidates.retain(known);
                    beyond.retain(known);
                    !known(at)
                }
            };
            if useless {
                of_no_use = Some(*request);
            }
        }
        _ => {}
    }
    let mut after = named(&envelope.message).count();
    if let Some(request) = of_no_use {
        envelope.message = Message::Busy { request };
        after = after.saturating_sub(1);
    }
    before - after
}
