//! A path of the checker in words that a person can follow.
//!
//! Places are called A, B, C … clockwise.

use std::fmt::Write;

use stateright::Path;

use super::{Place, RingModel, Step, World};
use crate::invariant::{self, Violation};
use crate::message::{Envelope, Message, Peer};

/// Tells a path: what happened, and after each step the nodes it changed.
pub fn of_path(model: &RingModel, path: Path<World, Step>) -> String {
    let steps = path.into_vec();
    let mut out = String::new();
    let mut before: Option<World> = None;
    // The action beside a state leads from it to the next.
    let mut did: Option<Step> = None;
    for (number, (world, next)) in steps.into_iter().enumerate() {
        match did.take() {
            None => out.push_str("   at first\n"),
            Some(step) => {
                let _ = writeln!(out, "{number:>2} {}", step_in_words(&step));
            }
        }
        for at in 0..model.peers.len() {
            let same = before
                .as_ref()
                .is_some_and(|b| b.places[at] == world.places[at]);
            let nobody = before.is_none() && world.places[at] == Place::Down;
            if !same && !nobody {
                let _ = writeln!(out, "        {}", place_in_words(at, &world.places[at]));
            }
        }
        let waiting: Vec<String> = world.wire.iter().map(message_in_words).collect();
        if !waiting.is_empty() && before.as_ref().is_none_or(|b| b.wire != world.wire) {
            let _ = writeln!(out, "        on the wire: {}", waiting.join("; "));
        }
        before = Some(world);
        did = next;
    }
    if let Some(world) = before {
        let ring = invariant::ring_of(world.up());
        let says = match invariant::check(&ring, &model.rules) {
            Err(violation) => in_words(&violation),
            Ok(()) => "the ring still holds, and this stays wrong or costs a spare".to_owned(),
        };
        let _ = writeln!(out, "   so: {says}");
    }
    out
}

fn in_words(violation: &Violation) -> String {
    match violation {
        Violation::NoLiveSuccessor(p) => format!("{} has no live successor", peer(p)),
        Violation::Disordered(p) => format!("the list of {} is out of order", peer(p)),
        Violation::TwoRings(p, q) => format!("{} and {} are in different rings", peer(p), peer(q)),
        Violation::RingDisordered(p, q) => {
            format!(
                "the ring is out of order between {} and {}",
                peer(p),
                peer(q)
            )
        }
        Violation::Detached(p) => format!("{} does not lead into the ring", peer(p)),
        other => other.to_string(),
    }
}

fn name(at: usize) -> char {
    char::from(b'A' + at as u8)
}

fn peer(peer: &Peer) -> char {
    name(peer.ordinal.0 as usize)
}

fn list(peers: &[Peer]) -> String {
    peers.iter().map(peer_name).collect::<Vec<_>>().join(" ")
}

fn peer_name(p: &Peer) -> String {
    peer(p).to_string()
}

fn place_in_words(at: usize, place: &Place) -> String {
    let me = name(at);
    match place {
        Place::Down => format!("{me}  down"),
        Place::Saved(vnode) => format!(
            "{me}  down, with successors {} on disk",
            list(vnode.successors())
        ),
        Place::Up(vnode) => {
            let (asked, pinged) = vnode.waits_for();
            let asked = asked.map(|p| format!(", waits for {}", peer(&p)));
            let pinged = pinged.map(|p| format!(", pings {}", peer(&p)));
            let standing = if vnode.is_member() {
                let pred = vnode.pred().map_or('-', |p| peer(&p));
                format!(
                    "predecessor {pred}, successors {}",
                    list(vnode.successors())
                )
            } else {
                "joining".to_owned()
            };
            format!(
                "{me}  {standing}{}{}",
                asked.unwrap_or_default(),
                pinged.unwrap_or_default()
            )
        }
    }
}

fn message_in_words(envelope: &Envelope) -> String {
    let (from, to) = (peer(&envelope.from), peer(&envelope.to));
    match &envelope.message {
        Message::Query { joining: true, .. } => format!("{from} asks {to} to join"),
        Message::Query { .. } => format!("{from} asks {to} for its pointers"),
        Message::State { pred, succ, .. } => {
            let pred = pred.map_or('-', |p| peer(&p));
            format!(
                "{from} tells {to}: predecessor {pred}, successors {}",
                list(succ)
            )
        }
        Message::Notify => format!("{from} tells {to}: I may be your predecessor"),
        other => format!("{from} to {to}: {other:?}"),
    }
}

fn step_in_words(step: &Step) -> String {
    match step {
        Step::Fail(at) => format!("{} fails", name(*at)),
        Step::Join { who, via } => format!("{} joins at {}", name(*who), name(*via)),
        Step::Resume(at) => format!("{} is back and goes on with its old pointers", name(*at)),
        Step::Stabilize(at) => format!("{} stabilises", name(*at)),
        Step::Hint { at, of } => format!("{} hears of {} from the view", name(*at), name(*of)),
        Step::Answered(at) => format!("{} gets its answer", name(*at)),
        Step::Unanswered(at, by) => format!("{} gets no answer from {}", name(*at), name(*by)),
        Step::LearnsOfDeath(at, of) => format!("{} learns that {} is dead", name(*at), name(*of)),
        Step::Arrives {
            envelope,
            stays: false,
        } => format!("arrives: {}", message_in_words(envelope)),
        Step::Arrives { envelope, .. } => {
            format!("arrives, and will again: {}", message_in_words(envelope))
        }
        Step::Lost(envelope) => format!("is lost: {}", message_in_words(envelope)),
    }
}
