//! What one step of a virtual node may use, and what it answers.

use super::rules::Rules;
use super::{Action, Asked, Note};
use crate::message::{Message, Peer, RequestId};

/// One step: what it may use, and what it answers.
pub(super) struct Turn<'a> {
    pub(super) me: Peer,
    pub(super) next_request: &'a mut u32,
    pub(super) rules: &'a Rules,
    pub(super) out: &'a mut Vec<Action>,
}

impl Turn<'_> {
    pub(super) fn send(&mut self, to: Peer, message: Message) {
        self.out.push(Action::Send { to, message });
    }

    pub(super) fn note(&mut self, note: Note) {
        self.out.push(Action::Note(note));
    }

    pub(super) fn request(&mut self) -> RequestId {
        let number = *self.next_request;
        *self.next_request = (number + 1) % self.rules.request_ids.clamp(1, 1 << 31);
        RequestId(u64::from(self.rules.boot) << 32 | u64::from(number))
    }

    pub(super) fn query(&mut self, peer: Peer, joining: bool) -> Asked {
        let request = self.request();
        self.send(peer, Message::Query { request, joining });
        Asked { peer, request }
    }
}
