//! A deterministic simulator of the ring: many hosts, virtual time, and a
//! network that delays, loses, doubles and reorders.
//!
//! It runs the very code a node runs, [`Host`], behind the same kind of shell:
//! batches go out as requests, replies come back in the response, and a request
//! without a response makes its host unreachable. One seed gives one run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{DefaultHasher, Hash, Hasher};

use chord_api::{Ordinal, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::host::{Config, Host, HostAction, Members};
use super::invariant::{Ring, ring_of};
use super::lookup::{LookupFailed, Next};
use super::message::{Envelope, Peer};

/// How the network behaves. Times in milliseconds, shares from 0 to 1.
#[derive(Clone, Debug)]
pub struct Network {
    pub latency: std::ops::Range<u64>,
    /// Share of requests, and of responses, that get lost.
    pub loss: f64,
    /// Share that arrives twice.
    pub doubled: f64,
    /// Share that takes longer than the sender waits.
    pub late: f64,
}

impl Network {
    /// Delays and reorders, and that is all.
    pub fn calm() -> Network {
        Network {
            latency: 1..20,
            loss: 0.0,
            doubled: 0.0,
            late: 0.0,
        }
    }

    /// Loses, doubles and holds back.
    pub fn rough() -> Network {
        Network {
            latency: 1..200,
            loss: 0.1,
            doubled: 0.1,
            late: 0.05,
        }
    }
}

/// After this long a sender takes a request for failed.
const SENDER_WAITS: u64 = 2_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Happening {
    Tick(Ordinal),
    Request {
        from: Ordinal,
        to: Ordinal,
        exchange: u64,
        batch: Vec<Envelope>,
    },
    Response {
        from: Ordinal,
        to: Ordinal,
        exchange: u64,
        batch: Vec<Envelope>,
    },
    /// The sender has waited long enough.
    Expiry {
        from: Ordinal,
        to: Ordinal,
        exchange: u64,
        boot: u32,
    },
}

/// Many hosts and the network between them.
pub struct Sim {
    pub network: Network,
    /// Pairs of sides that cannot reach each other: hosts in this set and those not.
    pub cut_off: BTreeSet<Ordinal>,
    random: StdRng,
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    hosts: BTreeMap<Ordinal, Place>,
    open: BTreeSet<u64>,
    exchanges: u64,
    batches: u64,
    trace: DefaultHasher,
}

/// A host with what outlives its process.
struct Place {
    /// None: crashed.
    host: Option<Host>,
    tokens: Vec<Token>,
    boot: u32,
    ticks_at: u64,
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
            hosts: BTreeMap::new(),
            open: BTreeSet::new(),
            exchanges: 0,
            batches: 0,
            trace: DefaultHasher::new(),
        }
    }

    /// Milliseconds since the start.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Batches sent so far: what the ring costs.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// A hash of all that happened, in order.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
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
        let boot = self.hosts.get(&ordinal).map_or(1, |p| p.boot + 1);
        let mut config = Config::new(boot, 1000);
        tune(&mut config);
        let host = Some(Host::new(config, ordinal));
        self.hosts.insert(
            ordinal,
            Place {
                host,
                tokens: tokens.to_vec(),
                boot,
                ticks_at: u64::MAX,
            },
        );
        self.adopt(ordinal, tokens, members, first);
    }

    /// Gives a host a new view.
    pub fn adopt(&mut self, ordinal: Ordinal, tokens: &[Token], members: &Members, first: bool) {
        let now = self.now;
        if let Some(place) = self.hosts.get_mut(&ordinal) {
            place.tokens = tokens.to_vec();
        }
        self.with(ordinal, |host| {
            host.set_members(now, tokens, members, first)
        });
    }

    /// Ends the process of a host, without a word to anybody.
    pub fn crash(&mut self, ordinal: Ordinal) {
        if let Some(place) = self.hosts.get_mut(&ordinal) {
            place.host = None;
            place.ticks_at = u64::MAX;
        }
    }

    /// The tokens a host had last.
    pub fn tokens(&self, ordinal: Ordinal) -> Vec<Token> {
        self.hosts
            .get(&ordinal)
            .map(|p| p.tokens.clone())
            .unwrap_or_default()
    }

    /// A host that runs.
    pub fn host(&self, ordinal: Ordinal) -> Option<&Host> {
        self.hosts.get(&ordinal).and_then(|p| p.host.as_ref())
    }

    /// All hosts that run.
    pub fn running(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values().filter_map(|p| p.host.as_ref())
    }

    /// The members of the ring that are alive.
    pub fn ring(&self) -> Ring<'_> {
        ring_of(self.running().flat_map(Host::vnodes))
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
            (at, order, &happening).hash(&mut self.trace);
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
    pub fn look_up(
        &self,
        from: Ordinal,
        id: chord_api::Id,
    ) -> (Result<super::lookup::Found, LookupFailed>, usize) {
        let Some(asker) = self.host(from) else {
            return (Err(LookupFailed::Nobody), 0);
        };
        let mut lookup = asker.lookup(id);
        let mut timeouts = 0;
        loop {
            match lookup.step() {
                Next::Done(end) => return (end, timeouts),
                Next::Ask(peer) => {
                    let route = self.host(peer.ordinal).and_then(|h| h.route(&id));
                    timeouts += usize::from(self.host(peer.ordinal).is_none());
                    let request = Default::default();
                    lookup.reply(
                        peer,
                        route.map(|(_, route)| super::message::Message::Route { request, route }),
                    );
                }
            }
        }
    }

    fn with(&mut self, ordinal: Ordinal, act: impl FnOnce(&mut Host) -> Vec<HostAction>) {
        let Some(place) = self.hosts.get_mut(&ordinal) else {
            return;
        };
        let Some(host) = place.host.as_mut() else {
            return;
        };
        let actions = act(host);
        let next = host.next_tick().max(self.now + 1);
        let boot = place.boot;
        if next < place.ticks_at {
            place.ticks_at = next;
            self.plan(next, Happening::Tick(ordinal));
        }
        for HostAction::Send { to, messages } in actions {
            self.request(ordinal, boot, to, messages);
        }
    }

    fn request(&mut self, from: Ordinal, boot: u32, to: Ordinal, batch: Vec<Envelope>) {
        self.exchanges += 1;
        self.batches += 1;
        let exchange = self.exchanges;
        self.open.insert(exchange);
        self.plan(
            self.now + SENDER_WAITS,
            Happening::Expiry {
                from,
                to,
                exchange,
                boot,
            },
        );
        self.carry(from, to, |_| Happening::Request {
            from,
            to,
            exchange,
            batch: batch.clone(),
        });
    }

    /// Puts something on the wire, whatever becomes of it there.
    fn carry(&mut self, from: Ordinal, to: Ordinal, what: impl Fn(u8) -> Happening) {
        let copies = if self.random.random_bool(self.network.doubled) {
            2
        } else {
            1
        };
        for copy in 0..copies {
            let late = self.random.random_bool(self.network.late);
            let lost = self.random.random_bool(self.network.loss);
            let delay = self.random.random_range(self.network.latency.clone())
                + if late { SENDER_WAITS } else { 0 };
            let apart = self.cut_off.contains(&from) != self.cut_off.contains(&to);
            if !lost && !apart {
                self.plan(self.now + delay, what(copy));
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
                if let Some(place) = self.hosts.get_mut(&ordinal)
                    && place.ticks_at == now
                {
                    place.ticks_at = u64::MAX;
                    self.with(ordinal, |host| host.tick(now));
                }
            }
            Happening::Request {
                from,
                to,
                exchange,
                batch,
            } => {
                let mut replies = None;
                self.with(to, |host| {
                    let received = host.receive(now, from, batch);
                    replies = Some(received.replies);
                    received.actions
                });
                if let Some(batch) = replies {
                    let response = |_| Happening::Response {
                        from: to,
                        to: from,
                        exchange,
                        batch: batch.clone(),
                    };
                    self.carry(to, from, response);
                }
            }
            Happening::Response {
                from,
                to,
                exchange,
                batch,
            } => {
                self.open.remove(&exchange);
                self.with(to, |host| {
                    let received = host.receive(now, from, batch);
                    received.actions
                });
            }
            Happening::Expiry {
                from,
                to,
                exchange,
                boot,
            } => {
                let same = self.hosts.get(&from).is_some_and(|p| p.boot == boot);
                if self.open.remove(&exchange) && same {
                    self.with(from, |host| host.unreachable(now, to));
                }
            }
        }
    }
}

/// What look-ups cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RingFigures {
    /// Other hosts asked, dead ones not counted: the path length of the paper.
    pub hops_mean: f64,
    pub hops_p99: u32,
    /// Look-ups that found nothing, or not the successor.
    pub failed: u64,
}

/// Looks ids up in a ring of `nodes` with one random token each.
///
/// It starts from the ideal ring, as a cluster does with its first view; the
/// fingers are those that a node then computes from the members, not found by
/// look-ups. That look-ups lead to the same fingers is a test of its own.
pub fn simulate(nodes: usize, lookups: usize, seed: u64) -> RingFigures {
    let successors = Config::new(0, 1000).rules.successors;
    simulate_crash(nodes, successors, 0.0, lookups, seed).figures
}

/// What look-ups cost while a share of the nodes is dead and nobody knows yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CrashFigures {
    pub figures: RingFigures,
    /// Dead hosts asked, for each look-up.
    pub timeouts_mean: f64,
}

/// As [`simulate`], but a share of the nodes has just died, before anybody
/// noticed. A look-up is right when the first of the successors it found that
/// is alive is the true one. `successors` is the length of the lists.
pub fn simulate_crash(
    nodes: usize,
    successors: usize,
    dead: f64,
    lookups: usize,
    seed: u64,
) -> CrashFigures {
    let nodes = nodes.max(1);
    let mut random = StdRng::seed_from_u64(seed);
    let tokens: BTreeSet<Token> = std::iter::repeat_with(|| Token(random.random()))
        .take(nodes)
        .collect();
    let tokens: Vec<Token> = tokens.into_iter().collect();
    // Ordinals are in the order of the ring, which nothing depends on.
    let peers = tokens.iter().zip(0..).map(|(t, n)| Peer {
        id: t.id(),
        ordinal: Ordinal(n),
    });
    let members = Members::new(peers.collect());
    let mut sim = Sim::new(seed, Network::calm());
    for (token, n) in tokens.iter().zip(0..) {
        sim.start(Ordinal(n), &[*token], &members, true, |config| {
            config.rules.successors = successors.max(1);
            config.rules.list_cap = config.rules.list_cap.max(successors);
        });
    }
    let ordinals: Vec<Ordinal> = members.hosts().iter().map(|p| p.ordinal).collect();
    let mut alive: Vec<Peer> = members.peers().to_vec();
    if dead > 0.0 {
        let keep: Vec<bool> = ordinals
            .iter()
            .map(|_| !random.random_bool(dead.min(1.0)))
            .collect();
        alive.retain(|p| keep.get(p.ordinal.0 as usize).copied().unwrap_or(false));
        ordinals
            .iter()
            .zip(&keep)
            .filter(|(_, keep)| !**keep)
            .for_each(|(o, _)| sim.crash(*o));
    }
    let (mut hops, mut failed, mut timeouts) = (Vec::with_capacity(lookups), 0, 0);
    for _ in 0..lookups {
        let id = Token(random.random()).id();
        if alive.is_empty() {
            failed += 1;
            continue;
        }
        let from = alive[random.random_range(0..alive.len())].ordinal;
        let at = alive.partition_point(|p| p.id < id);
        let right = alive.get(at).or(alive.first()).copied();
        let (found, late) = sim.look_up(from, id);
        timeouts += late;
        match found {
            Ok(found) => {
                hops.push(found.path.len().saturating_sub(1) as u32);
                let mut list = std::iter::once(found.successor).chain(found.others);
                failed += u64::from(list.find(|p| sim.host(p.ordinal).is_some()) != right);
            }
            Err(_) => failed += 1,
        }
    }
    hops.sort_unstable();
    let count = hops.len().max(1);
    let hops_mean = hops.iter().map(|h| f64::from(*h)).sum::<f64>() / count as f64;
    let hops_p99 = hops
        .get((hops.len() * 99 / 100).min(count - 1))
        .copied()
        .unwrap_or(0);
    let figures = RingFigures {
        hops_mean,
        hops_p99,
        failed,
    };
    CrashFigures {
        figures,
        timeouts_mean: timeouts as f64 / lookups.max(1) as f64,
    }
}
