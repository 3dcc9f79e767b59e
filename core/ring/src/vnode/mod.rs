//! One virtual node of the ring: Zave's corrected Chord protocol ("How to make
//! Chord correct", 2015; IEEE TSE 2017) as a pure state machine.
//!
//! What it keeps to, and what breaks without:
//! - a ring starts from an ideal base of at least r+1 nodes, never from one;
//! - a joining node is no member until a member has answered it, and after a
//!   restart it joins anew: what it knew before are hints;
//! - a successor list is replaced by that of the successor, never merged;
//! - a nearer successor is adopted only once it has answered;
//! - a predecessor gives way to a farther one only when it is dead;
//! - while a node waits for a reply that may change its list, it answers state
//!   queries with `Busy`: so the step counts as done when the other answered,
//!   and nobody acts on a list that is about to go. Checking the predecessor
//!   does not need this: the predecessor is only ever a hint.
//!
//! Zave fills a shortened list up with `last + 1`, an id nobody has; here the
//! list is just shorter, which steps over less. Because several virtual nodes
//! share a host and fail together, r counts other hosts, not entries.
//!
//! No time in here: the host says when to stabilise and which host does not
//! answer. "Dead" is the word of its failure detector, or `Gone` from the peer.

pub mod fingers;
mod member;
pub mod rules;
#[cfg(test)]
mod tests;
mod turn;

use chord_types::{Id, Ordinal};

use self::fingers::Fingers;
use self::member::last;
use self::rules::{Rules, cut};
use self::turn::Turn;
pub use crate::message::Who;
use crate::message::{Message, Peer, RequestId};

/// A virtual node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vnode {
    me: Peer,
    next_request: u32,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// No member: answers `Gone`. It may be asking a member for its list.
    Joining(Option<Asked>),
    Member(Member),
}

/// The pointers of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Member {
    pred: Option<Peer>,
    /// Never empty; only itself when it is alone.
    succ: Vec<Peer>,
    fingers: Fingers,
    /// A query whose answer may change `succ`.
    asking: Option<Asked>,
    rectify: Option<Rectify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asked {
    peer: Peer,
    request: RequestId,
}

impl Asked {
    /// Whether this is what was asked, and of whom.
    fn fits(&self, peer: Peer, request: RequestId) -> bool {
        self.peer == peer && self.request == request
    }
}

/// A claim to be the predecessor that waits for news of the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rectify {
    candidate: Peer,
    asked: Asked,
}

/// What happens to a virtual node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time for a round with the first successor.
    Stabilize,
    /// `via` may be the member before us: join there.
    Join {
        /// The member to ask for its list.
        via: Peer,
    },
    /// This peer may be a member. Nothing rests on it being right; it brings
    /// rings together again that a partition has split.
    Hint(Peer),
    /// A look-up found the successor of `me + 2^bit`.
    Finger {
        /// Which finger, as a power of two.
        bit: u8,
        /// Who stands there.
        found: Peer,
    },
    /// A message has come.
    Message {
        /// Its sender.
        from: Peer,
        /// What it says.
        message: Message,
    },
    /// Requests to this host stay without a reply, which proves nothing.
    Unanswered(Ordinal),
    /// The failure detector says that these are dead.
    Dead(Who),
}

/// What a virtual node wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A message is to go out.
    Send {
        /// The receiver.
        to: Peer,
        /// What to say.
        message: Message,
    },
    /// For the host to know.
    Note(Note),
}

/// News for the host; only its timing depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// A pointer changed.
    Changed,
    /// A round ended early: stabilise again soon.
    Retry,
    /// Now a member.
    Joined,
    /// No successor is left: no member any more.
    Lost,
}

impl Vnode {
    /// A virtual node that is in no ring: at its start, and after every restart.
    pub fn joining(me: Peer) -> Vnode {
        Vnode {
            me,
            next_request: 0,
            phase: Phase::Joining(None),
        }
    }

    /// A member of the ideal ring of `all`, sorted by id: only for those who
    /// all start together.
    pub fn ideal(rules: &Rules, me: Peer, all: &[Peer]) -> Vnode {
        let after = all.partition_point(|p| p.id <= me.id);
        let (earlier, later) = all.split_at(after);
        let others = || {
            later
                .iter()
                .chain(earlier)
                .copied()
                .filter(|p| p.id != me.id)
        };
        let mut succ = cut(rules, &me, others());
        if succ.is_empty() {
            succ.push(me);
        }
        let pred = Some(others().next_back().unwrap_or(me));
        let fingers = Fingers::ideal(&me.id, &last(&succ, &me), all);
        let member = Member {
            pred,
            succ,
            fingers,
            asking: None,
            rectify: None,
        };
        Vnode {
            me,
            next_request: 0,
            phase: Phase::Member(member),
        }
    }

    /// Its place.
    pub fn me(&self) -> Peer {
        self.me
    }

    /// Whether it is a member of a ring.
    pub fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Member(_))
    }

    fn member(&self) -> Option<&Member> {
        match &self.phase {
            Phase::Member(member) => Some(member),
            Phase::Joining(_) => None,
        }
    }

    /// The predecessor, if known.
    pub fn pred(&self) -> Option<Peer> {
        self.member().and_then(|m| m.pred)
    }

    /// The successor list; empty only if it is no member.
    pub fn successors(&self) -> &[Peer] {
        self.member().map_or(&[], |m| &m.succ)
    }

    /// The distinct fingers past the successor list, nearest first.
    pub fn fingers(&self) -> impl Iterator<Item = &Peer> {
        self.member().into_iter().flat_map(|m| m.fingers.iter())
    }

    /// The next finger to look up at `cursor` or above: its bit and its start.
    pub fn finger_due(&self, cursor: u8) -> Option<(u8, Id)> {
        let member = self.member()?;
        Fingers::due(&self.me.id, &last(&member.succ, &self.me), cursor)
    }

    /// Whether it still waits for the reply to a request.
    pub fn awaits(&self, request: RequestId) -> bool {
        match &self.phase {
            Phase::Joining(asked) => asked.is_some_and(|a| a.request == request),
            Phase::Member(m) => {
                m.asking.is_some_and(|a| a.request == request)
                    || m.rectify.is_some_and(|r| r.asked.request == request)
            }
        }
    }

    /// Whom it waits for: the peer asked for its pointers, and the one pinged.
    #[cfg(test)]
    pub fn waits_for(&self) -> (Option<Peer>, Option<Peer>) {
        match &self.phase {
            Phase::Joining(asked) => (asked.map(|a| a.peer), None),
            Phase::Member(m) => (m.asking.map(|a| a.peer), m.rectify.map(|r| r.asked.peer)),
        }
    }

    /// Itself after a crash, had it saved its pointers: see [`Flaw::ResumePointers`].
    #[cfg(test)]
    pub fn resumed(mut self) -> Vnode {
        if let Phase::Member(member) = &mut self.phase {
            (member.asking, member.rectify) = (None, None);
        }
        self
    }

    /// Itself with another name for everybody it knows. Fingers stay out of it.
    #[cfg(test)]
    pub fn renamed(&self, name: impl Fn(Peer) -> Peer) -> Vnode {
        let asked = |a: &Asked| Asked {
            peer: name(a.peer),
            ..*a
        };
        let phase = match &self.phase {
            Phase::Joining(a) => Phase::Joining(a.as_ref().map(asked)),
            Phase::Member(m) => Phase::Member(Member {
                pred: m.pred.map(&name),
                succ: m.succ.iter().copied().map(&name).collect(),
                fingers: m.fingers.clone(),
                asking: m.asking.as_ref().map(asked),
                rectify: m.rectify.as_ref().map(|r| Rectify {
                    candidate: name(r.candidate),
                    asked: asked(&r.asked),
                }),
            }),
        };
        Vnode {
            me: name(self.me),
            next_request: self.next_request,
            phase,
        }
    }

    /// Whether a round, or an attempt to join, is under way.
    pub fn is_asking(&self) -> bool {
        match &self.phase {
            Phase::Joining(asked) => asked.is_some(),
            Phase::Member(m) => m.asking.is_some(),
        }
    }

    /// Takes one event. Events that do not fit the state do nothing.
    pub fn step(&mut self, rules: &Rules, event: Event) -> Vec<Action> {
        if let Event::Message { from, message } = event {
            return self.message(rules, from, message);
        }
        let mut out = Vec::new();
        let mut lost = false;
        let mut turn = Turn {
            me: self.me,
            next_request: &mut self.next_request,
            rules,
            out: &mut out,
        };
        match (&mut self.phase, event) {
            (Phase::Joining(asked @ None), Event::Join { via }) if via.id != self.me.id => {
                *asked = Some(turn.query(via, true));
            }
            (Phase::Joining(asked), Event::Unanswered(ordinal)) => {
                asked.take_if(|a| a.peer.ordinal == ordinal);
            }
            (Phase::Joining(asked), Event::Dead(who)) => {
                asked.take_if(|a| who.covers(&a.peer));
            }
            (Phase::Member(member), Event::Stabilize) => member.stabilize(&mut turn),
            (Phase::Member(member), Event::Hint(peer)) => member.try_hint(&mut turn, peer),
            (Phase::Member(member), Event::Finger { bit, found }) => {
                let before = member.fingers.clone();
                member.fingers.learn(&turn.me.id, bit.min(159), found);
                member
                    .fingers
                    .beyond(&turn.me.id, &last(&member.succ, &turn.me));
                if member.fingers != before {
                    turn.note(Note::Changed);
                }
            }
            (Phase::Member(member), Event::Unanswered(ordinal)) => {
                if member
                    .asking
                    .take_if(|a| a.peer.ordinal == ordinal)
                    .is_some()
                {
                    turn.note(Note::Retry);
                }
                member.rectify.take_if(|r| r.asked.peer.ordinal == ordinal);
            }
            (Phase::Member(member), Event::Dead(who)) => lost = !member.bury(&mut turn, who),
            _ => {}
        }
        if lost {
            self.lose(&mut out);
        }
        out
    }

    /// No successor is left: the only way back is to join.
    fn lose(&mut self, out: &mut Vec<Action>) {
        self.phase = Phase::Joining(None);
        out.push(Action::Note(Note::Lost));
    }

    fn message(&mut self, rules: &Rules, from: Peer, message: Message) -> Vec<Action> {
        let mut out = Vec::new();
        let mut turn = Turn {
            me: self.me,
            next_request: &mut self.next_request,
            rules,
            out: &mut out,
        };
        match (&mut self.phase, message) {
            (Phase::Joining(_), Message::Query { request, .. } | Message::Ping { request }) => {
                turn.send(from, Message::Gone { request });
            }
            (Phase::Joining(asked), Message::State { request, succ, .. }) => {
                if asked.take_if(|a| a.fits(from, request)).is_some()
                    && let Some(member) = Member::joins(rules, &turn.me, from, succ)
                {
                    turn.note(Note::Joined);
                    self.phase = Phase::Member(member);
                }
            }
            (Phase::Joining(asked), Message::Busy { request } | Message::Gone { request }) => {
                asked.take_if(|a| a.fits(from, request));
            }
            (Phase::Member(member), Message::Query { request, joining }) => {
                member.queried(&mut turn, from, request, joining);
            }
            (
                Phase::Member(member),
                Message::State {
                    request,
                    pred,
                    succ,
                },
            ) => {
                let awaited = member.asking.take_if(|a| a.fits(from, request));
                if awaited.is_some() {
                    member.answered(&mut turn, from, pred, succ);
                }
            }
            (Phase::Member(member), Message::Busy { request }) => {
                if member.asking.take_if(|a| a.fits(from, request)).is_some() {
                    turn.note(Note::Retry);
                }
                member.rectify.take_if(|r| r.asked.fits(from, request));
            }
            (Phase::Member(member), Message::Gone { request }) => {
                let awaited = member.asking.is_some_and(|a| a.fits(from, request))
                    || member.rectify.is_some_and(|r| r.asked.fits(from, request));
                if awaited && !member.bury(&mut turn, Who::Peer(from)) {
                    self.lose(&mut out);
                }
            }
            (Phase::Member(_), Message::Ping { request }) => {
                turn.send(from, Message::Pong { request })
            }
            (Phase::Member(member), Message::Pong { request }) => {
                member.rectify.take_if(|r| r.asked.fits(from, request));
            }
            (Phase::Member(member), Message::Notify) => member.notified(&mut turn, from),
            // The others are between hosts.
            _ => {}
        }
        out
    }
}
