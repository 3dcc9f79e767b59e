//! Progress: once joins and failures stop, repair alone leads to the ideal ring.
//!
//! From every reachable world the checker plays one fair order of repairs to its
//! end and asks whether that is the ideal ring. Whatever other order repairs are
//! played in, it goes through reachable worlds only, and each of them has such a
//! way home; there are finitely many; so any order that is fair, in the sense
//! that what is possible again and again happens in the end, comes home.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Grain, RingModel, World};
use crate::invariant;
use crate::message::{Message, Peer};
use crate::vnode::{Event, Vnode, Who};

/// Repairs that change something on the way home. A few for each node are enough.
const REPAIRS: usize = 200;

impl RingModel {
    /// Whether repair leads home from here. Worlds in which nothing is under way
    /// are few; those that are known to come home are remembered.
    pub fn comes_home(&self, world: &World) -> bool {
        let mut world = world.clone();
        let mut passed = Vec::new();
        for _ in 0..REPAIRS {
            self.drain(&mut world);
            let hash = hash(&world);
            if self.home().contains(&hash) {
                self.home().extend(passed);
                return true;
            }
            passed.push(hash);
            if !self.repair(&mut world) {
                let ideal = self.holds(&world, invariant::ideal);
                if ideal {
                    self.home().extend(passed);
                }
                return ideal;
            }
        }
        false
    }

    /// The first node whose round changes something stabilises; false when none
    /// does.
    fn repair(&self, world: &mut World) -> bool {
        for at in 0..self.peers.len() {
            let mut next = world.clone();
            self.sends(&mut next, at, Event::Stabilize);
            self.drain(&mut next);
            if next != *world {
                *world = next;
                return true;
            }
        }
        false
    }

    /// A world at rest stays ideal, whatever repair does next.
    pub fn stays_home(&self, world: &World) -> bool {
        let quiet = world.wire.is_empty()
            && world.up().all(|v| v.waits_for() == (None, None))
            && self.holds(world, invariant::ideal);
        if !quiet {
            return true;
        }
        !self.repair(&mut world.clone())
    }

    fn home(&self) -> std::sync::MutexGuard<'_, std::collections::HashSet<u64>> {
        self.home.lock().unwrap_or_else(|p| p.into_inner())
    }

    fn sends(&self, world: &mut World, at: usize, event: Event) {
        let sent = world.event(&self.rules, at, event);
        world.send(usize::MAX, sent);
    }

    /// Everything on the wire arrives, and every open request is settled.
    fn drain(&self, world: &mut World) {
        // Bounded: no chain of answers is as long.
        for _ in 0..1000 {
            if let Some(envelope) = world.wire.pop_first() {
                let (from, message) = (envelope.from, envelope.message);
                let at = envelope.to.ordinal.0 as usize;
                self.sends(world, at, Event::Message { from, message });
            } else if let Some((at, of)) = self.waiting(world) {
                if world.vnode(of.ordinal.0 as usize).is_none() {
                    self.sends(world, at, Event::Dead(Who::Host(of.ordinal)));
                } else if self.grain != Grain::Fine && world.vnode(at).is_some_and(Vnode::is_asking)
                {
                    // In the coarse grain an open request is not on the wire.
                    let message = Message::Query {
                        request: Default::default(),
                        joining: false,
                    };
                    let from = self.peers[at];
                    let to = of.ordinal.0 as usize;
                    self.sends(world, to, Event::Message { from, message });
                } else {
                    self.sends(world, at, Event::Unanswered(of.ordinal));
                }
            } else {
                return;
            }
        }
    }

    /// Somebody who waits for an answer that is not under way.
    fn waiting(&self, world: &World) -> Option<(usize, Peer)> {
        (0..self.peers.len()).find_map(|at| {
            let vnode = world.vnode(at)?;
            let (asked, pinged) = vnode.waits_for();
            let peer = asked.or(pinged)?;
            Some((at, peer))
        })
    }
}

/// One for all worlds that are equal.
pub fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}
