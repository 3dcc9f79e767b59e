//! All virtual nodes of one storage node: timing, liveness, membership, and one
//! batch of messages for each other host.
//!
//! Still sans-IO: the shell calls in with the time in milliseconds, on any
//! monotonic scale, and sends what it is told to. Replies to a batch go back in
//! the response. Rounds come at the stabilise period and, while nothing changes,
//! more and more rarely, since many tokens on many hosts have to stay cheap; any
//! change brings them back.

mod exchange;
mod liveness;
mod members;
mod outside;
mod probes;
mod rounds;
mod routing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use chord_types::{Id, Ordinal, Token};

pub use self::liveness::{Failure, Liveness};
pub use self::members::Members;
use self::outside::Outside;
use crate::lookup::Lookup;
use crate::message::{Envelope, Peer, RequestId};
use crate::vnode::rules::Rules;
use crate::vnode::{Event, Vnode, Who};

/// How a host behaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// The rules of each virtual node.
    pub rules: Rules,
    /// The period of rounds.
    pub stabilize_ms: u64,
    /// Quiet rounds are up to this many times rarer.
    pub backoff: u64,
    /// After this long without a reply a request has failed.
    pub request_timeout_ms: u64,
    /// A host that refuses requests for this long is dead; a silent one later.
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
            rules: Rules::new(6, 16, boot),
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
        /// The host to send to.
        to: Ordinal,
        /// The batch.
        messages: Vec<Envelope>,
    },
}

/// What comes of a batch received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Received {
    /// For the response; empty when the batch was itself a response.
    pub replies: Vec<Envelope>,
    /// What to do next.
    pub actions: Vec<HostAction>,
}

/// Envelopes taken from one batch; honest ones are far smaller.
pub const MOST_ENVELOPES: usize = 4096;

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
    probes: probes::Probes,
    /// The latest time that was told.
    now: u64,
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
            probes: probes::Probes::default(),
            now: 0,
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
        let now = self.awake(now);
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
        let now = self.awake(now);
        self.expire(now);
        self.probe(now);
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
        let due = self.rounds.at().min(self.probes.at());
        // While answers are awaited it looks at the clock more often, to notice
        // that it was not run.
        let awaits = !self.lookups.is_empty() || self.slots.iter().any(|s| !s.waiting.is_empty());
        let look = self.now.saturating_add(self.config.stabilize_ms);
        let due = if awaits { due.min(look) } else { due };
        slots.chain(lookups).fold(due, u64::min)
    }

    /// Takes a batch from a host: a request, or the response to one.
    pub fn receive(&mut self, now: u64, from: Ordinal, batch: Vec<Envelope>) -> Received {
        let now = self.awake(now);
        self.alive_after_all(now, from);
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

    /// A request to a host failed, nobody knows how.
    pub fn unreachable(&mut self, now: u64, ordinal: Ordinal) -> Vec<HostAction> {
        self.unanswered(now, ordinal, Failure::Silent)
    }

    /// A request to a host failed. A late answer may still come.
    pub fn unanswered(&mut self, now: u64, ordinal: Ordinal, why: Failure) -> Vec<HostAction> {
        let now = self.awake(now);
        if why == Failure::Busy {
            self.alive_after_all(now, ordinal);
        }
        self.failed(now, ordinal, why);
        self.flush(now)
    }

    /// A host showed signs of life outside the ring, such as answering a data request.
    pub fn heard(&mut self, now: u64, ordinal: Ordinal) {
        let now = self.awake(now);
        self.alive_after_all(now, ordinal);
    }

    fn alive_after_all(&mut self, now: u64, ordinal: Ordinal) {
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

    /// Whether at least one virtual node is in the ring.
    pub fn is_inside(&self) -> bool {
        matches!(self.phase, Phase::Inside { .. })
    }

    /// Its virtual nodes, in order of their ids.
    pub fn vnodes(&self) -> impl Iterator<Item = &Vnode> {
        self.slots.iter().map(|s| &s.vnode)
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
