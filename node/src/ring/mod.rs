//! The ring's shell: carries the messages of [`chord_ring`] over HTTP, tells it
//! who the members are, and lets news of views and disks ride along.
//!
//! Nobody waits here for a slow peer: exchanges run beside each other and beside
//! the ring's rounds. One that is not answered soon counts as silent, and goes
//! on for a while, since a late answer is a sign of life, too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord_types::{Id, Ordinal};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;

use crate::node::{Current, Node};
use crate::peer::client::PeerError;
use crate::peer::ring::{self as wire, Reason, Refused, Way};
use crate::peer::wire::Refusal;
use chord_ring::host::Members;
use chord_ring::wire::{RING_VERSION, RingExchange};
use chord_ring::{
    Confirm, Envelope, Failure, Found, Host, HostAction, LookupFailed, Message, Next, NextConfirm,
};

const NAME: &str = "ring";
/// The longest sleep between two ticks; short, so that time does what it should.
const LONGEST: Duration = Duration::from_millis(500);
const SHORTEST: Duration = Duration::from_millis(20);
/// How often somebody is asked for news that the ring itself does not carry.
const GOSSIP_EVERY: Duration = Duration::from_secs(1);
/// Members that are asked at a time.
const GOSSIP_AT_ONCE: usize = 8;
/// News of a member is fresh for so long for each member there is, ...
const FRESH_EACH: Duration = Duration::from_millis(250);
/// ...and for so long at least and at most.
const FRESH: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(30);
/// Exchanges under way at a time; what is more is lost, as on a bad network.
const MOST_EXCHANGES: usize = 512;
/// Exchanges that follow from one batch of another node.
const MOST_FOLLOWING: usize = 64;
/// An exchange that is not answered within two rounds, or this, is silence.
const PATIENCE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(4);
/// After this long the address of a node that has moved is known.
const MOVED: Duration = Duration::from_millis(300);
/// How long this node's own free space is as good as new.
const SPACE_EVERY: Duration = Duration::from_secs(1);

fn with_ring<T>(node: &Node, work: impl FnOnce(&mut Host, u64) -> T) -> T {
    let mut ring = node.ring.lock().unwrap_or_else(|p| p.into_inner());
    // Monotonic, and read under the lock, so that it never goes back for the ring.
    let now = node.started.elapsed().as_millis() as u64;
    work(&mut ring, now)
}

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    let mut view = node.watch_view();
    // A view that was on the disk already is not the first: the node joins anew.
    let mut fresh = node.current().is_none();
    let mut told = None;
    let mut gossip = Gossip::default();
    let mut exchanges = Exchanges::default();
    loop {
        let Some(current) = view.borrow_and_update().clone() else {
            node.workers.say(NAME, "waiting", "for a view");
            if view.changed().await.is_err() {
                return;
            }
            continue;
        };
        // Once for each view: it sets off a round and ends all rest.
        if told != Some(current.reference) {
            told = Some(current.reference);
            let first = fresh && current.reference.epoch.0 == 1;
            fresh = false;
            let actions = take_members(&node, &current, first);
            exchanges.start(&node, actions);
        }
        let actions = with_ring(&node, Host::tick);
        exchanges.start(&node, actions);
        exchanges.start(&node, gossip.due(&node, &current));
        let next = with_ring(&node, |ring, now| ring.next_tick().saturating_sub(now));
        let wait = Duration::from_millis(next).clamp(SHORTEST, LONGEST);
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            Some(said) = exchanges.open.next() => exchanges.take(&node, said),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn take_members(node: &Node, current: &Current, first: bool) -> Vec<HostAction> {
    let mine: Vec<_> = current
        .view
        .members()
        .into_iter()
        // A disk under another name is nobody's.
        .filter(|m| m.ordinal == node.ordinal && m.disk == node.disk())
        .flat_map(|m| m.tokens.clone())
        .collect();
    let members = Members::of_view(&current.view);
    node.workers
        .say(NAME, "working", format!("{} virtual nodes", mine.len()));
    with_ring(node, |ring, now| {
        ring.set_members(now, &mine, &members, first)
    })
}

/// What came of an exchange so far.
struct Said {
    actions: Vec<HostAction>,
    /// It is late, and goes on.
    late: Option<BoxFuture<'static, Said>>,
}

/// Exchanges under way.
#[derive(Default)]
struct Exchanges {
    open: FuturesUnordered<BoxFuture<'static, Said>>,
}

impl Exchanges {
    fn start(&mut self, node: &Arc<Node>, actions: Vec<HostAction>) {
        for HostAction::Send { to, messages } in actions {
            if self.open.len() < MOST_EXCHANGES {
                self.open.push(one(node.clone(), to, messages).boxed());
            }
        }
    }

    fn take(&mut self, node: &Arc<Node>, said: Said) {
        self.open.extend(said.late);
        self.start(node, said.actions);
    }
}

/// Carries batches out, and what comes of their answers, until nothing is left
/// or enough has been said.
async fn send(node: Arc<Node>, actions: Vec<HostAction>) {
    let mut exchanges = Exchanges::default();
    exchanges.start(&node, actions);
    for _ in 0..MOST_FOLLOWING {
        let Some(said) = exchanges.open.next().await else {
            return;
        };
        exchanges.take(&node, said);
    }
}

async fn one(node: Arc<Node>, to: Ordinal, messages: Vec<Envelope>) -> Said {
    let patience = patience(&node);
    let mut answer = {
        let node = node.clone();
        async move { ask(&node, to, messages).await }.boxed()
    };
    let Ok(answer) = tokio::time::timeout(patience, &mut answer).await else {
        let actions = heard(&node, to, Err(Failure::Silent));
        let late = async move {
            let answer = answer.await;
            // That it is silent has been said.
            let actions = match answer {
                Err(Failure::Silent) => Vec::new(),
                answer => heard(&node, to, answer),
            };
            Said {
                actions,
                late: None,
            }
        };
        return Said {
            actions,
            late: Some(late.boxed()),
        };
    };
    Said {
        actions: heard(&node, to, answer),
        late: None,
    }
}

fn heard(node: &Node, to: Ordinal, answer: Result<Vec<Envelope>, Failure>) -> Vec<HostAction> {
    with_ring(node, |ring, now| match answer {
        Ok(messages) => ring.receive(now, to, messages).actions,
        Err(why) => ring.unanswered(now, to, why),
    })
}

fn patience(node: &Node) -> Duration {
    let rounds = Duration::from_millis(node.args.stabilize_every_ms.saturating_mul(2));
    rounds.clamp(*PATIENCE.start(), *PATIENCE.end())
}

/// One exchange with a member: the messages it answers, judged, if it is that
/// member.
async fn ask(
    node: &Arc<Node>,
    to: Ordinal,
    messages: Vec<Envelope>,
) -> Result<Vec<Envelope>, Failure> {
    let Some(current) = node.current() else {
        return Err(Failure::Busy);
    };
    let number = node.ring_guard.number(to);
    let sent = exchange(node, &current, number, messages);
    let answer = match node.peers.ring(to, &sent).await {
        Ok(answer) => answer,
        // It lives, and one of the two views is old.
        Err(PeerError::Refused(_, Refusal::OtherView(Some(theirs)))) => {
            node.reconcile_views(to, Some(theirs)).await;
            return Ok(Vec::new());
        }
        Err(error) => {
            tracing::trace!(%error, "the ring cannot reach a node");
            return Err(failure(&error));
        }
    };
    // It may have been given another view meanwhile.
    let Some(current) = node.current() else {
        return Err(Failure::Busy);
    };
    let judge = |current: &Current| {
        wire::decode(&answer.bytes).and_then(|answer| {
            let way = Way::Response(to);
            node.ring_guard
                .admit(&node.cluster, node.ordinal, current, way, answer)
        })
    };
    let mut judged = judge(&current);
    let theirs = match &judged {
        Ok(valid) => Some(valid.exchange().view),
        Err(refused) => refused.theirs,
    };
    if let Some(theirs) = theirs.filter(|theirs| *theirs != current.reference) {
        node.reconcile_views(to, Some(theirs)).await;
        // A name with another disk is nobody until the view says so.
        if judged.is_err()
            && let Some(newer) = node.current()
            && newer.reference != current.reference
        {
            judged = judge(&newer);
        }
    }
    match judged {
        Ok(valid) => {
            node.peers.note(valid.exchange());
            Ok(valid.into_messages())
        }
        Err(refused) => {
            node.ring_guard
                .count(&refused, &format!("node {to}'s answer"));
            Err(match refused.reason {
                Reason::OtherCluster
                | Reason::SpeaksForOther
                | Reason::FromSelf
                | Reason::Stranger
                | Reason::OtherDisk => Failure::Gone,
                // A node said it, in words that this one does not know.
                reason if reason.not_understood() && answer.speaks.is_some() => Failure::Busy,
                _ => Failure::Silent,
            })
        }
    }
}

fn failure(error: &PeerError) -> Failure {
    match error {
        PeerError::Gone(..)
        | PeerError::Refused(_, Refusal::OtherCluster | Refusal::OtherDisk(_)) => Failure::Gone,
        PeerError::Refused(_, Refusal::Failed(_) | Refusal::Full | Refusal::NotOwner) => {
            Failure::Busy
        }
        // Of another release: it lives, and only the look-up or the round has failed.
        PeerError::NotUnderstood(..) => Failure::Busy,
        // It has no view yet: it may soon have one, or has lost its disk.
        PeerError::Refused(_, Refusal::OtherView(_)) => Failure::Silent,
        PeerError::NoAddress(_)
        | PeerError::Unreachable(..)
        | PeerError::Overloaded(..)
        | PeerError::Unreadable(..) => Failure::Silent,
    }
}

/// What this node says; `number` is in a response that of its last request there.
fn exchange(
    node: &Node,
    current: &Current,
    number: u64,
    mut messages: Vec<Envelope>,
) -> RingExchange {
    // Nobody looks at more; what is left out is asked again.
    messages.truncate(wire::MAX_MESSAGES);
    RingExchange {
        version: RING_VERSION,
        cluster: node.cluster.clone(),
        from: node.ordinal,
        disk: node.disk(),
        boot: node.store.boot(),
        number,
        view: current.reference,
        available: available(node),
        messages,
    }
}

/// The free space for others to know; asking the file system for every exchange
/// would cost more than the rest of it.
fn available(node: &Node) -> u64 {
    let mut known = node.told_space.lock().unwrap_or_else(|p| p.into_inner());
    match *known {
        Some((at, available)) if at.elapsed() < SPACE_EVERY => available,
        _ => {
            let available = node.store.space().available;
            *known = Some((Instant::now(), available));
            available
        }
    }
}

/// Answers a batch of another node, if it may speak here.
pub fn answer(node: &Arc<Node>, batch: RingExchange) -> Result<RingExchange, Refused> {
    let Some(current) = node.current() else {
        let why = "this node has no view yet".to_string();
        return Err(Refused::new(Reason::NoView, why));
    };
    let from = batch.from;
    let judged = node
        .ring_guard
        .admit(&node.cluster, node.ordinal, &current, Way::Request, batch);
    let theirs = match &judged {
        Ok(valid) => Some(valid.exchange().view),
        Err(refused) => refused.theirs,
    };
    if let Some(theirs) = theirs.filter(|theirs| theirs.epoch > current.reference.epoch) {
        let node = node.clone();
        node.clone()
            .workers
            .background(async move { node.reconcile_views(from, Some(theirs)).await });
    }
    let valid = judged?;
    node.peers.note(valid.exchange());
    let received = with_ring(node, |ring, now| {
        ring.receive(now, from, valid.into_messages())
    });
    if !received.actions.is_empty() {
        node.workers
            .background(send(node.clone(), received.actions));
    }
    let number = node.ring_guard.last_number(from);
    Ok(exchange(node, &current, number, received.replies))
}

/// Asks the members that nothing was heard of for the longest time for their
/// news, so that liveness, space and views are known of nodes that the ring's
/// own messages do not reach. Both sides hear of each other, so most need not ask.
#[derive(Default)]
struct Gossip {
    at: Option<Instant>,
    asked: BTreeMap<Ordinal, Instant>,
}

impl Gossip {
    fn due(&mut self, node: &Node, current: &Current) -> Vec<HostAction> {
        if self.at.is_some_and(|at| at.elapsed() < GOSSIP_EVERY) {
            return Vec::new();
        }
        let now = Instant::now();
        self.at = Some(now);
        let members = current.view.members();
        let fresh = (FRESH_EACH * members.len() as u32).clamp(*FRESH.start(), *FRESH.end());
        let mut stale: Vec<(Option<Instant>, Ordinal)> = members
            .iter()
            .map(|m| m.ordinal)
            .filter(|ordinal| *ordinal != node.ordinal)
            .map(|ordinal| {
                let heard = node.peers.heard(ordinal).map(|h| h.at);
                (heard.max(self.asked.get(&ordinal).copied()), ordinal)
            })
            .filter(|(at, _)| at.is_none_or(|at| now.duration_since(at) >= fresh))
            .collect();
        stale.sort_unstable();
        stale.dedup();
        stale.truncate(GOSSIP_AT_ONCE);
        self.asked
            .retain(|ordinal, _| members.iter().any(|m| m.ordinal == *ordinal));
        self.asked.extend(stale.iter().map(|(_, to)| (*to, now)));
        let ask = |(_, to)| HostAction::Send {
            to,
            messages: Vec::new(),
        };
        stale.into_iter().map(ask).collect()
    }
}

/// Finds the successor of an id through the ring, which begins where the view
/// says and has the last word; then the successor itself confirms it.
pub async fn lookup(node: &Arc<Node>, id: Id) -> Result<Found, LookupFailed> {
    let mut lookup = with_ring(node, |ring, _| ring.lookup_by_view(id));
    let found = loop {
        match lookup.step() {
            Next::Done(found) => break found?,
            Next::Ask(peer) => {
                let reply = question(node, with_ring(node, |ring, _| ring.ask(id, peer))).await;
                lookup.reply(peer, reply);
            }
        }
    };
    let mut confirm = Confirm::new(id, found);
    loop {
        match confirm.step() {
            NextConfirm::Done(found) => return found,
            NextConfirm::Ask(peer) if peer.ordinal == node.ordinal => {
                let own = with_ring(node, |ring, _| ring.own_state(&peer));
                confirm.reply(peer, own);
            }
            NextConfirm::Ask(peer) => {
                let reply = question(node, with_ring(node, |ring, _| ring.query(peer))).await;
                confirm.reply(peer, reply);
            }
        }
    }
}

/// Sends one question of a look-up; its reply, if there is one.
async fn question(node: &Arc<Node>, envelope: Envelope) -> Option<Message> {
    let to = envelope.to.ordinal;
    let asked = envelope.message.asks().unwrap_or_default();
    let ask_it = async |envelope| {
        tokio::time::timeout(patience(node), ask(node, to, vec![envelope]))
            .await
            .unwrap_or(Err(Failure::Silent))
    };
    let mut answer = ask_it(envelope.clone()).await;
    // Nobody there, and it is not known to be dead: it may just have moved.
    if answer == Err(Failure::Gone) && with_ring(node, |ring, _| ring.alive(to)) {
        tokio::time::sleep(MOVED).await;
        answer = ask_it(envelope).await;
    }
    match answer {
        Ok(messages) => {
            let mut messages = messages.into_iter().map(|e| e.message);
            messages.find(Message::is_reply)
        }
        Err(why) => {
            let actions = with_ring(node, |ring, now| ring.unanswered(now, to, why));
            node.workers.background(send(node.clone(), actions));
            // One that has too much to do lives; that is all it says.
            let request = asked;
            (why == Failure::Busy).then_some(Message::Busy { request })
        }
    }
}
