//! The fuzz target on many thousand inputs that nobody wrote by hand: the short form of
//! the fuzz target.

use std::collections::BTreeMap;

use chord_types::{ClusterUid, DiskId, Epoch, Id, Ordinal, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::fuzzing::{self, HOSTS, HostUnderTest, Outcome, Start, World};
use super::{Direction, Reason};
use chord_ring::{Envelope, HostAction, Message, Peer, RequestId, Route, Standing};

const OWN: Ordinal = Ordinal(0);

/// Exchanges as somebody might make them who knows the protocol well.
struct Maker {
    random: StdRng,
    world: World,
    numbers: u64,
}

impl Maker {
    fn new(seed: u64) -> Maker {
        Maker {
            random: StdRng::seed_from_u64(seed),
            world: World::new(),
            numbers: 0,
        }
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.random.random_ratio(1, one_in)
    }

    fn ordinal(&mut self) -> Ordinal {
        match self.random.random_range(0..40) {
            0 => Ordinal(u32::MAX),
            1 => Ordinal(HOSTS),
            n => Ordinal(n % HOSTS),
        }
    }

    fn peer(&mut self) -> Peer {
        let (ordinal, token) = (self.ordinal(), self.random.random_range(0..3));
        let mut peer = World::peer(Ordinal(ordinal.0 % HOSTS), token);
        if self.chance(60) {
            peer.id = Id(self.random.random());
        }
        if self.chance(60) {
            peer.id = Token(self.random.random()).id();
        }
        if self.chance(60) {
            peer.ordinal = ordinal;
        }
        peer
    }

    fn peers(&mut self) -> Vec<Peer> {
        let most = if self.chance(50) { 80 } else { 8 };
        let count = self.random.random_range(0..most);
        let mut list: Vec<Peer> = (0..count).map(|_| self.peer()).collect();
        if self.chance(2) {
            list.sort_unstable();
        }
        list
    }

    fn request(&mut self) -> RequestId {
        // The host's own are small numbers of its boot; some are of its virtual nodes.
        let number = self.random.random_range(0..6u64);
        let host = if self.chance(2) { 1 << 31 } else { 0 };
        RequestId(1 << 32 | host | number)
    }

    /// A reply as it might come, its contents aside.
    fn reply_to(&mut self, question: &Envelope) -> Option<Message> {
        let request = question.message.asks()?;
        let (fits, from) = (!self.chance(8), question.to.ordinal);
        Some(match question.message {
            Message::Query { .. } if fits => Message::State {
                request,
                pred: self.chance(2).then(|| self.peer()),
                succ: self.peers(),
            },
            Message::Ping { .. } if fits => Message::Pong { request },
            Message::Hail { .. } if fits => Message::Hailed {
                request,
                standing: self.standing(),
            },
            Message::FindSuccessor { .. } if fits => Message::Route {
                request,
                route: self.route(from),
            },
            _ => self.reply(request, from),
        })
    }

    fn standing(&mut self) -> Standing {
        let members = self.world.members.digest();
        match self.random.random_range(0..4) {
            0 => Standing::Outside,
            1 => Standing::Member,
            2 => Standing::Forming { members },
            _ => Standing::Forming { members: 1 },
        }
    }

    fn route(&mut self, from: Ordinal) -> Route {
        if self.chance(2) {
            Route::Found {
                before: self.peer(),
                successors: self.peers(),
            }
        } else {
            let stray = self.chance(100);
            Route::Nearer {
                at: if stray {
                    self.peer()
                } else {
                    World::peer(from, 0)
                },
                candidates: self.peers(),
                beyond: self.peers(),
            }
        }
    }

    fn message(&mut self, reply: bool, from: Ordinal) -> Message {
        let request = self.request();
        if reply {
            self.reply(request, from)
        } else {
            match self.random.random_range(0..5) {
                0 => Message::Query {
                    request,
                    joining: self.chance(2),
                },
                1 => Message::Ping { request },
                2 => Message::FindSuccessor {
                    request,
                    id: Id(self.random.random()),
                },
                3 => Message::Hail { request },
                _ => Message::Notify,
            }
        }
    }

    fn reply(&mut self, request: RequestId, from: Ordinal) -> Message {
        match self.random.random_range(0..7) {
            0 => Message::Busy { request },
            1 => Message::Gone { request },
            2 => Message::Pong { request },
            3 => Message::Hailed {
                request,
                standing: self.standing(),
            },
            4 => Message::Route {
                request,
                route: self.route(from),
            },
            _ => Message::State {
                request,
                pred: self.chance(2).then(|| self.peer()),
                succ: self.peers(),
            },
        }
    }

    /// `sent` is what the host has just asked; most replies answer that.
    fn exchange(&mut self, direction: Direction, sent: &[HostAction]) -> Vec<u8> {
        let (reply, from) = match direction {
            Direction::Request => (false, Ordinal(self.random.random_range(1..HOSTS))),
            Direction::Response(asked) => (true, asked),
        };
        let asked: Vec<Envelope> = sent
            .iter()
            .filter(|HostAction::Send { to, .. }| reply && *to == from)
            .flat_map(|HostAction::Send { messages, .. }| messages.clone())
            .collect();
        let mut messages: Vec<Envelope> = Vec::new();
        for question in asked {
            if let Some(message) = self.reply_to(&question) {
                messages.push(Envelope {
                    from: question.to,
                    to: question.from,
                    message,
                });
            }
        }
        for _ in 0..self.random.random_range(0..4) {
            let stray = self.chance(40);
            let token = self.random.random_range(0..3);
            let (sender, to) = if stray {
                (self.peer(), self.peer())
            } else {
                (World::peer(from, token), World::peer(OWN, token))
            };
            let turned = stray && self.chance(3);
            let message = self.message(reply != turned, from);
            messages.push(Envelope {
                from: sender,
                to,
                message,
            });
        }
        self.numbers += u64::from(!self.chance(20));
        let mut exchange = self.world.exchange(from, self.numbers, messages);
        match self.random.random_range(0..60) {
            0 => exchange.cluster = ClusterUid("other".into()),
            1 => exchange.from = self.ordinal(),
            2 => exchange.disk = DiskId(uuid::Uuid::from_u128(self.random.random_range(0..6))),
            3 => exchange.boot = self.random.random(),
            4..=6 => exchange.boot = self.random.random_range(2..5),
            7 => exchange.view.hash.0[0] ^= 1,
            8..=9 => exchange.view.epoch = Epoch(self.random.random_range(4..8)),
            10 => exchange.version = self.random.random_range(0..4),
            _ => {}
        }
        let mut bytes = rmp_serde::to_vec_named(&exchange).unwrap();
        match self.random.random_range(0..30) {
            0 => bytes.truncate(self.random.random_range(0..=bytes.len())),
            1 => bytes.push(self.random.random()),
            2 => {
                for _ in 0..self.random.random_range(1..4) {
                    let at = self.random.random_range(0..bytes.len());
                    bytes[at] ^= 1 << self.random.random_range(0..8);
                }
            }
            3 => bytes = (0..200).map(|_| self.random.random()).collect(),
            _ => {}
        }
        bytes
    }

    /// A few exchanges with a host; the bytes of all for whoever wants to repeat it.
    fn talk(&mut self) -> (Vec<u8>, Result<Outcome, String>) {
        let world = self.world.clone();
        let start = Start(self.random.random());
        if self.chance(50) {
            let length = self.random.random_range(0..400);
            let input: Vec<u8> = (0..length).map(|_| self.random.random()).collect();
            let outcome = fuzzing::run(&world, &input);
            return (input, outcome);
        }
        let mut host = HostUnderTest::new(&world, start);
        let mut exchanges = Vec::new();
        for _ in 0..self.random.random_range(1..6) {
            let taken = host.tick().and_then(|sent| {
                let bytes = self.exchange(host.direction(), &sent);
                let taken = host.take(&bytes);
                exchanges.push(bytes);
                taken
            });
            if let Err(broken) = taken {
                return (fuzzing::pack(start, &exchanges), Err(broken));
            }
        }
        let input = fuzzing::pack(start, &exchanges);
        (input, Ok(host.outcome().clone()))
    }
}

#[test]
fn an_input_that_was_packed_runs_as_it_did() {
    let mut maker = Maker::new(99);
    for _ in 0..50 {
        let (input, outcome) = maker.talk();
        assert_eq!(fuzzing::run(&maker.world, &input), outcome);
    }
}

/// The short form of the fuzz target; `SEEDS` makes it long.
#[test]
fn whatever_comes_the_host_stays_sound() {
    let seeds = chord_testing::seeds("SEEDS", 10);
    let mut met: BTreeMap<Option<Reason>, usize> = BTreeMap::new();
    let (mut taken, mut changes) = (0, 0);
    for seed in seeds.clone() {
        let mut maker = Maker::new(seed);
        for number in 0..800 {
            let (input, outcome) = maker.talk();
            let outcome = outcome.unwrap_or_else(|broken| {
                panic!(
                    "seed {seed}, input {number}: {broken}\n{}",
                    hex::encode(&input)
                )
            });
            changes += outcome.changes;
            for what in outcome.refused {
                taken += 1;
                *met.entry(what).or_default() += 1;
            }
        }
    }
    eprintln!("seeds {seeds:?}, {taken} exchanges, {changes} changed pointers, {met:?}");
    // It is worth something only if it gets past the door, and each way to be
    // turned away is tried, but for what is too long for its inputs, or no judgement.
    assert!(changes > taken / 25, "{changes} of {taken}");
    let elsewhere = [
        Reason::TooLarge,
        Reason::TooManyMessages,
        Reason::NoView,
        Reason::UnknownPeer,
    ];
    for reason in Reason::ALL.iter().filter(|r| !elsewhere.contains(r)) {
        assert!(met.contains_key(&Some(*reason)), "never met: {reason:?}");
    }
}
