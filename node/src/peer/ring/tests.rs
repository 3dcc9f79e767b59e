//! Each reason to refuse an exchange, and what passes.

use chord_types::{ClusterUid, DiskId, Epoch, Id, Ordinal};
use prometheus_client::encoding::prometheus_text;

use super::fuzzing::{HOSTS, World};
use super::*;
use chord_ring::{Envelope, Message, Peer, RequestId, Route};

const OWN: Ordinal = Ordinal(0);
const THEM: Ordinal = Ordinal(1);

fn envelope(message: Message) -> Envelope {
    Envelope {
        from: World::peer(THEM, 0),
        to: World::peer(OWN, 0),
        message,
    }
}

fn state(request: u64, succ: Vec<Peer>) -> Message {
    Message::State {
        request: RequestId(request),
        pred: None,
        succ,
    }
}

/// Judges with nothing remembered.
fn judge(direction: Direction, change: impl FnOnce(&mut RingExchange)) -> Result<Valid, Reason> {
    let message = match direction {
        Direction::Request => Message::Notify,
        Direction::Response(_) => Message::Pong {
            request: RequestId(1),
        },
    };
    let world = World::new();
    let mut exchange = world.exchange(THEM, 1, vec![envelope(message)]);
    change(&mut exchange);
    judge_by(&Senders::default(), direction, exchange)
}

fn judge_by(
    senders: &Senders,
    direction: Direction,
    exchange: RingExchange,
) -> Result<Valid, Reason> {
    let world = World::new();
    check(exchange, direction, &world.known(senders)).map_err(|refused| refused.reason)
}

fn refused(direction: Direction, change: impl FnOnce(&mut RingExchange)) -> Option<Reason> {
    judge(direction, change).err()
}

#[test]
fn an_honest_exchange_passes_both_ways_untouched() {
    for direction in [Direction::Request, Direction::Response(THEM)] {
        let valid = judge(direction, |_| {}).unwrap();
        assert_eq!(valid.unknown_peers(), 0);
        assert_eq!(valid.into_messages().len(), 1);
    }
    // The two ends may be at different views.
    for epoch in [1, 4, 6, u64::MAX] {
        let news = |e: &mut RingExchange| {
            e.view.epoch = Epoch(epoch);
            e.view.hash.0[0] ^= 1;
        };
        assert_eq!(refused(Direction::Request, news), None, "epoch {epoch}");
    }
    assert_eq!(
        refused(Direction::Request, |e| (e.version, e.number) = (1, 0)),
        None
    );
}

#[test]
fn a_sender_that_is_not_who_it_should_be_is_refused() {
    let request = |change: fn(&mut RingExchange)| refused(Direction::Request, change).unwrap();
    assert_eq!(
        request(|e| e.cluster = ClusterUid("other".into())),
        Reason::OtherCluster
    );
    assert_eq!(request(|e| e.version = 3), Reason::OtherVersion);
    assert_eq!(request(|e| e.version = 0), Reason::OtherVersion);
    assert_eq!(request(|e| e.from = Ordinal(HOSTS)), Reason::Stranger);
    assert_eq!(request(|e| e.from = Ordinal(u32::MAX)), Reason::Stranger);
    assert_eq!(request(|e| e.from = OWN), Reason::FromSelf);
    assert_eq!(
        request(|e| e.disk = World::disk(Ordinal(2))),
        Reason::OtherDisk
    );
    assert_eq!(
        request(|e| e.disk = DiskId(uuid::Uuid::nil())),
        Reason::OtherDisk
    );
    assert_eq!(request(|e| e.view.hash.0[31] ^= 1), Reason::ConflictingView);
    assert_eq!(request(|e| e.boot = 1 << 32), Reason::OutOfRange);
    assert_eq!(
        refused(Direction::Response(Ordinal(2)), |_| {}),
        Some(Reason::SpeaksForOther)
    );
}

#[test]
fn a_message_that_its_sender_may_not_send_is_refused() {
    let first = |change: fn(&mut Envelope)| {
        refused(Direction::Request, |e| change(&mut e.messages[0])).unwrap()
    };
    assert_eq!(
        first(|m| m.from = World::peer(Ordinal(2), 0)),
        Reason::SpeaksForOther
    );
    assert_eq!(
        first(|m| m.from.id = World::peer(Ordinal(2), 0).id),
        Reason::ClaimedToken
    );
    assert_eq!(
        first(|m| m.from.id = Id::hash(b"nowhere")),
        Reason::UnknownToken
    );
    assert_eq!(
        first(|m| m.to = World::peer(Ordinal(2), 0)),
        Reason::Misaddressed
    );
    assert_eq!(first(|m| m.to.ordinal = Ordinal(99)), Reason::Misaddressed);
    assert_eq!(
        first(|m| m.to.id = World::peer(THEM, 0).id),
        Reason::Misaddressed
    );
    assert_eq!(
        first(|m| m.message = state(1, vec![World::peer(Ordinal(2), 0)])),
        Reason::WrongDirection
    );
    let answer = |message: Message| {
        refused(Direction::Response(THEM), |e| {
            e.messages = vec![envelope(message)]
        })
        .unwrap()
    };
    assert_eq!(answer(Message::Notify), Reason::WrongDirection);
    let lie = Peer {
        id: World::peer(Ordinal(2), 0).id,
        ordinal: Ordinal(3),
    };
    assert_eq!(answer(state(1, vec![lie])), Reason::ClaimedToken);
    assert_eq!(
        answer(state(1, vec![World::peer(Ordinal(2), 0); 65])),
        Reason::ListTooLong
    );
    let at = World::peer(Ordinal(2), 0);
    let route = Route::Nearer {
        at,
        candidates: vec![],
        beyond: vec![],
    };
    assert_eq!(
        answer(Message::Route {
            request: RequestId(1),
            route
        }),
        Reason::SpeaksForOther
    );
    let many =
        |e: &mut RingExchange| e.messages = vec![envelope(Message::Notify); MAX_MESSAGES + 1];
    assert_eq!(
        refused(Direction::Request, many),
        Some(Reason::TooManyMessages)
    );
}

#[test]
fn an_id_that_nobody_has_can_be_asked_for_and_is_gone() {
    let lost = |e: &mut RingExchange| e.messages[0].to.id = Id::hash(b"nowhere");
    assert_eq!(refused(Direction::Request, lost), None);
    // And a reply from such an id says just that.
    let valid = judge(Direction::Response(THEM), |e| {
        e.messages = vec![envelope(state(7, vec![World::peer(Ordinal(2), 0)]))];
        e.messages[0].from.id = Id::hash(b"nowhere");
    });
    let request = RequestId(7);
    assert_eq!(
        valid.unwrap().into_messages()[0].message,
        Message::Gone { request }
    );
}

#[test]
fn a_list_ends_before_a_peer_that_the_view_does_not_know() {
    let stranger = Peer {
        id: Id::hash(b"nowhere"),
        ordinal: Ordinal(9),
    };
    let (two, three) = (World::peer(Ordinal(2), 0), World::peer(Ordinal(3), 0));
    let after = |message: Message| {
        let valid = judge(Direction::Response(THEM), |e| {
            e.messages = vec![envelope(message)]
        })
        .unwrap();
        (
            valid.unknown_peers(),
            valid.into_messages().remove(0).message,
        )
    };
    let request = RequestId(1);
    let told = Message::State {
        request,
        pred: Some(stranger),
        succ: vec![two, stranger, three],
    };
    assert_eq!(after(told), (3, state(1, vec![two])));
    let told = state(1, vec![stranger, two]);
    assert_eq!(after(told), (2, Message::Busy { request }), "its successor");
    let found = |before, successors| Message::Route {
        request,
        route: Route::Found { before, successors },
    };
    assert_eq!(
        after(found(two, vec![three, stranger])),
        (1, found(two, vec![three]))
    );
    assert_eq!(
        after(found(two, vec![stranger, three])),
        (3, Message::Busy { request }),
        "whoever stands behind the successor is not it"
    );
    assert_eq!(
        after(found(stranger, vec![three])),
        (1, Message::Busy { request }),
        "without its anchor a route is of no use"
    );
}

#[test]
fn an_earlier_start_is_refused_and_a_proof_undoes_a_claim() {
    let world = World::new();
    let of = |boot, number| RingExchange {
        boot,
        ..world.exchange(THEM, number, vec![])
    };
    let response = Direction::Response(THEM);
    let mut senders = Senders::default();
    senders.note(&of(4, 1), Direction::Request);
    let verdict = |senders: &Senders, direction, e| judge_by(senders, direction, e).err();
    assert_eq!(
        verdict(&senders, Direction::Request, of(3, 2)),
        Some(Reason::OldBoot)
    );
    assert_eq!(verdict(&senders, Direction::Request, of(5, 1)), None);
    // Somebody claims a start far ahead; the node itself says otherwise.
    senders.note(&of(1_000, 1), Direction::Request);
    assert_eq!(
        verdict(&senders, Direction::Request, of(4, 2)),
        Some(Reason::OldBoot)
    );
    assert_eq!(verdict(&senders, response, of(4, 0)), None);
    senders.note(&of(4, 0), response);
    assert_eq!(verdict(&senders, Direction::Request, of(4, 2)), None);
    assert_eq!(
        verdict(&senders, response, of(3, 0)),
        Some(Reason::OldBoot),
        "what is proven stays"
    );
    // Another disk begins anew.
    let other = World::disk(Ordinal(2));
    let replaced = RingExchange {
        disk: other,
        ..of(1, 1)
    };
    assert_eq!(senders.fresh(&replaced, Direction::Request), Ok(()));
}

#[test]
fn a_request_is_taken_once() {
    let world = World::new();
    let mut senders = Senders::default();
    let of = |number| world.exchange(THEM, number, vec![envelope(Message::Notify)]);
    for number in [3, 1, 2] {
        assert_eq!(
            judge_by(&senders, Direction::Request, of(number)).err(),
            None
        );
        senders.note(&of(number), Direction::Request);
        assert_eq!(
            judge_by(&senders, Direction::Request, of(number)).err(),
            Some(Reason::Replayed)
        );
    }
    assert_eq!(
        judge_by(&senders, Direction::Request, of(0)).err(),
        Some(Reason::Replayed),
        "who numbers requests does not stop"
    );
    let again = RingExchange { boot: 4, ..of(1) };
    assert_eq!(judge_by(&senders, Direction::Request, again).err(), None);
}

#[test]
fn bytes_are_read_whole_or_not_at_all() {
    let exchange = World::new().exchange(THEM, 1, vec![envelope(Message::Notify)]);
    let bytes = rmp_serde::to_vec_named(&exchange).unwrap();
    assert_eq!(decode(&bytes).unwrap(), exchange);
    let reason = |bytes: &[u8]| decode(bytes).unwrap_err().reason;
    for cut in 0..bytes.len() {
        assert_eq!(reason(&bytes[..cut]), Reason::Unreadable, "cut at {cut}");
    }
    let longer = [&bytes[..], &[0xc0]].concat();
    assert_eq!(reason(&longer), Reason::TrailingBytes);
    let twice = [&bytes[..], &bytes[..]].concat();
    assert_eq!(reason(&twice), Reason::TrailingBytes);
    let huge = [&bytes[..], &vec![0; MAX_BODY]].concat();
    assert_eq!(reason(&huge), Reason::TooLarge);
    // A list said to have four thousand million entries, and no more.
    assert_eq!(reason(&[0xdd, 0xff, 0xff, 0xff, 0xff]), Reason::Unreadable);
    // Lists in lists in lists.
    assert_eq!(reason(&[0x91; 100_000]), Reason::Unreadable);
}

#[test]
fn another_version_is_known_by_its_number_whatever_its_shape() {
    #[derive(serde::Serialize)]
    struct Later {
        version: u16,
        shape: &'static str,
    }
    let bytes = rmp_serde::to_vec_named(&Later {
        version: 3,
        shape: "quite another",
    });
    assert_eq!(
        decode(&bytes.unwrap()).unwrap_err().reason,
        Reason::OtherVersion
    );
    // And the one before has neither a version nor a number.
    #[derive(serde::Serialize)]
    struct Earlier<'a> {
        cluster: &'a ClusterUid,
        from: Ordinal,
        disk: DiskId,
        boot: u64,
        view: chord_types::view::ViewRef,
        available: u64,
        messages: &'a [Envelope],
    }
    let world = World::new();
    let now = world.exchange(THEM, 0, vec![envelope(Message::Notify)]);
    let bytes = rmp_serde::to_vec_named(&Earlier {
        cluster: &now.cluster,
        from: now.from,
        disk: now.disk,
        boot: now.boot,
        view: now.view,
        available: now.available,
        messages: &now.messages,
    });
    let read = decode(&bytes.unwrap()).unwrap();
    assert_eq!((read.version, read.number), (1, 0));
    assert_eq!(read.messages, now.messages);
}

#[test]
fn what_is_refused_is_counted_by_reason_and_what_passed_is_remembered() {
    let world = World::new();
    let current = Current::new(world.view.clone(), true);
    let admission = Admission::default();
    let admit =
        |exchange| admission.admit(&world.cluster, OWN, &current, Direction::Request, exchange);
    let honest = world.exchange(THEM, 1, vec![envelope(Message::Notify)]);
    admit(honest.clone()).unwrap();
    for _ in 0..2 {
        let refused = admit(honest.clone()).unwrap_err();
        admission.count(&refused, "a test");
    }
    let mut registry = Registry::default();
    admission.add_metrics(&mut registry);
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).unwrap();
    let line = |line: &str| text.lines().any(|l| l == line);
    assert!(
        line("# TYPE chord_ring_refused_total counter")
            && line("chord_ring_refused_total{reason=\"replayed\"} 2"),
        "{text}"
    );
    assert!(
        line("chord_ring_refused_total{reason=\"stranger\"} 0"),
        "{text}"
    );
    assert_eq!(
        text.lines().filter(|l| !l.starts_with('#')).count(),
        Reason::ALL.len()
    );
}
