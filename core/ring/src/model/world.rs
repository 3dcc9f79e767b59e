//! The state of a model, and what an event at one node does to it.

use std::collections::BTreeSet;

use chord_types::Id;

use crate::message::{Envelope, Message, Peer};
use crate::vnode::rules::Rules;
use crate::vnode::{Action, Event, Vnode};

/// All places, and the messages between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub places: Vec<Place>,
    /// A set, since a message may arrive twice anyway.
    pub wire: BTreeSet<Envelope>,
    /// Somebody took a nearer successor that had not answered it.
    pub unanswered: Option<usize>,
}

/// One place on the circle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Nobody, or somebody who has failed: the others cannot tell.
    Down,
    /// Failed, with its pointers on disk: only where a mistake makes use of them.
    Saved(Vnode),
    Up(Vnode),
}

impl World {
    pub fn new(places: Vec<Place>) -> World {
        World {
            places,
            wire: BTreeSet::new(),
            unanswered: None,
        }
    }

    /// The virtual nodes that run, members or not.
    pub fn up(&self) -> impl Iterator<Item = &Vnode> {
        self.places.iter().filter_map(|p| match p {
            Place::Up(vnode) => Some(vnode),
            _ => None,
        })
    }

    pub fn vnode(&self, at: usize) -> Option<&Vnode> {
        match &self.places[at] {
            Place::Up(vnode) => Some(vnode),
            _ => None,
        }
    }

    pub fn member(&self, at: usize) -> Option<&Vnode> {
        self.vnode(at).filter(|v| v.is_member())
    }

    /// The members, by their ids.
    pub fn members(&self) -> BTreeSet<Id> {
        let members = self.up().filter(|v| v.is_member());
        members.map(|v| v.me().id).collect()
    }

    /// Somebody fails: what was on its way to it, and its requests, come to
    /// nothing. What it said to others still arrives.
    pub fn fail(&mut self, at: usize, saved: bool) {
        let Place::Up(vnode) = std::mem::replace(&mut self.places[at], Place::Down) else {
            return;
        };
        let me = vnode.me();
        self.wire
            .retain(|e| e.to != me && !(e.from == me && e.message.asks().is_some()));
        if saved {
            self.places[at] = Place::Saved(vnode.resumed());
        }
    }

    /// An event at one node. What it sends is answered, not on the wire yet.
    pub fn event(&mut self, rules: &Rules, at: usize, event: Event) -> Vec<Envelope> {
        let Place::Up(vnode) = &mut self.places[at] else {
            return Vec::new();
        };
        let (me, before) = (vnode.me(), vnode.waits_for());
        let head = vnode.successors().first().copied();
        let from = match &event {
            Event::Message { from, .. } => Some(*from),
            _ => None,
        };
        let actions = vnode.step(rules, event);
        let now = vnode.successors().first().copied();
        if let (Some(old), Some(new)) = (head, now)
            && new.id.between(&me.id, &old.id)
            && Some(new) != from
        {
            self.unanswered = Some(at);
        }
        let waits = vnode.waits_for();
        if waits != before {
            self.settled(me, waits);
        }
        let sent = actions.into_iter().filter_map(|action| match action {
            Action::Send { to, message } => Some(Envelope {
                from: me,
                to,
                message,
            }),
            Action::Note(_) => None,
        });
        sent.collect()
    }

    /// Takes everything off the wire that belongs to a request of `me` which is
    /// settled. Nothing is lost: a late request changes nobody (it may make a
    /// successor stabilise, which it may do at any time), a late answer is
    /// ignored because its number does not fit.
    fn settled(&mut self, me: Peer, (asked, pinged): (Option<Peer>, Option<Peer>)) {
        self.wire.retain(|e| match &e.message {
            Message::Query { .. } if e.from == me => asked == Some(e.to),
            Message::Ping { .. } if e.from == me => pinged == Some(e.to),
            Message::State { .. } | Message::Busy { .. } if e.to == me => asked == Some(e.from),
            Message::Pong { .. } if e.to == me => pinged == Some(e.from),
            Message::Gone { .. } if e.to == me => asked == Some(e.from) || pinged == Some(e.from),
            _ => true,
        });
    }

    /// Puts messages on the wire. At most `mailbox` notifications wait for one
    /// node; to nodes that are down nothing gets through.
    pub fn send(&mut self, mailbox: usize, messages: Vec<Envelope>) {
        for envelope in messages {
            let to = envelope.to;
            let waiting = self.notifications(to).count();
            let full = envelope.message == Message::Notify
                && waiting >= mailbox
                && !self.wire.contains(&envelope);
            let listens = self.up().any(|v| v.me() == to);
            if listens && !full && envelope.from != to {
                self.wire.insert(envelope);
            }
        }
    }

    pub fn notifications(&self, to: Peer) -> impl Iterator<Item = &Envelope> {
        self.wire
            .iter()
            .filter(move |e| e.to == to && e.message == Message::Notify)
    }
}
