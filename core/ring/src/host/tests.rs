//! Who is taken for dead among many hosts with slow, starved, lossy and dead ones.
//!
//! A small network of its own, since what matters here is how each single host
//! fares: how late it answers, whether it runs, and how a request to it fails.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use chord_types::{Id, Ordinal, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Config, Failure, Host, HostAction, Members};
use crate::invariant::{ideal, ring_of};
use crate::message::{Envelope, Peer};

/// A sender takes a request for failed after this long, and hears a later answer.
const WAITS: u64 = 2000;
const MINUTE: u64 = 60_000;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    // The first of those at one time: a host that was not run sees the time-outs
    // before the answers that came in the meantime.
    Expiry(Ordinal, Ordinal, u64),
    Refused(Ordinal, Ordinal),
    Tick(Ordinal),
    Request(Ordinal, Ordinal, u64, Vec<Envelope>),
    Answer(Ordinal, Ordinal, u64, Vec<Envelope>),
}

impl Event {
    /// Whose process has to run for it.
    fn at(&self) -> Ordinal {
        match self {
            Event::Expiry(at, ..) | Event::Refused(at, _) | Event::Tick(at) => *at,
            Event::Request(_, to, ..) | Event::Answer(_, to, ..) => *to,
        }
    }
}

struct Net {
    now: u64,
    random: StdRng,
    hosts: BTreeMap<Ordinal, Host>,
    ticks: BTreeMap<Ordinal, u64>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    open: BTreeSet<u64>,
    exchanges: u64,
    loss: f64,
    /// How long a host takes over an answer.
    slow: BTreeMap<Ordinal, u64>,
    /// Hosts that are not run until then.
    stopped: BTreeMap<Ordinal, u64>,
    /// Hosts whose machine answers nothing.
    dark: BTreeSet<Ordinal>,
    /// Who took whom for dead, and when.
    deaths: BTreeMap<(Ordinal, Ordinal), u64>,
}

impl Net {
    fn new(seed: u64, hosts: u32, tokens: u8) -> Net {
        let peers = |n: u32| {
            (0..tokens).map(move |t| {
                Token(Id::hash(&[n.to_be_bytes().as_slice(), &[t]].concat()).prefix())
            })
        };
        let all = (0..hosts).flat_map(|n| {
            peers(n).map(move |t| Peer {
                id: t.id(),
                ordinal: Ordinal(n),
            })
        });
        let members = Members::new(all.collect());
        let mut net = Net {
            now: 1,
            random: StdRng::seed_from_u64(seed),
            hosts: BTreeMap::new(),
            ticks: BTreeMap::new(),
            events: BinaryHeap::new(),
            open: BTreeSet::new(),
            exchanges: 0,
            loss: 0.0,
            slow: BTreeMap::new(),
            stopped: BTreeMap::new(),
            dark: BTreeSet::new(),
            deaths: BTreeMap::new(),
        };
        for n in 0..hosts {
            let ordinal = Ordinal(n);
            net.hosts
                .insert(ordinal, Host::new(Config::new(1, 1000), ordinal));
            let mine: Vec<Token> = peers(n).collect();
            net.with(ordinal, |host, now| {
                host.set_members(now, &mine, &members, true)
            });
        }
        net
    }

    fn with(&mut self, at: Ordinal, act: impl FnOnce(&mut Host, u64) -> Vec<HostAction>) {
        let Some(host) = self.hosts.get_mut(&at) else {
            return;
        };
        let actions = act(host, self.now);
        let next = host.next_tick().max(self.now + 1);
        if self.ticks.get(&at).is_none_or(|t| next < *t) {
            self.ticks.insert(at, next);
            self.events.push(Reverse((next, Event::Tick(at))));
        }
        for HostAction::Send { to, messages } in actions {
            self.exchanges += 1;
            let exchange = self.exchanges;
            if !self.hosts.contains_key(&to) && !self.dark.contains(&to) {
                self.plan(1, Event::Refused(at, to));
                continue;
            }
            self.open.insert(exchange);
            self.plan(WAITS, Event::Expiry(at, to, exchange));
            self.carry(0, Event::Request(at, to, exchange, messages));
        }
    }

    fn plan(&mut self, after: u64, event: Event) {
        self.events.push(Reverse((self.now + after, event)));
    }

    fn carry(&mut self, after: u64, event: Event) {
        let delay = self.random.random_range(1..50);
        if !self.random.random_bool(self.loss) {
            self.plan(after + delay, event);
        }
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while self
            .events
            .peek()
            .is_some_and(|Reverse((at, _))| *at <= end)
        {
            let Some(Reverse((at, event))) = self.events.pop() else {
                break;
            };
            self.now = at;
            let whose = event.at();
            // Only what fails to come can make a host dead.
            let telling = !matches!(event, Event::Request(..) | Event::Answer(..));
            if let Some(until) = self.stopped.get(&whose).filter(|until| at < **until) {
                self.events.push(Reverse((*until, event)));
                continue;
            }
            self.happen(event);
            let now = self.now;
            if let Some(host) = self.hosts.get(&whose).filter(|_| telling) {
                let dead = host.members.hosts().iter().map(|p| p.ordinal);
                for dead in dead.filter(|o| !host.alive(*o)) {
                    self.deaths.entry((whose, dead)).or_insert(now);
                }
            }
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(at) => {
                // Of several that were planned the earliest counts.
                if self.ticks.get(&at).is_some_and(|t| *t <= self.now) {
                    self.ticks.remove(&at);
                    self.with(at, |host, now| host.tick(now));
                }
            }
            Event::Refused(at, of) => {
                self.with(at, |host, now| host.unanswered(now, of, Failure::Gone));
            }
            Event::Expiry(at, of, exchange) => {
                if self.open.remove(&exchange) {
                    self.with(at, |host, now| host.unreachable(now, of));
                }
            }
            Event::Request(from, to, exchange, batch) => {
                let mut replies = None;
                self.with(to, |host, now| {
                    let received = host.receive(now, from, batch);
                    replies = Some(received.replies);
                    received.actions
                });
                if let Some(replies) = replies {
                    let over = self.slow.get(&to).copied().unwrap_or(0);
                    self.carry(over, Event::Answer(to, from, exchange, replies));
                }
            }
            Event::Answer(from, to, exchange, batch) => {
                self.open.remove(&exchange);
                self.with(to, |host, now| host.receive(now, from, batch).actions);
            }
        }
    }

    fn is_ideal(&self) -> bool {
        let ring = ring_of(self.hosts.values().flat_map(Host::vnodes));
        ideal(&ring, &Config::new(0, 1000).rules).is_ok()
    }

    /// Runs until nobody's pointers miss who is there or name who is not; answers
    /// after how long the first host knew of a death, and after how long all was well.
    fn settles(&mut self) -> (u64, u64) {
        let began = self.now;
        while !self.is_ideal() {
            assert!(self.now < began + 10 * MINUTE);
            self.run(250);
        }
        let first = self.deaths.values().min().copied().unwrap_or(u64::MAX);
        (first - began, self.now - began)
    }
}

#[test]
fn a_killed_host_is_soon_noticed() {
    let victim = Ordinal(1);
    for (hosts, seed) in [(3, 1), (16, 2), (50, 3)] {
        for silent in [false, true] {
            let mut net = Net::new(seed, hosts, 4);
            net.run(5 * MINUTE);
            net.hosts.remove(&victim);
            if silent {
                net.dark.insert(victim);
            }
            let (first, all) = net.settles();
            println!("{hosts} hosts, silent: {silent}: {first} ms, ideal after {all} ms");
            // A quiet round is 10 s at most; then refusals for 2 s, or silence
            // for 10 s, with a time-out of 2 s before either counts.
            let most = if silent { 23_000 } else { 13_000 };
            assert!(first <= most, "{hosts} hosts, silent: {silent}: {first} ms");
            assert!(
                all <= most + 30_000,
                "{hosts} hosts, silent: {silent}: {all} ms"
            );
            net.run(5 * MINUTE);
            assert!(
                net.deaths.keys().all(|(_, of)| *of == victim),
                "{:?}",
                net.deaths
            );
            assert!(net.is_ideal());
        }
    }
}

#[test]
fn slow_hosts_are_not_dead() {
    let mut net = Net::new(4, 20, 4);
    for n in 0..5 {
        net.slow.insert(Ordinal(n * 4), WAITS * 3 / 2);
    }
    net.run(10 * MINUTE);
    assert_eq!(net.deaths, BTreeMap::new());
    net.slow.clear();
    net.run(MINUTE);
    assert!(net.is_ideal());
    assert!(
        net.hosts
            .values()
            .all(|h| h.liveness.suspects().count() == 0)
    );
}

#[test]
fn who_was_not_run_takes_nobody_for_dead() {
    for (seed, stop) in [(5, 4_000), (6, 30_000), (7, 3_600_000)] {
        let mut net = Net::new(seed, 12, 4);
        net.run(MINUTE);
        let starved = Ordinal(3);
        // In the middle of a few conversations.
        net.loss = 0.1;
        net.run(MINUTE);
        net.stopped.insert(starved, net.now + stop);
        net.run(stop + 5 * MINUTE);
        let by_it: Vec<_> = net.deaths.keys().filter(|(by, _)| *by == starved).collect();
        assert!(by_it.is_empty(), "stopped for {stop} ms: {by_it:?}");
        let others: Vec<_> = net.deaths.keys().filter(|(_, of)| *of != starved).collect();
        assert!(others.is_empty(), "{others:?}");
        net.loss = 0.0;
        net.run(5 * MINUTE);
        assert!(net.is_ideal());
    }
}

#[test]
fn a_clock_that_jumps_and_one_that_goes_back_hurt_nobody() {
    let mut net = Net::new(8, 8, 4);
    net.run(MINUTE);
    // All at once, as when a machine is suspended with all that runs on it.
    for n in 0..8 {
        net.stopped.insert(Ordinal(n), net.now + 60 * MINUTE);
    }
    net.run(65 * MINUTE);
    assert_eq!(net.deaths, BTreeMap::new());
    assert!(net.is_ideal());
    let early = net.now / 2;
    for n in 0..8 {
        net.with(Ordinal(n), |host, now| {
            let later = host.next_tick();
            let mut actions = host.tick(early);
            assert!(host.next_tick() >= later.min(now), "it does not go back");
            actions.extend(host.unreachable(early, Ordinal((n + 1) % 8)));
            actions
        });
    }
    net.run(5 * MINUTE);
    assert_eq!(net.deaths, BTreeMap::new());
    assert!(net.is_ideal());
}

/// Fifty hosts, every tenth message lost: an hour where `SEEDS` asks for the long
/// form, else some minutes.
#[test]
fn lost_messages_are_no_deaths() {
    let long = std::env::var_os("SEEDS").is_some();
    let mut net = Net::new(9, 50, 4);
    net.loss = 0.1;
    net.run(if long { 60 } else { 5 } * MINUTE);
    let each = net.exchanges as f64 / 50.0 / (net.now as f64 / 1000.0);
    println!("{each:.2} exchanges a second and host with a tenth lost");
    assert_eq!(net.deaths, BTreeMap::new());
    net.loss = 0.0;
    net.run(5 * MINUTE);
    assert!(net.is_ideal());
}
