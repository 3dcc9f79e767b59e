//! The simulator itself: hosts, the clock, and what is under way between them.
//!
//! It runs the very code a node runs, [`Host`], behind the same kind of shell:
//! batches go out as requests, replies come back in the response, and a request
//! without a response is refused or unanswered. One seed gives one run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{DefaultHasher, Hash, Hasher};

use chord_types::{Id, Ordinal, Token};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::meter::{Meter, Traffic};
use super::network::Network;
use super::search::{Answer, Search};
use crate::host::{Config, Failure, Host, HostAction, Members};
use crate::invariant::{Ring, ring_of};
use crate::lookup::{Found, Lookup, LookupFailed, Next};
use crate::message::{Envelope, Message, Peer};

/// What an exchange is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Errand {
    /// The ring's own upkeep.
    Upkeep,
    /// The look-up with this number.
    Search(u64),
}

/// A request and its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Exchange {
    pub from: Ordinal,
    pub to: Ordinal,
    number: u64,
    errand: Errand,
    /// The start of the host that asked.
    boot: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Tick(Ordinal),
    Request(Exchange, Vec<Envelope>),
    Response(Exchange, Vec<Envelope>),
    /// The sender has waited long enough.
    Expiry(Exchange),
}

impl Happening {
    /// What goes into the trace. Not the messages: they follow from the rest, and
    /// to hash them all takes as long as to step.
    fn gist(&self) -> (u8, Option<Ordinal>, Option<Exchange>, usize) {
        match self {
            Happening::Tick(ordinal) => (0, Some(*ordinal), None, 0),
            Happening::Request(exchange, batch) => (1, None, Some(*exchange), batch.len()),
            Happening::Response(exchange, batch) => (2, None, Some(*exchange), batch.len()),
            Happening::Expiry(exchange) => (3, None, Some(*exchange), 0),
        }
    }
}

/// Many hosts and the network between them.
pub struct Sim {
    /// How messages travel.
    pub network: Network,
    /// Hosts in this set and those not in it cannot reach each other.
    pub cut_off: BTreeSet<Ordinal>,
    pub(super) random: StdRng,
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    /// At the index of their ordinal.
    hosts: Vec<Place>,
    /// The members that are alive: what a look-up is judged by.
    truth: BTreeMap<Id, Ordinal>,
    open: BTreeSet<u64>,
    exchanges: u64,
    steps: u64,
    trace: DefaultHasher,
    meter: Option<Meter>,
    pub(super) searches: BTreeMap<u64, Search>,
    pub(super) answers: Vec<Answer>,
    pub(super) next_search: u64,
}

/// A host with what outlives its process.
#[derive(Default)]
struct Place {
    /// None: never started, or crashed.
    host: Option<Box<Host>>,
    tokens: Vec<Token>,
    boot: u32,
    ticks_at: u64,
    /// It went with its machine.
    vanished: bool,
    /// Its virtual nodes that are members.
    inside: Vec<Id>,
}

impl Sim {
    /// An empty network.
    pub fn new(seed: u64, network: Network) -> Sim {
        Sim {
            network,
            cut_off: BTreeSet::new(),
            random: StdRng::seed_from_u64(seed),
            now: 0,
            order: 0,
            events: BinaryHeap::new(),
            hosts: Vec::new(),
            truth: BTreeMap::new(),
            open: BTreeSet::new(),
            exchanges: 0,
            steps: 0,
            trace: DefaultHasher::new(),
            meter: None,
            searches: BTreeMap::new(),
            answers: Vec::new(),
            next_search: 0,
        }
    }

    /// Milliseconds since the start.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Batches sent so far, responses not counted: what the ring costs.
    pub fn batches(&self) -> u64 {
        self.exchanges
    }

    /// Events so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A hash of all that happened, in order.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Counts what is sent from now on, in bytes of the real encoding.
    pub fn measure(&mut self) {
        self.meter = Some(Meter::new());
    }

    /// What was sent since [`Sim::measure`].
    pub fn traffic(&self) -> Traffic {
        self.meter.as_ref().map(Meter::traffic).unwrap_or_default()
    }

    /// Starts the process of a host, for the first time or again.
    pub fn start(
        &mut self,
        ordinal: Ordinal,
        tokens: &[Token],
        members: &Members,
        first: bool,
        tune: impl Fn(&mut Config),
    ) {
        self.crash(ordinal);
        let index = ordinal.0 as usize;
        if self.hosts.len() <= index {
            self.hosts.resize_with(index + 1, Place::default);
        }
        let place = &mut self.hosts[index];
        place.boot += 1;
        place.ticks_at = u64::MAX;
        let mut config = Config::new(place.boot, 1000);
        tune(&mut config);
        place.host = Some(Box::new(Host::new(config, ordinal)));
        self.adopt(ordinal, tokens, members, first);
    }

    /// Gives a host a new view.
    pub fn adopt(&mut self, ordinal: Ordinal, tokens: &[Token], members: &Members, first: bool) {
        let now = self.now;
        if let Some(place) = self.hosts.get_mut(ordinal.0 as usize) {
            place.tokens = tokens.to_vec();
        }
        self.with(ordinal, |host| {
            host.set_members(now, tokens, members, first)
        });
    }

    /// Ends the process of a host, without a word to anybody.
    pub fn crash(&mut self, ordinal: Ordinal) {
        self.end(ordinal, false);
    }

    /// Ends a host with its machine: it does not even refuse.
    pub fn vanish(&mut self, ordinal: Ordinal) {
        self.end(ordinal, true);
    }

    fn end(&mut self, ordinal: Ordinal, vanished: bool) {
        if let Some(place) = self.hosts.get_mut(ordinal.0 as usize) {
            place.host = None;
            place.vanished = vanished;
            place.ticks_at = u64::MAX;
            for id in place.inside.drain(..) {
                self.truth.remove(&id);
            }
        }
    }

    /// The tokens a host had last.
    pub fn tokens(&self, ordinal: Ordinal) -> Vec<Token> {
        let place = self.hosts.get(ordinal.0 as usize);
        place.map(|p| p.tokens.clone()).unwrap_or_default()
    }

    /// A host that runs.
    pub fn host(&self, ordinal: Ordinal) -> Option<&Host> {
        self.hosts.get(ordinal.0 as usize)?.host.as_deref()
    }

    /// The number of the present start of a host that runs.
    pub(super) fn boot(&self, ordinal: Ordinal) -> Option<u32> {
        let place = self.hosts.get(ordinal.0 as usize)?;
        place.host.as_ref().map(|_| place.boot)
    }

    /// All hosts that run.
    pub fn running(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter_map(|p| p.host.as_deref())
    }

    /// The members of the ring that are alive.
    pub fn ring(&self) -> Ring<'_> {
        ring_of(self.running().flat_map(Host::vnodes))
    }

    /// Who the successor of an id is, as one sees who sees all.
    pub fn true_successor(&self, id: &Id) -> Option<Peer> {
        let (id, ordinal) = self.truth.range(id..).next().or(self.truth.iter().next())?;
        Some(Peer {
            id: *id,
            ordinal: *ordinal,
        })
    }

    /// Whether all virtual nodes of all running hosts are members.
    pub fn all_inside(&self) -> bool {
        self.running().all(|h| h.vnodes().all(|v| v.is_member()))
    }

    /// Runs for some time.
    pub fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= end
        {
            let Some(Reverse((at, order, happening))) = self.events.pop() else {
                break;
            };
            self.now = at;
            self.steps += 1;
            (at, order, happening.gist()).hash(&mut self.trace);
            self.happen(happening);
        }
        self.now = end;
    }

    /// Runs until something holds, looking every second; false if it never did.
    pub fn run_until(&mut self, most_millis: u64, holds: impl Fn(&Sim) -> bool) -> bool {
        let end = self.now + most_millis;
        while !holds(self) {
            if self.now >= end {
                return false;
            }
            self.run(1000);
        }
        true
    }

    /// Looks up an id from a host, at once, by the pointers as they are now. A
    /// crashed host does not answer. Also answers how many asked did not.
    pub fn look_up(&self, from: Ordinal, id: Id) -> (Result<Found, LookupFailed>, usize) {
        match self.host(from) {
            Some(asker) => self.drive(asker.lookup(id)),
            None => (Err(LookupFailed::Nobody), 0),
        }
    }

    /// As [`Sim::look_up`], by a host that also makes use of its view.
    pub fn look_up_by_view(&self, from: Ordinal, id: Id) -> (Result<Found, LookupFailed>, usize) {
        match self.host(from) {
            Some(asker) => self.drive(asker.lookup_by_view(id)),
            None => (Err(LookupFailed::Nobody), 0),
        }
    }

    fn drive(&self, mut lookup: Lookup) -> (Result<Found, LookupFailed>, usize) {
        let id = lookup.id();
        let mut timeouts = 0;
        loop {
            match lookup.step() {
                Next::Done(end) => return (end, timeouts),
                Next::Ask(peer) => {
                    let route = self.host(peer.ordinal).and_then(|h| h.route(&id));
                    timeouts += usize::from(self.host(peer.ordinal).is_none());
                    let request = Default::default();
                    let reply = route.map(|(_, route)| Message::Route { request, route });
                    lookup.reply(peer, reply);
                }
            }
        }
    }

    pub(super) fn with(
        &mut self,
        ordinal: Ordinal,
        act: impl FnOnce(&mut Host) -> Vec<HostAction>,
    ) {
        let Some(place) = self.hosts.get_mut(ordinal.0 as usize) else {
            return;
        };
        let Some(host) = place.host.as_mut() else {
            return;
        };
        let actions = act(host);
        let inside = || host.vnodes().filter(|v| v.is_member()).map(|v| v.me().id);
        if !inside().eq(place.inside.iter().copied()) {
            for id in place.inside.drain(..) {
                self.truth.remove(&id);
            }
            place.inside.extend(inside());
            self.truth
                .extend(place.inside.iter().map(|i| (*i, ordinal)));
        }
        let next = host.next_tick().max(self.now + 1);
        let boot = place.boot;
        if next < place.ticks_at {
            place.ticks_at = next;
            self.plan(next, Happening::Tick(ordinal));
        }
        for HostAction::Send { to, messages } in actions {
            self.send(ordinal, boot, to, Errand::Upkeep, messages);
        }
    }

    /// Sends a request; answers when the sender will have waited long enough.
    pub(super) fn send(
        &mut self,
        from: Ordinal,
        boot: u32,
        to: Ordinal,
        errand: Errand,
        mut batch: Vec<Envelope>,
    ) {
        self.exchanges += 1;
        let exchange = Exchange {
            from,
            to,
            number: self.exchanges,
            errand,
            boot,
        };
        if let Some(meter) = &mut self.meter {
            meter.count(errand == Errand::Upkeep, from, &mut batch);
        }
        self.open.insert(exchange.number);
        self.plan(
            self.now + self.network.patience,
            Happening::Expiry(exchange),
        );
        self.carry(from, to, || Happening::Request(exchange, batch.clone()));
    }

    /// Puts something on the wire, whatever becomes of it there.
    fn carry(&mut self, from: Ordinal, to: Ordinal, what: impl Fn() -> Happening) {
        let apart = self.cut_off.contains(&from) != self.cut_off.contains(&to);
        for delay in self.network.arrivals(&mut self.random) {
            if !apart {
                self.plan(self.now + delay, what());
            }
        }
    }

    fn plan(&mut self, at: u64, happening: Happening) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, happening)));
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Tick(ordinal) => {
                if let Some(place) = self.hosts.get_mut(ordinal.0 as usize)
                    && place.ticks_at == now
                {
                    place.ticks_at = u64::MAX;
                    self.with(ordinal, |host| host.tick(now));
                }
            }
            Happening::Request(exchange, batch) => {
                let mut replies = None;
                self.with(exchange.to, |host| {
                    let received = host.receive(now, exchange.from, batch);
                    replies = Some(received.replies);
                    received.actions
                });
                if let Some(mut batch) = replies {
                    if let Some(meter) = &mut self.meter {
                        let upkeep = exchange.errand == Errand::Upkeep;
                        meter.count(upkeep, exchange.to, &mut batch);
                    }
                    self.carry(exchange.to, exchange.from, || {
                        Happening::Response(exchange, batch.clone())
                    });
                }
            }
            Happening::Response(exchange, batch) => {
                let awaited = self.open.remove(&exchange.number);
                match exchange.errand {
                    // Late and doubled ones, too: the core has to bear them.
                    Errand::Upkeep => {
                        self.with(exchange.from, |host| {
                            host.receive(now, exchange.to, batch).actions
                        });
                    }
                    Errand::Search(number) if awaited => {
                        let reply = batch.into_iter().map(|e| e.message);
                        self.answered(number, reply.into_iter().find(Message::is_reply));
                    }
                    Errand::Search(_) => {}
                }
            }
            Happening::Expiry(exchange) => {
                if !self.open.remove(&exchange.number) {
                    return;
                }
                if self.boot(exchange.from) == Some(exchange.boot) {
                    // A process that has crashed refuses connections; a machine that
                    // is gone, and a bad network, are silent.
                    let there = self.hosts.get(exchange.to.0 as usize);
                    let refused = there.is_some_and(|p| p.host.is_none() && !p.vanished);
                    let why = if refused {
                        Failure::Gone
                    } else {
                        Failure::Silent
                    };
                    self.with(exchange.from, |host| host.unanswered(now, exchange.to, why));
                }
                if let Errand::Search(number) = exchange.errand {
                    self.answered(number, None);
                }
            }
        }
    }
}
