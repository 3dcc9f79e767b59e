//! All virtual nodes of one storage node: timing, liveness, membership, and one
//! batch of messages for each other host.
//!
//! Still sans-IO: the shell calls in with the time in milliseconds, on any
//! monotonic scale, and sends what it is told to. Replies to a batch go back in
//! the response. Rounds come at the stabilise period and, while nothing changes,
//! more and more rarely, since many tokens on many hosts have to stay cheap; any
//! change brings them back.

mod liveness;
mod members;
mod outside;
mod rounds;

use std::collections::{BTreeMap, VecDeque};

use chord_api::http::{RingPeer, RingState, VnodeState};
use chord_api::{Epoch, Id, Ordinal, Token};

pub use self::liveness::Liveness;
pub use self::members::Members;
use self::outside::{Outside, Verdict};
use super::circle::{distance, octave, within};
use super::core::{Action, Event, Note, Rules, Vnode, Who};
use super::lookup::{Lookup, Next};
use super::message::{Envelope, Message, Peer, RequestId, Route, Standing};

/// How a host behaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    pub rules: Rules,
    /// The period of rounds.
    pub stabilize_ms: u64,
    /// Quiet rounds are up to this many times rarer.
    pub backoff: u64,
    /// After this long without a reply a request has failed.
    pub request_timeout_ms: u64,
    /// A host whose requests fail for this long is dead.
    pub dead_after_ms: u64,
    /// Fingers looked up in one round.
    pub finger_lookups: usize,
    /// Members tried in one round that the view has and the ring lacks.
    pub hint_probes: usize,
}

impl Config {
    /// What a node runs with. `boot` grows with every start.
    pub fn new(boot: u32, stabilize_ms: u64) -> Config {
        let stabilize_ms = stabilize_ms.max(10);
        Config {
            rules: Rules {
                successors: 6,
                list_cap: 16,
                boot,
                request_ids: 1 << 31,
            },
            stabilize_ms,
            backoff: 8,
            request_timeout_ms: stabilize_ms.saturating_mul(4),
            dead_after_ms: stabilize_ms.saturating_mul(2),
            finger_lookups: 4,
            hint_probes: 2,
        }
    }
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostAction {
    /// POST this batch to a host: its response goes to [`Host::receive`], a
    /// failure to [`Host::unreachable`].
    Send {
        to: Ordinal,
        messages: Vec<Envelope>,
    },
}

/// What comes of a batch received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Received {
    /// For the response; empty when the batch was itself a response.
    pub replies: Vec<Envelope>,
    pub actions: Vec<HostAction>,
}

/// Envelopes taken from one batch; honest ones are far smaller.
const MOST_ENVELOPES: usize = 4096;
/// Candidates in an answer to a look-up.
const CANDIDATES: usize = 4;
/// Marks the request ids of the host apart from those of its virtual nodes.
const HOST_REQUEST: u32 = 1 << 31;

/// The ring as one storage node runs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    config: Config,
    ordinal: Ordinal,
    members: Members,
    /// In order of their ids.
    slots: Vec<Slot>,
    phase: Phase,
    liveness: Liveness,
    lookups: BTreeMap<RequestId, Running>,
    next_request: u32,
    rounds: rounds::Rounds,
    /// Messages to send, by destination; empty between calls.
    outbox: BTreeMap<Ordinal, Vec<Envelope>>,
    replies: Vec<Envelope>,
    local: VecDeque<Envelope>,
}

/// A virtual node with its timing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Slot {
    vnode: Vnode,
    /// The finger bit to look up next.
    finger: u8,
    retry_at: Option<u64>,
    retries: u32,
    /// Requests on their way to other hosts, and when they have failed.
    waiting: Vec<(RequestId, Ordinal, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Not told who the members are.
    Waiting,
    /// In no ring.
    Outside(Outside),
    /// At least one virtual node is a member. Until `forming` the ring is a
    /// fresh one that others may start in, too.
    Inside { forming: u64 },
}

/// A look-up of the host's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Running {
    lookup: Lookup,
    /// The virtual node it is for, and the finger bit; without, it is to join.
    vnode: Id,
    bit: Option<u8>,
    asked: Peer,
    fails_at: u64,
}

impl Host {
    /// A host that knows nothing yet.
    pub fn new(config: Config, ordinal: Ordinal) -> Host {
        Host {
            liveness: Liveness::new(config.dead_after_ms),
            config,
            ordinal,
            members: Members::new(Vec::new()),
            slots: Vec::new(),
            phase: Phase::Waiting,
            lookups: BTreeMap::new(),
            next_request: 0,
            rounds: rounds::Rounds::default(),
            outbox: BTreeMap::new(),
            replies: Vec::new(),
            local: VecDeque::new(),
        }
    }

    /// Takes in who the members are. `first`: the view is the first of a new
    /// cluster, adopted just now on a fresh disk, so all start together; never
    /// after a restart.
    ///
    /// Tokens that are new here join the ring, tokens that are gone stop, and
    /// hosts that are members no more are dead for the ring.
    pub fn set_members(
        &mut self,
        now: u64,
        mine: &[Token],
        all: &Members,
        first: bool,
    ) -> Vec<HostAction> {
        let old = std::mem::replace(&mut self.members, all.clone());
        let gone: Vec<Ordinal> = old
            .hosts()
            .iter()
            .map(|p| p.ordinal)
            .filter(|o| !all.has(*o) && *o != self.ordinal)
            .collect();
        self.liveness.retain(|o| all.has(o));
        let mut tokens: Vec<Id> = mine.iter().map(Token::id).collect();
        tokens.sort_unstable();
        tokens.dedup();
        self.slots
            .retain(|s| tokens.binary_search(&s.vnode.me().id).is_ok());
        for id in tokens {
            if let Err(place) = self.slots.binary_search_by_key(&id, |s| s.vnode.me().id) {
                self.slots.insert(
                    place,
                    Slot::new(Vnode::joining(Peer {
                        id,
                        ordinal: self.ordinal,
                    })),
                );
            }
        }
        if let Phase::Outside(outside) = &mut self.phase {
            gone.iter().for_each(|o| outside.lost(*o));
        }
        match &self.phase {
            Phase::Waiting if first && !self.slots.is_empty() => self.form(now),
            Phase::Waiting => self.phase = Phase::Outside(Outside::default()),
            _ => self.settle_phase(),
        }
        for ordinal in gone {
            self.each(now, &Event::Dead(Who::Host(ordinal)));
        }
        self.rounds.hurry(now, 0);
        self.flush(now)
    }

    /// Does what is due. To be called at [`Host::next_tick`], or at any time.
    pub fn tick(&mut self, now: u64) -> Vec<HostAction> {
        self.expire(now);
        self.run_due(now);
        self.flush(now)
    }

    /// When the next [`Host::tick`] has something to do.
    pub fn next_tick(&self) -> u64 {
        let slots = self
            .slots
            .iter()
            .flat_map(|s| s.retry_at.into_iter().chain(s.waiting.iter().map(|w| w.2)));
        let lookups = self.lookups.values().map(|r| r.fails_at);
        slots.chain(lookups).fold(self.rounds.at(), u64::min)
    }

    /// Takes a batch from a host: a request, or the response to one.
    pub fn receive(&mut self, now: u64, from: Ordinal, batch: Vec<Envelope>) -> Received {
        if self.liveness.heard(now, from) {
            self.rounds.hurry(now, self.config.stabilize_ms);
        }
        for envelope in batch.into_iter().take(MOST_ENVELOPES) {
            if envelope.from.ordinal == from && envelope.to.ordinal == self.ordinal {
                self.deliver(now, envelope);
                self.drain_local(now);
            }
        }
        let actions = self.flush(now);
        let mut replies = std::mem::take(&mut self.replies);
        replies.retain(|e| e.to.ordinal == from);
        Received { replies, actions }
    }

    /// A request to a host failed: refused, timed out, or answered with rubbish.
    pub fn unreachable(&mut self, now: u64, ordinal: Ordinal) -> Vec<HostAction> {
        self.failed(now, ordinal);
        self.flush(now)
    }

    /// A host showed signs of life outside the ring, such as answering a data request.
    pub fn heard(&mut self, now: u64, ordinal: Ordinal) {
        if self.liveness.heard(now, ordinal) {
            self.rounds.hurry(now, self.config.stabilize_ms);
        }
    }

    /// Whether a host is not known to be dead.
    pub fn alive(&self, ordinal: Ordinal) -> bool {
        ordinal == self.ordinal || self.liveness.alive(ordinal)
    }

    /// When a host was last heard.
    pub fn last_heard(&self, ordinal: Ordinal) -> Option<u64> {
        self.liveness.last_heard(ordinal)
    }

    /// Starts a look-up, for the shell to drive with [`Host::ask`].
    pub fn lookup(&self, id: Id) -> Lookup {
        Lookup::start(self.ordinal, id, self.route(&id))
    }

    /// The message that asks `peer` for the next step of a look-up. Its reply
    /// goes to [`Lookup::reply`], the peer's silence there, too.
    pub fn ask(&self, id: Id, peer: Peer) -> Envelope {
        let request = RequestId::default();
        Envelope {
            from: self.speaker(),
            to: peer,
            message: Message::FindSuccessor { request, id },
        }
    }

    /// One step of a look-up as this host knows it: the virtual node that
    /// answers, and its answer. None when it is in no ring.
    pub fn route(&self, id: &Id) -> Option<(Peer, Route)> {
        let members = || {
            self.slots
                .iter()
                .map(|s| &s.vnode)
                .filter(|v| v.is_member())
        };
        let after = members().min_by_key(|v| distance(id, &v.me().id))?;
        let owns = after.me().id == *id
            || after
                .pred()
                .is_some_and(|p| within(&p.id, id, &after.me().id));
        if owns {
            let before = after.pred().unwrap_or(after.me());
            let list = std::iter::once(after.me()).chain(after.successors().iter().copied());
            return Some((
                after.me(),
                Route::Found {
                    before,
                    successors: self.live(list),
                },
            ));
        }
        let at = members().min_by_key(|v| distance(&v.me().id, id))?;
        let first = *at.successors().first()?;
        if within(&at.me().id, id, &first.id) {
            let successors = self.live(at.successors().iter().copied());
            return Some((
                at.me(),
                Route::Found {
                    before: at.me(),
                    successors,
                },
            ));
        }
        // The nearest few on different hosts, and the safe steps last: with half
        // of all hosts dead the list still leads on.
        let mut best: Vec<([u8; 20], Peer)> = Vec::with_capacity(CANDIDATES + 2);
        for peer in members().flat_map(|v| v.successors().iter().chain(v.fingers())) {
            let far = distance(&peer.id, id);
            let worst = best
                .last()
                .filter(|_| best.len() == CANDIDATES)
                .map(|w| w.0);
            if worst.is_some_and(|w| far >= w)
                || !peer.id.between(&at.me().id, id)
                || peer.ordinal == self.ordinal
                || !self.alive(peer.ordinal)
            {
                continue;
            }
            match best.iter().position(|(_, b)| b.ordinal == peer.ordinal) {
                Some(same) if best[same].0 <= far => continue,
                Some(same) => drop(best.remove(same)),
                None => {}
            }
            best.insert(best.partition_point(|(b, _)| *b < far), (far, *peer));
            best.truncate(CANDIDATES);
        }
        let mut candidates: Vec<Peer> = best.into_iter().map(|(_, p)| p).collect();
        let past = at
            .successors()
            .iter()
            .position(|p| !p.id.between(&at.me().id, id));
        let (before, beyond) = at
            .successors()
            .split_at(past.unwrap_or(at.successors().len()));
        for peer in before {
            if !candidates.contains(peer) {
                candidates.push(*peer);
            }
        }
        Some((
            at.me(),
            Route::Nearer {
                at: at.me(),
                candidates,
                beyond: self.live(beyond.iter().copied()),
            },
        ))
    }

    /// The best virtual node known before an id, this host's own among them.
    pub fn closest_preceding(&self, id: &Id) -> Option<Peer> {
        match self.route(id)? {
            (_, Route::Found { before, .. }) => Some(before),
            (at, Route::Nearer { candidates, .. }) => {
                Some(candidates.first().copied().unwrap_or(at))
            }
        }
    }

    /// Whether at least one virtual node is in the ring.
    pub fn is_inside(&self) -> bool {
        matches!(self.phase, Phase::Inside { .. })
    }

    /// Its virtual nodes, in order of their ids.
    pub fn vnodes(&self) -> impl Iterator<Item = &Vnode> {
        self.slots.iter().map(|s| &s.vnode)
    }

    /// The pointers as `GET /ring` shows them.
    pub fn snapshot(&self, epoch: Option<Epoch>, name: impl Fn(Ordinal) -> String) -> RingState {
        let peer = |p: &Peer| RingPeer {
            id: p.id.to_string(),
            node: name(p.ordinal),
        };
        let vnode = |v: &Vnode| VnodeState {
            id: v.me().id.to_string(),
            state: if v.is_member() { "member" } else { "joining" }.to_string(),
            predecessor: v.pred().as_ref().map(peer),
            successors: v.successors().iter().map(peer).collect(),
            fingers: v.fingers().map(peer).collect(),
        };
        RingState {
            node: name(self.ordinal),
            epoch,
            vnodes: self.vnodes().map(vnode).collect(),
        }
    }

    fn live(&self, list: impl Iterator<Item = Peer>) -> Vec<Peer> {
        list.filter(|p| self.alive(p.ordinal)).collect()
    }

    /// Who speaks when it is the host that has something to say.
    fn speaker(&self) -> Peer {
        let nobody = Peer {
            id: Id([0; 20]),
            ordinal: self.ordinal,
        };
        self.slots.first().map_or(nobody, |s| s.vnode.me())
    }

    fn slot(&self, id: &Id) -> Option<usize> {
        self.slots
            .binary_search_by_key(id, |s| s.vnode.me().id)
            .ok()
    }

    fn deliver(&mut self, now: u64, envelope: Envelope) {
        let Envelope { from, to, message } = envelope;
        let answer = |message| Envelope {
            from: to,
            to: from,
            message,
        };
        match message {
            Message::Hail { request } => {
                let standing = self.standing(now);
                self.post(answer(Message::Hailed { request, standing }));
            }
            Message::Hailed { standing, .. } => {
                if let Phase::Outside(outside) = &mut self.phase {
                    outside.heard(from.ordinal, standing, &self.members);
                    self.get_inside(now);
                }
            }
            Message::FindSuccessor { request, id } => {
                let message = match self.route(&id) {
                    Some((_, route)) => Message::Route { request, route },
                    None => Message::Busy { request },
                };
                self.post(answer(message));
            }
            message => {
                if let Some(request) = message.answers()
                    && let Some(running) = self.lookups.remove(&request)
                {
                    if running.asked == from {
                        self.advance(now, running, Some(message));
                    } else {
                        self.lookups.insert(request, running);
                    }
                } else if let (Some(request), Some(reply)) = (message.asks(), self.evasion(&to)) {
                    self.post(answer(reply(request)));
                } else if let Some(index) = self.slot(&to.id) {
                    self.apply(now, index, Event::Message { from, message });
                }
            }
        }
    }

    /// How a request to a virtual node is answered that cannot answer itself.
    fn evasion(&self, to: &Peer) -> Option<fn(RequestId) -> Message> {
        let busy: fn(RequestId) -> Message = |request| Message::Busy { request };
        let gone: fn(RequestId) -> Message = |request| Message::Gone { request };
        match &self.phase {
            Phase::Waiting => Some(busy),
            Phase::Outside(outside) if !self.slots.is_empty() && !outside.knows_a_ring() => {
                Some(busy)
            }
            _ => self.slot(&to.id).is_none().then_some(gone),
        }
    }

    fn standing(&self, now: u64) -> Standing {
        match self.phase {
            Phase::Inside { forming } if now < forming => Standing::Forming {
                members: self.members.digest(),
            },
            Phase::Inside { .. } => Standing::Member,
            Phase::Waiting | Phase::Outside(_) => Standing::Outside,
        }
    }

    fn form(&mut self, now: u64) {
        for slot in &mut self.slots {
            *slot = Slot::new(Vnode::ideal(
                &self.config.rules,
                slot.vnode.me(),
                self.members.peers(),
            ));
        }
        self.lookups.clear();
        self.phase = Phase::Inside {
            forming: now.saturating_add(self.config.stabilize_ms.saturating_mul(10)),
        };
        self.rounds.hurry(now, self.config.stabilize_ms);
    }

    fn settle_phase(&mut self) {
        let inside = self.slots.iter().any(|s| s.vnode.is_member());
        match self.phase {
            Phase::Inside { .. } if !inside => self.phase = Phase::Outside(Outside::default()),
            Phase::Outside(_) if inside => self.phase = Phase::Inside { forming: 0 },
            _ => {}
        }
    }

    fn get_inside(&mut self, now: u64) {
        let Phase::Outside(outside) = &self.phase else {
            return;
        };
        if self.slots.is_empty() {
            return;
        }
        match outside.verdict(&self.members) {
            Verdict::Wait => {}
            Verdict::Form => self.form(now),
            Verdict::Join(at) => {
                for index in 0..self.slots.len() {
                    self.join(now, index, Some(&at));
                }
            }
        }
    }

    /// Gives one event to all virtual nodes.
    fn each(&mut self, now: u64, event: &Event) {
        for index in 0..self.slots.len() {
            self.apply(now, index, event.clone());
        }
    }

    fn apply(&mut self, now: u64, index: usize, event: Event) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let me = slot.vnode.me();
        let fails_at = now.saturating_add(self.config.request_timeout_ms);
        let mut out = Vec::new();
        let mut after = Vec::new();
        for action in slot.vnode.step(&self.config.rules, event) {
            match action {
                Action::Send { to, message } => {
                    if let Some(request) = message.asks().filter(|_| to.ordinal != self.ordinal) {
                        slot.waiting.push((request, to.ordinal, fails_at));
                    }
                    out.push(Envelope {
                        from: me,
                        to,
                        message,
                    });
                }
                Action::Note(note) => after.push(note),
            }
        }
        let vnode = &slot.vnode;
        slot.waiting.retain(|(request, ..)| vnode.awaits(*request));
        out.into_iter().for_each(|e| self.post(e));
        for note in after {
            match note {
                Note::Changed => self.rounds.hurry(now, self.config.stabilize_ms),
                Note::Retry => self.retry(now, index),
                Note::Joined => {
                    self.settle_phase();
                    self.rounds.hurry(now, self.config.stabilize_ms);
                    self.apply(now, index, Event::Stabilize);
                }
                Note::Lost => {
                    self.settle_phase();
                    self.rounds.hurry(now, self.config.stabilize_ms / 8);
                }
            }
        }
    }

    fn failed(&mut self, now: u64, ordinal: Ordinal) {
        if ordinal == self.ordinal {
            return;
        }
        let known = self.liveness.alive(ordinal);
        let dead = self.liveness.missed(now, ordinal);
        if known {
            self.rounds.hurry(now, self.config.stabilize_ms);
        }
        if let Phase::Outside(outside) = &mut self.phase {
            outside.lost(ordinal);
        }
        let event = if dead {
            Event::Dead(Who::Host(ordinal))
        } else {
            Event::Unanswered(ordinal)
        };
        self.each(now, &event);
        let asked = |r: &Running| r.asked.ordinal == ordinal;
        let stuck: Vec<RequestId> = self
            .lookups
            .iter()
            .filter(|(_, r)| asked(r))
            .map(|(k, _)| *k)
            .collect();
        for request in stuck {
            if let Some(running) = self.lookups.remove(&request) {
                self.advance(now, running, None);
            }
        }
    }

    /// Takes a look-up of the host's own one step on.
    fn advance(&mut self, now: u64, mut running: Running, reply: Option<Message>) {
        running.lookup.reply(running.asked, reply);
        self.drive(now, running);
    }

    fn drive(&mut self, now: u64, mut running: Running) {
        let Some(index) = self.slot(&running.vnode) else {
            return;
        };
        loop {
            match running.lookup.step() {
                Next::Ask(peer) if !self.alive(peer.ordinal) => {}
                Next::Ask(peer) => {
                    let request = self.request();
                    let from = self.slots[index].vnode.me();
                    let message = Message::FindSuccessor {
                        request,
                        id: running.lookup.id(),
                    };
                    self.post(Envelope {
                        from,
                        to: peer,
                        message,
                    });
                    running.asked = peer;
                    running.fails_at = now.saturating_add(self.config.request_timeout_ms);
                    self.lookups.insert(request, running);
                    return;
                }
                Next::Done(outcome) => {
                    let event = outcome.ok().and_then(|found| {
                        let mut list = std::iter::once(found.successor).chain(found.others);
                        match running.bit {
                            None => Some(Event::Join { via: found.before }),
                            Some(bit) => list
                                .find(|p| self.alive(p.ordinal))
                                .map(|found| Event::Finger { bit, found }),
                        }
                    });
                    if let Some(event) = event {
                        if let Event::Finger { bit, found } = &event {
                            let slot = &mut self.slots[index];
                            let settled =
                                octave(&slot.vnode.me().id, &found.id).filter(|o| o >= bit);
                            slot.finger = settled.map_or(160, |o| o + 1);
                        }
                        self.apply(now, index, event);
                    }
                    return;
                }
            }
        }
    }

    fn request(&mut self) -> RequestId {
        let number = self.next_request | HOST_REQUEST;
        self.next_request = (self.next_request + 1) % HOST_REQUEST;
        RequestId(u64::from(self.config.rules.boot) << 32 | u64::from(number))
    }

    fn post(&mut self, envelope: Envelope) {
        if envelope.to.ordinal == self.ordinal {
            self.local.push_back(envelope);
        } else if envelope.message.is_reply() {
            self.replies.push(envelope);
        } else {
            self.outbox
                .entry(envelope.to.ordinal)
                .or_default()
                .push(envelope);
        }
    }

    /// Messages between virtual nodes of this host. Every exchange is finite;
    /// the budget is for what nobody thought of, and drops, which is harmless.
    fn drain_local(&mut self, now: u64) {
        let mut budget = 1000 + 64 * self.slots.len();
        while let Some(envelope) = self.local.pop_front() {
            if budget > 0 {
                budget -= 1;
                self.deliver(now, envelope);
            }
        }
    }

    fn flush(&mut self, now: u64) -> Vec<HostAction> {
        self.drain_local(now);
        let outbox = std::mem::take(&mut self.outbox);
        outbox
            .into_iter()
            .map(|(to, messages)| HostAction::Send { to, messages })
            .collect()
    }
}

impl Slot {
    fn new(vnode: Vnode) -> Slot {
        Slot {
            vnode,
            finger: 0,
            retry_at: None,
            retries: 0,
            waiting: Vec::new(),
        }
    }
}
