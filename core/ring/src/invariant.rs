//! What must hold of a whole ring, as pure functions of the states of its
//! virtual nodes: for the simulator and the model checker.
//!
//! After Zave: *one live successor* and *sufficient principals* together imply
//! one ordered ring, ordered lists without duplicates, and that every member
//! outside the ring leads into it. Those are checked on their own, too, because
//! a check that names what broke is worth more. Lists here may be shorter than
//! r (see [`super::core`]), which steps over less.

use std::collections::{BTreeMap, BTreeSet};

use chord_types::{Id, Ordinal};

use super::message::Peer;
use super::vnode::Vnode;
use crate::vnode::rules::Rules;

/// The members of a ring that are alive, by their ids.
pub type Ring<'a> = BTreeMap<Id, &'a Vnode>;

/// The members among some virtual nodes that are alive. Those that are still
/// joining do not count.
pub fn ring_of<'a>(alive: impl IntoIterator<Item = &'a Vnode>) -> Ring<'a> {
    alive
        .into_iter()
        .filter(|v| v.is_member())
        .map(|v| (v.me().id, v))
        .collect()
}

/// What is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No entry of a member's list lives.
    #[error("{0:?} has no live successor")]
    NoLiveSuccessor(Peer),
    #[error("{found} principals, and {wanted} are needed")]
    /// Fewer members than r + 1 that nobody's list steps over.
    TooFewPrincipals {
        /// How many there are.
        found: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// A list is not in clockwise order, or has a duplicate.
    #[error("the list of {0:?} is out of order or names somebody twice")]
    Disordered(Peer),
    /// Following first successors never closes.
    #[error("no ring: nobody comes back to itself")]
    NoRing,
    /// There are two rings.
    #[error("{0:?} and {1:?} are in different rings")]
    TwoRings(Peer, Peer),
    /// The ring is not in clockwise order.
    #[error("the ring is out of order between {0:?} and {1:?}")]
    RingDisordered(Peer, Peer),
    /// A member's successors never reach the ring.
    #[error("{0:?} does not lead into the ring")]
    Detached(Peer),
    /// A pointer differs from the ideal ring's.
    #[error("{who:?} has {what} {got:?}, in the ideal ring {wanted:?}")]
    NotIdeal {
        /// Whose pointer.
        who: Peer,
        /// Which pointer.
        what: &'static str,
        /// What it is.
        got: Vec<Peer>,
        /// What it should be.
        wanted: Vec<Peer>,
    },
}

/// Each member's list has an entry that is alive.
pub fn one_live_successor(ring: &Ring) -> Result<(), Violation> {
    match ring.values().find(|v| best_successor(ring, v).is_none()) {
        Some(v) => Err(Violation::NoLiveSuccessor(v.me())),
        None => Ok(()),
    }
}

/// The members that no adjacent pair of any member's extended list (itself,
/// then its successors) steps over.
pub fn principals(ring: &Ring) -> BTreeSet<Id> {
    let mut principals: BTreeSet<Id> = ring.keys().copied().collect();
    for vnode in ring.values() {
        let mut from = vnode.me().id;
        for next in vnode.successors() {
            for id in stepped_over(&principals, &from, &next.id) {
                principals.remove(&id);
            }
            from = next.id;
        }
    }
    principals
}

fn stepped_over(ids: &BTreeSet<Id>, from: &Id, to: &Id) -> Vec<Id> {
    use std::ops::Bound::{Excluded, Unbounded};
    if from < to {
        return ids
            .range((Excluded(*from), Excluded(*to)))
            .copied()
            .collect();
    }
    let above = ids.range((Excluded(*from), Unbounded));
    above
        .chain(ids.range((Unbounded, Excluded(*to))))
        .copied()
        .collect()
}

/// At least r+1 hosts have a principal, the stable base; all of them, where
/// there are fewer.
pub fn sufficient_principals(ring: &Ring, rules: &Rules) -> Result<(), Violation> {
    let hosts = |ids: &mut dyn Iterator<Item = &Id>| {
        let found: BTreeSet<Ordinal> = ids
            .filter_map(|id| ring.get(id))
            .map(|v| v.me().ordinal)
            .collect();
        found.len()
    };
    let found = hosts(&mut principals(ring).iter());
    let wanted = hosts(&mut ring.keys()).min(rules.successors + 1);
    if found < wanted {
        Err(Violation::TooFewPrincipals { found, wanted })
    } else {
        Ok(())
    }
}

/// Lists go clockwise and name nobody twice, nor the member itself (unless it
/// is alone).
pub fn ordered_lists(ring: &Ring) -> Result<(), Violation> {
    for vnode in ring.values() {
        let (me, list) = (vnode.me(), vnode.successors());
        let mut from = me.id;
        let ordered = list
            .iter()
            .all(|p| p.id.between(&std::mem::replace(&mut from, p.id), &me.id));
        if !ordered && list != [me] {
            return Err(Violation::Disordered(me));
        }
    }
    Ok(())
}

/// The first successor that is alive.
fn best_successor<'a>(ring: &Ring<'a>, vnode: &Vnode) -> Option<&'a Vnode> {
    vnode
        .successors()
        .iter()
        .find_map(|p| ring.get(&p.id).copied())
}

/// Best successors lead everyone into one ring, which is in order.
pub fn one_ordered_ring(ring: &Ring) -> Result<(), Violation> {
    let Some(start) = ring.values().next() else {
        return Ok(());
    };
    // After as many steps as there are members one is on a circle.
    let mut at: &Vnode = start;
    for _ in 0..ring.len() {
        at = best_successor(ring, at).ok_or(Violation::NoLiveSuccessor(at.me()))?;
    }
    let first = at;
    let mut circle = BTreeSet::new();
    let mut turns = 0;
    loop {
        circle.insert(at.me().id);
        let next = best_successor(ring, at).ok_or(Violation::NoLiveSuccessor(at.me()))?;
        turns += usize::from(next.me().id <= at.me().id);
        if turns > 1 {
            return Err(Violation::RingDisordered(at.me(), next.me()));
        }
        at = next;
        if at.me() == first.me() {
            break;
        }
        if circle.contains(&at.me().id) {
            return Err(Violation::NoRing);
        }
    }
    // Everyone else leads into it.
    let mut known: BTreeSet<Id> = circle.clone();
    for vnode in ring.values() {
        let mut trail = BTreeSet::new();
        let mut at: &Vnode = vnode;
        while !known.contains(&at.me().id) {
            if !trail.insert(at.me().id) {
                return Err(Violation::TwoRings(first.me(), at.me()));
            }
            at = best_successor(ring, at).ok_or(Violation::Detached(vnode.me()))?;
        }
        known.extend(trail);
    }
    Ok(())
}

/// Everything that must hold at all times, failures within bounds provided.
pub fn check(ring: &Ring, rules: &Rules) -> Result<(), Violation> {
    one_live_successor(ring)?;
    ordered_lists(ring)?;
    one_ordered_ring(ring)?;
    sufficient_principals(ring, rules)
}

/// What repair must lead to once joins and failures stop: every predecessor and
/// every list is right.
pub fn ideal(ring: &Ring, rules: &Rules) -> Result<(), Violation> {
    let all: Vec<Peer> = ring.values().map(|v| v.me()).collect();
    for vnode in ring.values() {
        let wanted = Vnode::ideal(rules, vnode.me(), &all);
        let differ = |what, got: &[Peer], wanted: &[Peer]| {
            let (got, wanted) = (got.to_vec(), wanted.to_vec());
            Err(Violation::NotIdeal {
                who: vnode.me(),
                what,
                got,
                wanted,
            })
        };
        if vnode.successors() != wanted.successors() {
            return differ("the successors", vnode.successors(), wanted.successors());
        }
        if vnode.pred() != wanted.pred() {
            return differ(
                "the predecessor",
                vnode.pred().as_slice(),
                wanted.pred().as_slice(),
            );
        }
    }
    Ok(())
}

/// Whether every finger is the one of the ideal ring.
pub fn ideal_fingers(ring: &Ring, rules: &Rules) -> Result<(), Violation> {
    let all: Vec<Peer> = ring.values().map(|v| v.me()).collect();
    for vnode in ring.values() {
        let wanted: Vec<Peer> = Vnode::ideal(rules, vnode.me(), &all)
            .fingers()
            .copied()
            .collect();
        let got: Vec<Peer> = vnode.fingers().copied().collect();
        if got != wanted {
            return Err(Violation::NotIdeal {
                who: vnode.me(),
                what: "the fingers",
                got,
                wanted,
            });
        }
    }
    Ok(())
}
