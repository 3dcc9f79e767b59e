//! The rules of one virtual node that whole rings seldom show to be broken.

use chord_types::{Ordinal, Token};

use super::rules::{Rules, cut};
use super::{Action, Event, Note, Vnode, Who};
use crate::message::{Message, Peer, RequestId};

fn rules() -> Rules {
    Rules::new(2, 4, 7)
}
fn on(n: u64, host: u32) -> Peer {
    Peer {
        id: Token(n).id(),
        ordinal: Ordinal(host),
    }
}
/// A peer on a host of its own.
fn peer(n: u64) -> Peer {
    on(n, n as u32)
}
fn peers(of: &[u64]) -> Vec<Peer> {
    of.iter().map(|n| peer(*n)).collect()
}
fn ideal(n: u64) -> Vnode {
    Vnode::ideal(&rules(), peer(n), &peers(&[10, 20, 30, 40, 50]))
}
fn hear(vnode: &mut Vnode, from: u64, message: Message) -> Vec<Action> {
    vnode.step(
        &rules(),
        Event::Message {
            from: peer(from),
            message,
        },
    )
}
fn state(request: RequestId, pred: u64, succ: &[u64]) -> Message {
    Message::State {
        request,
        pred: Some(peer(pred)),
        succ: peers(succ),
    }
}
/// The one request among some actions: to whom, and its id.
fn asked(actions: &[Action]) -> (Peer, RequestId) {
    let requests: Vec<_> = actions
        .iter()
        .filter_map(|a| match a {
            Action::Send { to, message } => message.asks().map(|r| (*to, r)),
            Action::Note(_) => None,
        })
        .collect();
    assert_eq!(requests.len(), 1, "{actions:?}");
    requests[0]
}
fn notify(to: u64) -> Action {
    Action::Send {
        to: peer(to),
        message: Message::Notify,
    }
}

#[test]
fn a_node_that_joins_is_no_member_until_answered_and_takes_the_whole_list() {
    let mut vnode = Vnode::joining(peer(25));
    let gone = hear(
        &mut vnode,
        10,
        Message::Query {
            request: RequestId(1),
            joining: false,
        },
    );
    assert_eq!(
        gone,
        [Action::Send {
            to: peer(10),
            message: Message::Gone {
                request: RequestId(1)
            }
        }]
    );
    let (to, request) = asked(&vnode.step(&rules(), Event::Join { via: peer(20) }));
    assert_eq!(to, peer(20));
    assert!(!vnode.is_member());
    assert_eq!(
        hear(&mut vnode, 20, state(request, 10, &[30, 40])),
        [Action::Note(Note::Joined)]
    );
    assert_eq!(
        (vnode.pred(), vnode.successors()),
        (Some(peer(20)), &peers(&[30, 40])[..])
    );
}

#[test]
fn one_does_not_join_where_one_does_not_belong() {
    // At a node too far back, and at one that still lists the start before.
    for succ in [[22, 30], [25, 30]] {
        let mut vnode = Vnode::joining(peer(25));
        let (_, request) = asked(&vnode.step(&rules(), Event::Join { via: peer(20) }));
        assert_eq!(hear(&mut vnode, 20, state(request, 10, &succ)), []);
        assert!(!vnode.is_member());
    }
}

#[test]
fn the_list_becomes_that_of_the_successor_and_a_nearer_one_counts_only_when_it_answers() {
    let mut vnode = ideal(10);
    let (_, first) = asked(&vnode.step(&rules(), Event::Stabilize));
    let actions = hear(&mut vnode, 20, state(first, 15, &[32, 40]));
    assert_eq!(
        vnode.successors(),
        peers(&[20, 32]),
        "replaced, not merged; 15 is a claim only"
    );
    let (to, nearer) = asked(&actions);
    assert_eq!(to, peer(15));
    assert_eq!(
        hear(&mut vnode, 15, state(nearer, 10, &[20, 32])),
        [Action::Note(Note::Changed), notify(15)]
    );
    assert_eq!(vnode.successors(), peers(&[15, 20]));
}

#[test]
fn a_nearer_one_that_is_dead_changes_nothing() {
    let mut vnode = ideal(10);
    let (_, first) = asked(&vnode.step(&rules(), Event::Stabilize));
    let (_, nearer) = asked(&hear(&mut vnode, 20, state(first, 15, &[30, 40])));
    let actions = hear(&mut vnode, 15, Message::Gone { request: nearer });
    assert!(actions.contains(&notify(20)), "{actions:?}");
    assert_eq!(vnode.successors(), peers(&[20, 30]));
}

#[test]
fn while_its_list_may_change_a_node_is_busy_but_alive() {
    let mut vnode = ideal(10);
    let query = Message::Query {
        request: RequestId(5),
        joining: false,
    };
    let answer = |vnode: &mut Vnode| match &hear(vnode, 50, query.clone())[..] {
        [Action::Send { message, .. }] => message.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(answer(&mut vnode), state(RequestId(5), 50, &[20, 30]));
    let (_, first) = asked(&vnode.step(&rules(), Event::Stabilize));
    assert_eq!(
        answer(&mut vnode),
        Message::Busy {
            request: RequestId(5)
        }
    );
    let pong = hear(
        &mut vnode,
        20,
        Message::Ping {
            request: RequestId(6),
        },
    );
    assert_eq!(
        pong,
        [Action::Send {
            to: peer(20),
            message: Message::Pong {
                request: RequestId(6)
            }
        }]
    );
    hear(&mut vnode, 20, state(first, 10, &[30, 40]));
    assert_eq!(answer(&mut vnode), state(RequestId(5), 50, &[20, 30]));
}

#[test]
fn replies_that_come_twice_late_or_from_others_do_nothing() {
    let mut vnode = ideal(10);
    let (_, first) = asked(&vnode.step(&rules(), Event::Stabilize));
    vnode.step(&rules(), Event::Unanswered(Ordinal(20)));
    let (_, second) = asked(&vnode.step(&rules(), Event::Stabilize));
    assert_ne!(first, second);
    let waiting = vnode.clone();
    for message in [
        state(first, 10, &[31, 41]),
        Message::Gone { request: first },
        Message::Busy { request: first },
    ] {
        assert_eq!(hear(&mut vnode, 20, message), [], "late");
    }
    assert_eq!(
        hear(&mut vnode, 30, state(second, 10, &[31, 41])),
        [],
        "from somebody else"
    );
    assert_eq!(vnode, waiting);
    hear(&mut vnode, 20, state(second, 10, &[30, 40]));
    let settled = vnode.clone();
    assert_eq!(
        hear(&mut vnode, 20, state(second, 10, &[31, 41])),
        [],
        "twice"
    );
    assert_eq!(vnode, settled);
    let mut later = rules();
    later.boot += 1;
    let mut again = ideal(10);
    let (_, other) = asked(&again.step(&later, Event::Stabilize));
    assert_ne!(first, other, "another start, other ids");
}

#[test]
fn a_farther_predecessor_is_taken_only_when_the_present_one_is_dead() {
    let mut vnode = ideal(30);
    let (to, request) = asked(&hear(&mut vnode, 10, Message::Notify));
    assert_eq!(to, peer(20));
    hear(&mut vnode, 20, Message::Pong { request });
    assert_eq!(vnode.pred(), Some(peer(20)));
    let (_, request) = asked(&hear(&mut vnode, 10, Message::Notify));
    hear(&mut vnode, 20, Message::Gone { request });
    assert_eq!(vnode.pred(), Some(peer(10)));
    hear(&mut vnode, 25, Message::Notify);
    assert_eq!(vnode.pred(), Some(peer(25)), "a nearer one at once");
}

#[test]
fn dead_successors_go_from_the_front_and_who_has_none_left_is_out() {
    let mut vnode = ideal(10);
    vnode.step(&rules(), Event::Dead(Who::Host(Ordinal(30))));
    assert_eq!(
        vnode.successors(),
        peers(&[20, 30]),
        "the tail is the business of the successor"
    );
    let actions = vnode.step(&rules(), Event::Dead(Who::Host(Ordinal(20))));
    assert!(
        actions.contains(&notify(30)) && actions.contains(&Action::Note(Note::Retry)),
        "{actions:?}"
    );
    let spare: Vec<Peer> = vnode.fingers().copied().collect();
    vnode.step(&rules(), Event::Dead(Who::Host(Ordinal(30))));
    assert_eq!(
        vnode.successors().first(),
        spare.first(),
        "a finger is better than nothing"
    );
    let hosts: Vec<Ordinal> = vnode
        .successors()
        .iter()
        .chain(vnode.fingers())
        .map(|p| p.ordinal)
        .collect();
    let last: Vec<Action> = hosts
        .into_iter()
        .flat_map(|h| vnode.step(&rules(), Event::Dead(Who::Host(h))))
        .collect();
    assert!(last.contains(&Action::Note(Note::Lost)), "{last:?}");
    assert!(!vnode.is_member());
}

#[test]
fn a_list_reaches_other_hosts_not_just_other_tokens() {
    let me = on(10, 1);
    let got = cut(
        &rules(),
        &me,
        [on(20, 1), on(30, 2), on(40, 2), on(50, 3), on(60, 4)].into_iter(),
    );
    assert_eq!(got, [on(20, 1), on(30, 2), on(40, 2), on(50, 3)]);
    let capped = cut(&rules(), &me, (2..20).map(|n| on(n * 10, 1)));
    assert_eq!(capped.len(), rules().list_cap);
    let round = cut(
        &rules(),
        &me,
        [on(20, 2), on(5, 2), on(10, 1), on(15, 3)].into_iter(),
    );
    assert_eq!(
        round,
        [on(20, 2), on(5, 2)],
        "ends where it comes round to me"
    );
}

#[test]
fn a_successor_that_joins_anew_makes_its_predecessor_look() {
    let mut vnode = ideal(10);
    let actions = hear(
        &mut vnode,
        20,
        Message::Query {
            request: RequestId(9),
            joining: true,
        },
    );
    let (to, request) = asked(&actions);
    assert_eq!(to, peer(20));
    hear(&mut vnode, 20, Message::Gone { request });
    assert_eq!(
        vnode.successors(),
        peers(&[30]),
        "so that it can join before 30"
    );
}
