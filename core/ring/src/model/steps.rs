//! What can happen next, and what comes of it.

use chord_types::Id;

use super::world::{Place, World};
use super::{Grain, Network, RingModel};
use crate::message::{Envelope, Message, Peer};
use crate::vnode::rules::{Flaw, cut};
use crate::vnode::{Event, Vnode, Who};

/// One step of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Fail(usize),
    /// Somebody who is down joins at the member `via`.
    Join {
        who: usize,
        via: usize,
    },
    /// Somebody goes on with saved pointers: a mistake.
    Resume(usize),
    /// Time for a round.
    Stabilize(usize),
    /// Coarse: its open request is answered, or its silence taken for death.
    Answered(usize),
    /// Wide: the view says that `of` may be a member.
    Hint {
        at: usize,
        of: usize,
    },
    /// Its open requests stay without an answer.
    Unanswered(usize, usize),
    /// Fine: it learns that the one it waits for is dead. Wide: that anybody is.
    LearnsOfDeath(usize, usize),
    /// A message arrives; `stays`: and will arrive again.
    Arrives {
        envelope: Envelope,
        stays: bool,
    },
    Lost(Envelope),
}

impl RingModel {
    /// Everything that can happen. Some of it changes nothing.
    pub fn possible(&self, world: &World, steps: &mut Vec<Step>) {
        for at in 0..self.peers.len() {
            match &world.places[at] {
                Place::Saved(_) => steps.push(Step::Resume(at)),
                Place::Down => {
                    let vias = (0..self.peers.len()).filter(|via| self.fits(world, at, *via));
                    steps.extend(vias.map(|via| Step::Join { who: at, via }));
                }
                Place::Up(vnode) => {
                    if vnode.is_member() && self.may_fail(world, at) {
                        steps.push(Step::Fail(at));
                    }
                    if vnode.is_member() && !vnode.is_asking() {
                        steps.push(Step::Stabilize(at));
                    }
                    self.possible_answers(world, at, vnode, steps);
                    if self.wide {
                        self.possible_news(world, at, vnode, steps);
                    }
                }
            }
        }
        for envelope in &world.wire {
            // A doubled request or answer does nothing that one which comes at
            // the right time does not: see `World::settled`.
            let arrives = |stays| Step::Arrives {
                envelope: envelope.clone(),
                stays,
            };
            steps.push(arrives(false));
            if self.network == Network::Hostile {
                if envelope.message == Message::Notify {
                    steps.push(arrives(true));
                }
                steps.push(Step::Lost(envelope.clone()));
            }
        }
    }

    fn possible_news(&self, world: &World, at: usize, vnode: &Vnode, steps: &mut Vec<Step>) {
        for of in (0..self.peers.len()).filter(|of| *of != at) {
            if vnode.is_member() {
                steps.push(Step::Hint { at, of });
            }
            if world.vnode(of).is_none() {
                steps.push(Step::LearnsOfDeath(at, of));
            }
        }
    }

    fn possible_answers(&self, world: &World, at: usize, vnode: &Vnode, steps: &mut Vec<Step>) {
        let (asked, pinged) = vnode.waits_for();
        // The answer to one that joins is on the wire, in wide models.
        let on_its_way = self.wide && !vnode.is_member();
        if self.grain != Grain::Fine && asked.is_some() && !on_its_way {
            steps.push(Step::Answered(at));
        }
        let mut waits: Vec<usize> = [asked, pinged]
            .into_iter()
            .flatten()
            .map(|p| p.ordinal.0 as usize)
            .collect();
        waits.dedup();
        for on in waits {
            if self.network == Network::Hostile {
                steps.push(Step::Unanswered(at, on));
            }
            if self.grain == Grain::Fine && world.vnode(on).is_none() {
                steps.push(Step::LearnsOfDeath(at, on));
            }
        }
    }

    /// Whether `via` is where `who` joins: a member with `who` between itself
    /// and its successor.
    fn fits(&self, world: &World, who: usize, via: usize) -> bool {
        world.member(via).is_some_and(|m| {
            let first = m.successors().first().map_or(m.me().id, |p| p.id);
            self.peers[who].id.between(&m.me().id, &first)
        })
    }

    /// The assumption of the theorem: every member that lists `at` keeps another
    /// live entry, and `at` is no principal or more than r+1 of them remain. A
    /// list on its way counts as that of its receiver.
    pub fn may_fail(&self, world: &World, at: usize) -> bool {
        let me = self.peers[at];
        let members = world.members();
        let mut lists: Vec<(Peer, Vec<Peer>)> = world
            .up()
            .filter(|v| v.is_member())
            .map(|v| (v.me(), v.successors().to_vec()))
            .collect();
        lists.extend(world.wire.iter().filter_map(|e| match &e.message {
            Message::State { succ, .. } => {
                let joins = world.up().any(|v| v.me() == e.to && !v.is_member());
                let head = (!joins).then_some(e.from);
                let list = head.into_iter().chain(succ.iter().copied());
                Some((e.to, cut(&self.rules, &e.to, list)))
            }
            _ => None,
        }));
        let keeps = lists.iter().filter(|(of, _)| *of != me).all(|(of, list)| {
            let live = |p: &&Peer| **p != me && *p != of && members.contains(&p.id);
            !list.contains(&me) || list.iter().any(|p| live(&p))
        });
        // Without a base there is only the assumption of the papers, that somebody
        // of each list lives.
        if !keeps || self.rules.has(Flaw::NoStableBase) || self.rules.has(Flaw::BootstrapAlone) {
            return keeps;
        }
        let principal = |id: &Id| {
            lists.iter().all(|(of, list)| {
                let mut from = of.id;
                list.iter().all(|next| {
                    let before = std::mem::replace(&mut from, next.id);
                    !id.between(&before, &next.id)
                })
            })
        };
        let principals = members.iter().filter(|id| principal(id)).count();
        !principal(&me.id) || principals > self.rules.successors + 1
    }

    /// What a step does.
    pub fn take(&self, world: &mut World, step: Step) {
        let rules = &self.rules;
        match step {
            Step::Fail(at) => world.fail(at, rules.has(Flaw::ResumePointers)),
            Step::Join { who, via } => {
                world.places[who] = Place::Up(Vnode::joining(self.peers[who]));
                let via = self.peers[via];
                let sent = world.event(rules, who, Event::Join { via });
                self.send(world, sent);
                if self.wide && self.grain != Grain::Fine {
                    self.answer_to_joining(world, who, via);
                } else if self.grain != Grain::Fine {
                    self.exchange(world, who);
                    if world.member(who).is_none() {
                        world.places[who] = Place::Down;
                    }
                }
            }
            Step::Resume(at) => {
                if let Place::Saved(vnode) = world.places[at].clone() {
                    world.places[at] = Place::Up(vnode);
                }
            }
            Step::Stabilize(at) => {
                let alone = world.vnode(at).is_some_and(|v| v.successors() == [v.me()]);
                self.happens(world, at, Event::Stabilize);
                if self.grain != Grain::Fine && !alone {
                    self.exchange(world, at);
                }
            }
            Step::Answered(at) => self.exchange(world, at),
            Step::Hint { at, of } => {
                self.happens(world, at, Event::Hint(self.peers[of]));
                if self.grain != Grain::Fine {
                    self.exchange(world, at);
                }
            }
            Step::Unanswered(at, by) => {
                let event = Event::Unanswered(self.peers[by].ordinal);
                self.happens(world, at, event);
                // One that could not join is as good as down.
                let gave_up = |v: &Vnode| !v.is_member() && !v.is_asking();
                if world.vnode(at).is_some_and(gave_up) {
                    world.fail(at, false);
                }
            }
            Step::LearnsOfDeath(at, of) => self.mourns(world, at, self.peers[of]),
            Step::Arrives { envelope, stays } => {
                if !stays {
                    world.wire.remove(&envelope);
                }
                self.arrives(world, envelope);
            }
            Step::Lost(envelope) => {
                world.wire.remove(&envelope);
            }
        }
    }

    fn happens(&self, world: &mut World, at: usize, event: Event) {
        let sent = world.event(&self.rules, at, event);
        self.send(world, sent);
    }

    /// Above the fine grain requests are not on the wire: see [`Self::exchange`].
    fn send(&self, world: &mut World, mut sent: Vec<Envelope>) {
        if self.grain != Grain::Fine {
            sent.retain(|e| e.message.asks().is_none());
        }
        if self.grain == Grain::Whole {
            for envelope in sent {
                self.arrives(world, envelope);
            }
            return;
        }
        world.send(self.mailbox, sent);
    }

    fn mourns(&self, world: &mut World, at: usize, dead: Peer) {
        self.happens(world, at, Event::Dead(Who::Host(dead.ordinal)));
        if world
            .vnode(at)
            .is_some_and(|v| !v.is_member() && !v.is_asking())
        {
            world.fail(at, false);
        }
    }

    /// A message reaches its receiver.
    pub fn arrives(&self, world: &mut World, envelope: Envelope) {
        let Envelope { from, to, message } = envelope;
        let at = to.ordinal.0 as usize;
        self.happens(world, at, Event::Message { from, message });
        match world.vnode(at).map(|v| (v.is_member(), v.waits_for())) {
            // One that could not join is as good as down.
            Some((false, (None, _))) => world.fail(at, false),
            Some((true, (_, Some(_)))) if self.grain != Grain::Fine => self.ping(world, at),
            _ => {}
        }
    }

    /// The open request for pointers of `at` is answered, and the answer taken
    /// in, at this moment.
    fn exchange(&self, world: &mut World, at: usize) {
        // Each nearer one that is followed at once lies before the last.
        let exchanges = match self.grain {
            Grain::Whole => 2 * self.peers.len(),
            _ => 1,
        };
        for _ in 0..exchanges {
            let Some((Some(peer), _)) = world.vnode(at).map(Vnode::waits_for) else {
                return;
            };
            let joining = world.member(at).is_none();
            let query = Message::Query {
                request: Default::default(),
                joining,
            };
            self.ask(world, at, peer, query);
        }
    }

    /// `via` answers one that joins, which will hear it later.
    fn answer_to_joining(&self, world: &mut World, who: usize, via: Peer) {
        let query = Message::Query {
            request: Default::default(),
            joining: true,
        };
        let event = Event::Message {
            from: self.peers[who],
            message: query,
        };
        let sent = world.event(&self.rules, via.ordinal.0 as usize, event);
        self.send(world, sent);
    }

    fn ping(&self, world: &mut World, at: usize) {
        if let Some((_, Some(peer))) = world.vnode(at).map(Vnode::waits_for) {
            let ping = Message::Ping {
                request: Default::default(),
            };
            self.ask(world, at, peer, ping);
        }
    }

    fn ask(&self, world: &mut World, at: usize, peer: Peer, message: Message) {
        let (me, other) = (self.peers[at], peer.ordinal.0 as usize);
        if world.vnode(other).is_none() {
            return self.mourns(world, at, peer);
        }
        let sent = world.event(&self.rules, other, Event::Message { from: me, message });
        let (replies, rest): (Vec<_>, Vec<_>) =
            sent.into_iter().partition(|e| e.message.is_reply());
        self.send(world, rest);
        for reply in replies {
            let message = reply.message;
            self.happens(
                world,
                at,
                Event::Message {
                    from: peer,
                    message,
                },
            );
        }
    }
}
