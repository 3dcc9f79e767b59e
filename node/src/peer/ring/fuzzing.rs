//! Arbitrary bytes against a small host: the body of the fuzz target
//! `ring_wire`, and of the test that runs it for a fixed number of inputs.
//!
//! The input is a way to start, then exchanges, each behind its length; they go
//! the way of the wire: decoded, judged, received. Whatever they are, the host
//! does not panic and keeps to what no other node may ever take from it.

use chord_types::view::ViewRef;
use chord_types::{ClusterUid, DiskId, Id, Member, Ordinal, Table, Token, View};

use super::{Direction, Known, Reason, Senders, check, decode};
use crate::view::MemberIndex;
use chord_ring::host::Members;
use chord_ring::wire::{RING_VERSION, RingExchange};
use chord_ring::{Config, Envelope, Host, HostAction, Peer};

/// Hosts of the small cluster; the one under test is the first.
pub const HOSTS: u32 = 4;
const TOKENS_EACH: u64 = 3;
/// Exchanges of one input that are looked at.
const MOST_EXCHANGES: usize = 8;
/// Milliseconds between two of them.
const STEP: u64 = 700;

/// The small cluster.
#[derive(Clone, Debug)]
pub struct World {
    /// Its id.
    pub cluster: ClusterUid,
    /// The view that it is at.
    pub view: View,
    /// The number and hash of that view.
    pub reference: ViewRef,
    /// Who may speak.
    pub index: MemberIndex,
    /// The same, as the ring is told.
    pub members: Members,
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl World {
    /// Always the same one.
    pub fn new() -> World {
        let cluster = ClusterUid("trial".into());
        let member = |n: u32| Member {
            ordinal: Ordinal(n),
            disk: World::disk(Ordinal(n)),
            tokens: World::tokens(Ordinal(n)),
            zone: None,
            machine: None,
            out: false,
        };
        let view = View {
            cluster: cluster.clone(),
            epoch: chord_types::Epoch(5),
            parent: chord_types::view::ViewHash::NONE,
            tables: chord_types::Tables::Stable(Table {
                replication: 3,
                members: (0..HOSTS).map(member).collect(),
            }),
        };
        World {
            cluster,
            reference: view.reference(),
            index: MemberIndex::of(&view),
            members: Members::of_view(&view),
            view,
        }
    }

    /// The disk of a host.
    pub fn disk(ordinal: Ordinal) -> DiskId {
        DiskId(uuid::Uuid::from_u128(1 + u128::from(ordinal.0)))
    }

    /// The tokens of a host, spread over the circle with other neighbours each.
    pub fn tokens(ordinal: Ordinal) -> Vec<Token> {
        let all = u64::from(HOSTS) * TOKENS_EACH;
        // 5 and 12 have no common divisor: every place is taken once.
        let place = |t: u64| (u64::from(ordinal.0) * TOKENS_EACH + t) * 5 % all;
        let mut tokens: Vec<Token> = (0..TOKENS_EACH)
            .map(|t| Token(place(t) * (u64::MAX / all) + 1))
            .collect();
        tokens.sort_unstable();
        tokens
    }

    /// A virtual node of a host.
    pub fn peer(ordinal: Ordinal, token: usize) -> Peer {
        let tokens = World::tokens(ordinal);
        let id = tokens[token % tokens.len()].id();
        Peer { id, ordinal }
    }

    /// What the host under test judges by.
    pub fn known<'a>(&'a self, senders: &'a Senders) -> Known<'a> {
        Known {
            cluster: &self.cluster,
            me: Ordinal(0),
            view: self.reference,
            index: &self.index,
            senders,
        }
    }

    /// An honest exchange from a host to the one under test.
    pub fn exchange(&self, from: Ordinal, number: u64, messages: Vec<Envelope>) -> RingExchange {
        RingExchange {
            version: RING_VERSION,
            cluster: self.cluster.clone(),
            from,
            disk: World::disk(from),
            boot: 3,
            number,
            view: self.reference,
            available: 1 << 30,
            messages,
        }
    }
}

/// What became of the exchanges of one input, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// `None`: received.
    pub refused: Vec<Option<Reason>>,
    /// Exchanges that changed where the host points.
    pub changes: usize,
}

/// How an input begins: the phase of the host, and which way exchanges go.
#[derive(Clone, Copy, Debug)]
pub struct Start(pub u8);

impl Start {
    fn host(self, world: &World) -> Host {
        let mut host = Host::new(Config::new(1, 1_000), Ordinal(0));
        let (mine, all) = (World::tokens(Ordinal(0)), &world.members);
        match self.0 & 3 {
            // Not told who the members are.
            0 => {}
            // In no ring, and has asked for one.
            1 => drop(host.set_members(0, &mine, all, false)),
            // In the ideal ring.
            _ => drop(host.set_members(0, &mine, all, true)),
        }
        host
    }

    /// Even exchanges are requests, odd ones responses, or the other way round.
    fn direction(self, index: usize) -> Direction {
        let host = u32::from(self.0 >> 3) % (HOSTS - 1) + 1;
        if (index % 2 == 1) ^ (self.0 & 4 != 0) {
            Direction::Response(Ordinal(host))
        } else {
            Direction::Request
        }
    }
}

/// Packs an input: a start, and the bytes of each exchange.
pub fn pack(start: Start, exchanges: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![start.0];
    for bytes in exchanges {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        out.extend(length.to_be_bytes());
        out.extend(bytes.iter().take(usize::from(length)));
    }
    out
}

fn unpack(input: &[u8]) -> (Start, Vec<&[u8]>) {
    let (start, mut rest) = match input.split_first() {
        Some((start, rest)) => (Start(*start), rest),
        None => (Start(0), input),
    };
    let mut exchanges = Vec::new();
    while let [high, low, behind @ ..] = rest {
        if exchanges.len() == MOST_EXCHANGES {
            break;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (bytes, next) = behind.split_at(length.min(behind.len()));
        exchanges.push(bytes);
        rest = next;
    }
    (start, exchanges)
}

/// Runs one input; the error says what it broke.
pub fn run(world: &World, input: &[u8]) -> Result<Outcome, String> {
    let (start, exchanges) = unpack(input);
    let mut host = HostUnderTest::new(world, start);
    for bytes in exchanges {
        host.tick()?;
        host.take(bytes)?;
    }
    Ok(host.outcome)
}

/// A host that takes whatever comes.
pub struct HostUnderTest<'a> {
    world: &'a World,
    start: Start,
    host: Host,
    senders: Senders,
    turn: usize,
    outcome: Outcome,
}

impl<'a> HostUnderTest<'a> {
    /// A host that starts so, and has heard nothing.
    pub fn new(world: &'a World, start: Start) -> HostUnderTest<'a> {
        HostUnderTest {
            world,
            start,
            host: start.host(world),
            senders: Senders::default(),
            turn: 0,
            outcome: Outcome::default(),
        }
    }

    /// What became of the exchanges so far.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Which way the next exchange goes.
    pub fn direction(&self) -> Direction {
        self.start.direction(self.turn)
    }

    fn now(&self) -> u64 {
        (self.turn as u64 + 1) * STEP
    }

    /// Time passes: requests of the host's own go out, so that replies find
    /// something, or time out, and it has to be as sound as ever.
    pub fn tick(&mut self) -> Result<Vec<HostAction>, String> {
        let sent = self.host.tick(self.now());
        sound(&self.host, self.world)?;
        bounded(self.world, &sent)?;
        Ok(sent)
    }

    /// Takes the bytes of one exchange the whole way.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (now, direction) = (self.now(), self.direction());
        self.turn += 1;
        let exchange = match decode(bytes) {
            Ok(exchange) => exchange,
            Err(refused) => {
                self.outcome.refused.push(Some(refused.reason));
                return Ok(());
            }
        };
        round_trip(&exchange)?;
        let valid = match check(exchange, direction, &self.world.known(&self.senders)) {
            Ok(valid) => valid,
            Err(refused) => {
                self.outcome.refused.push(Some(refused.reason));
                return Ok(());
            }
        };
        let from = valid.exchange().from;
        self.senders.note(valid.exchange(), direction);
        if direction == Direction::Request && valid.exchange().number > 0 {
            let again = valid.exchange().clone();
            if check(again, direction, &self.world.known(&self.senders)).is_ok() {
                return Err("the same request is taken twice".into());
            }
        }
        let questions = valid.exchange().messages.len();
        let before = pointers(&self.host);
        let received = self.host.receive(now, from, valid.into_messages());
        self.outcome.refused.push(None);
        self.outcome.changes += usize::from(pointers(&self.host) != before);
        if received.replies.len() > questions {
            let replies = received.replies.len();
            return Err(format!("{questions} messages brought {replies} replies"));
        }
        if let Some(stray) = received.replies.iter().find(|r| r.to.ordinal != from) {
            return Err(format!("a reply to {from} goes elsewhere: {stray:?}"));
        }
        bounded(self.world, &received.actions)?;
        sound(&self.host, self.world)
    }
}

fn pointers(host: &Host) -> Vec<(bool, Option<Peer>, Vec<Peer>)> {
    host.vnodes()
        .map(|v| {
            let far = v.successors().iter().chain(v.fingers());
            (v.is_member(), v.pred(), far.copied().collect())
        })
        .collect()
}

/// An exchange is written as it was read.
fn round_trip(exchange: &RingExchange) -> Result<(), String> {
    let bytes = rmp_serde::to_vec_named(exchange).map_err(|e| e.to_string())?;
    match decode(&bytes) {
        Ok(again) if again == *exchange => Ok(()),
        // Numbers may be written longer than they need be.
        Err(refused) if refused.reason == Reason::TooLarge => Ok(()),
        other => Err(format!("{exchange:?} comes back as {other:?}")),
    }
}

/// It speaks to members only, and not without end.
fn bounded(world: &World, actions: &[HostAction]) -> Result<(), String> {
    for HostAction::Send { to, messages } in actions {
        if *to == Ordinal(0) || !world.members.has(*to) {
            return Err(format!("it speaks to node {to}"));
        }
        if messages.len() > super::MAX_MESSAGES {
            return Err(format!("{} messages to node {to}", messages.len()));
        }
    }
    Ok(())
}

/// What no other node can take from a host: who it is, and lists that are in
/// order, of a bounded length, and of members.
fn sound(host: &Host, world: &World) -> Result<(), String> {
    let ours: Vec<Id> = World::tokens(Ordinal(0)).iter().map(Token::id).collect();
    let rules = Config::new(1, 1_000).rules;
    let mut ids = Vec::new();
    for vnode in host.vnodes() {
        let me = vnode.me();
        ids.push(me.id);
        if me.ordinal != Ordinal(0) {
            return Err(format!("{me:?} is not its own"));
        }
        let list = vnode.successors();
        if vnode.is_member() == list.is_empty() || list.len() > rules.list_cap {
            return Err(format!("{me:?} has a list of {}", list.len()));
        }
        let mut at = me.id;
        let ordered = list
            .iter()
            .all(|p| p.id.between(&std::mem::replace(&mut at, p.id), &me.id));
        if !ordered && list != [me] {
            return Err(format!("{me:?} has a list in disorder: {list:?}"));
        }
        if vnode.fingers().count() > 160 {
            return Err(format!("{me:?} has more fingers than octaves"));
        }
        let all = list.iter().chain(vnode.fingers()).copied();
        if let Some(stranger) = all.chain(vnode.pred()).find(|p| !world.index.knows(p)) {
            return Err(format!("{me:?} points at {stranger:?}, which is no member"));
        }
    }
    if !ids.is_empty() && ids != ours {
        return Err(format!("its virtual nodes are {ids:?}"));
    }
    Ok(())
}
