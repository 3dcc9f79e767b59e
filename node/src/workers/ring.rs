//! The ring's shell: carries the messages of [`crate::ring`] over HTTP, tells it
//! who the members are, and lets news of views and disks ride along.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord_api::{Id, Ordinal};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::node::{Current, Node};
use crate::peer::client::PeerError;
use crate::peer::ring::{self as wire, Reason, Refused, Valid, Way};
use crate::peer::wire::{RING_VERSION, Refusal, RingExchange};
use crate::ring::host::Members;
use crate::ring::{
    Confirm, Envelope, Found, Host, HostAction, LookupFailed, Message, Next, NextConfirm,
};

const NAME: &str = "ring";
/// The longest sleep between two ticks; short, so that time does what it should.
const LONGEST: Duration = Duration::from_millis(500);
/// How often members are asked for news that the ring itself does not carry.
const GOSSIP_EVERY: Duration = Duration::from_secs(2);
/// Members that are asked at a time.
const GOSSIP_AT_ONCE: usize = 8;

fn with_ring<T>(node: &Node, work: impl FnOnce(&mut Host, u64) -> T) -> T {
    let now = node.started.elapsed().as_millis() as u64;
    work(
        &mut node.ring.lock().unwrap_or_else(|p| p.into_inner()),
        now,
    )
}

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    let mut view = node.watch_view();
    // A view that was on the disk already is not the first: the node joins anew.
    let mut fresh = node.current().is_none();
    let mut gossiped = Instant::now() - GOSSIP_EVERY;
    let mut turn = 0usize;
    loop {
        let latest = view.borrow_and_update().clone();
        if let Some(current) = latest {
            let first = fresh && current.reference.epoch.0 == 1;
            let mine: Vec<_> = current
                .view
                .members()
                .into_iter()
                .filter(|m| m.disk == node.disk())
                .flat_map(|m| m.tokens.clone())
                .collect();
            let members = Members::of_view(&current.view);
            let actions = with_ring(&node, |ring, now| {
                ring.set_members(now, &mine, &members, first)
            });
            fresh = false;
            send(&node, &current, actions).await;
            node.workers
                .say(NAME, "working", format!("{} virtual nodes", mine.len()));
        }
        let Some(current) = node.current() else {
            node.workers.say(NAME, "waiting", "for a view");
            if view.changed().await.is_err() {
                return;
            }
            continue;
        };
        let actions = with_ring(&node, Host::tick);
        send(&node, &current, actions).await;
        if gossiped.elapsed() >= GOSSIP_EVERY {
            gossiped = Instant::now();
            gossip(&node, &current, &mut turn).await;
        }
        let next = with_ring(&node, |ring, now| ring.next_tick().saturating_sub(now));
        let wait = Duration::from_millis(next.max(50)).min(LONGEST);
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What this node says; `number` is 0 in a response.
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
        available: node.store.space().available,
        messages,
    }
}

/// Asks a node; what comes back has been judged.
async fn ask(
    node: &Arc<Node>,
    current: &Current,
    to: Ordinal,
    messages: Vec<Envelope>,
) -> Result<Valid, PeerError> {
    let number = node.ring_guard.number(to);
    let sent = exchange(node, current, number, messages);
    let bytes = match node.peers.ring(to, &sent).await {
        Err(PeerError::Refused(to, Refusal::OtherView(Some(theirs)))) => {
            node.reconcile_views(to, Some(theirs)).await;
            return Err(PeerError::Refused(to, Refusal::OtherView(Some(theirs))));
        }
        other => other?,
    };
    // It may have been given another view meanwhile.
    let Some(current) = node.current() else {
        return Err(PeerError::Unreadable(
            to,
            "there is no view any more".into(),
        ));
    };
    let judged = wire::decode(&bytes).and_then(|answer| {
        let way = Way::Response(to);
        node.ring_guard
            .admit(&node.cluster, node.ordinal, &current, way, answer)
    });
    let theirs = match &judged {
        Ok(valid) => Some(valid.exchange().view),
        Err(refused) => {
            node.ring_guard
                .count(refused, &format!("node {to}'s answer"));
            refused.theirs
        }
    };
    if let Some(theirs) = theirs.filter(|theirs| *theirs != current.reference) {
        node.reconcile_views(to, Some(theirs)).await;
    }
    let valid = judged.map_err(|refused| PeerError::Unreadable(to, refused.to_string()))?;
    node.peers.note(valid.exchange());
    Ok(valid)
}

/// Carries batches out, and what comes of their answers, until nothing is left
/// or enough has been said for one tick.
async fn send(node: &Arc<Node>, current: &Current, actions: Vec<HostAction>) {
    let mut actions = actions;
    for _ in 0..4 {
        if actions.is_empty() {
            return;
        }
        let mut sent: FuturesUnordered<_> = actions
            .into_iter()
            .map(|HostAction::Send { to, messages }| one(node, current, to, messages))
            .collect();
        actions = Vec::new();
        while let Some(more) = sent.next().await {
            actions.extend(more);
        }
    }
    // What is left waits for the time-outs of the ring itself.
    for HostAction::Send { to, .. } in actions {
        tracing::trace!(to = to.0, "a batch is left for later");
    }
}

async fn one(
    node: &Arc<Node>,
    current: &Current,
    to: Ordinal,
    messages: Vec<Envelope>,
) -> Vec<HostAction> {
    match ask(node, current, to, messages).await {
        Ok(answer) => {
            with_ring(node, |ring, now| {
                ring.receive(now, to, answer.into_messages())
            })
            .actions
        }
        // It lives, and one of the two views is old.
        Err(PeerError::Refused(_, Refusal::OtherView(Some(_)))) => {
            with_ring(node, |ring, now| ring.receive(now, to, Vec::new())).actions
        }
        Err(error) => {
            tracing::trace!(%error, "the ring cannot reach a node");
            with_ring(node, |ring, now| ring.unreachable(now, to))
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
        let (node, current) = (node.clone(), current.clone());
        node.clone()
            .workers
            .background(async move { send(&node, &current, received.actions).await });
    }
    Ok(exchange(node, &current, 0, received.replies))
}

/// Asks some members in turn for their news, so that liveness, space and views
/// are known of nodes that the ring's own messages do not reach.
async fn gossip(node: &Arc<Node>, current: &Current, turn: &mut usize) {
    let members: BTreeMap<Ordinal, _> = current
        .view
        .members()
        .into_iter()
        .filter(|m| m.disk != node.disk())
        .map(|m| (m.ordinal, m.disk))
        .collect();
    let all: Vec<Ordinal> = members.into_keys().collect();
    if all.is_empty() {
        return;
    }
    let some: Vec<Ordinal> = (0..all.len().min(GOSSIP_AT_ONCE))
        .map(|i| all[(*turn + i) % all.len()])
        .collect();
    *turn = (*turn + some.len()) % all.len();
    let mut asked: FuturesUnordered<_> = some
        .into_iter()
        .map(|to| one(node, current, to, Vec::new()))
        .collect();
    while let Some(actions) = asked.next().await {
        if !actions.is_empty() {
            send(node, current, actions).await;
        }
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
    let current = node.current()?;
    let to = envelope.to.ordinal;
    match ask(node, &current, to, vec![envelope]).await {
        Ok(answer) => {
            let mut messages = answer.into_messages().into_iter().map(|e| e.message);
            messages.find(Message::is_reply)
        }
        Err(PeerError::Refused(_, Refusal::OtherView(Some(_)))) => None,
        Err(_) => {
            with_ring(node, |ring, now| ring.unreachable(now, to));
            None
        }
    }
}
