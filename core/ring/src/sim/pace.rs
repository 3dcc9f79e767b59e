//! How fast the core is: its steps alone, without a simulator around them.

use chord_types::{Ordinal, Token};

use crate::host::Config;
use crate::message::{Message, Peer};
use crate::vnode::rules::Rules;
use crate::vnode::{Action, Event, Vnode};

/// Takes a virtual node of a ring of `nodes` through `rounds` rounds of
/// stabilising, every other one with a list that has changed. Answers the steps
/// taken and the messages sent.
pub fn core_steps(nodes: u32, rounds: u64) -> (u64, u64) {
    let rules: Rules = Config::new(1, 1000).rules;
    let peer = |n: u32| Peer {
        id: Token(u64::from(n) * (u64::MAX / u64::from(nodes.max(4)))).id(),
        ordinal: Ordinal(n),
    };
    let all: Vec<Peer> = (0..nodes.max(4)).map(peer).collect();
    let mut vnode = Vnode::ideal(&rules, all[0], &all);
    let (mut steps, mut sent) = (0, 0);
    for round in 0..rounds {
        for action in vnode.step(&rules, Event::Stabilize) {
            let Action::Send { to, message } = action else {
                continue;
            };
            let Message::Query { request, .. } = message else {
                continue;
            };
            let skip = 2 + (round % 2) as usize;
            let state = Message::State {
                request,
                pred: Some(all[0]),
                succ: all
                    .iter()
                    .skip(skip)
                    .take(rules.successors)
                    .copied()
                    .collect(),
            };
            let event = Event::Message {
                from: to,
                message: state,
            };
            sent += 1 + vnode.step(&rules, event).len() as u64;
            steps += 1;
        }
        steps += 1;
    }
    (steps, sent)
}
