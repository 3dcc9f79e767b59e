//! The far pointers of a virtual node, which make look-ups O(log N).
//!
//! Finger `k` is the first virtual node at a distance of 2^k or more. Fingers
//! that are the same are kept once: seen from here the circle falls into
//! octaves (distances from 2^k to 2^(k+1)), and the distinct fingers are just
//! the first node of every octave that has one. Octaves within the successor
//! list need none. Wrong fingers cost hops, never a wrong answer.

use chord_types::Id;

use crate::circle::{distance, octave};
use crate::message::Peer;
use crate::message::Who;

/// Distinct fingers, nearest first, at most one in each octave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingers(Vec<Peer>);

impl Fingers {
    /// All of them, nearest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Peer> {
        self.0.iter()
    }

    /// The next finger to look up, at bit `cursor` or above: its bit and where
    /// it starts. `last` is the end of the successor list, which knows better
    /// about everything before it.
    pub fn due(me: &Id, last: &Id, cursor: u8) -> Option<(u8, Id)> {
        let first = octave(me, last).map_or(0, |o| o + 1);
        let bit = cursor.max(first);
        (bit < 160).then(|| (bit, me.plus_power_of_two(usize::from(bit))))
    }

    /// Takes in that `found` is the successor of `me + 2^bit`; answers the bit
    /// to go on with, the first one this finger does not settle as well.
    pub fn learn(&mut self, me: &Id, bit: u8, found: Peer) -> u8 {
        // Nearer than where it starts: all the way round to me, so nobody is in
        // these octaves.
        let at = octave(me, &found.id).filter(|o| *o >= bit).unwrap_or(160);
        self.0
            .retain(|p| octave(me, &p.id).is_some_and(|o| o < bit || o > at));
        if at < 160 {
            let far = distance(me, &found.id);
            let place = self.0.partition_point(|p| distance(me, &p.id) < far);
            self.0.insert(place, found);
        }
        at.saturating_add(1)
    }

    /// Drops fingers that the successor list, which ends at `last`, makes needless.
    pub fn beyond(&mut self, me: &Id, last: &Id) {
        let upto = octave(me, last);
        self.0.retain(|p| octave(me, &p.id) > upto);
    }

    /// Drops fingers that are dead.
    pub fn forget(&mut self, who: &Who) {
        self.0.retain(|p| !who.covers(p));
    }

    /// The right fingers in a ring of `all`, sorted by id.
    pub fn ideal(me: &Id, last: &Id, all: &[Peer]) -> Fingers {
        let mut fingers = Fingers::default();
        let mut cursor = 0;
        while let Some((bit, start)) = Fingers::due(me, last, cursor) {
            let at = all.partition_point(|p| p.id < start);
            let Some(found) = all.get(at).or(all.first()) else {
                break;
            };
            cursor = fingers.learn(me, bit, *found);
        }
        fingers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_types::{Ordinal, Token};

    fn peer(n: u64) -> Peer {
        Peer {
            id: Token(n).id(),
            ordinal: Ordinal(0),
        }
    }

    #[test]
    fn one_finger_an_octave_and_the_nearest_of_it() {
        let me = peer(0).id;
        let all: Vec<Peer> = [0, 1 << 10, 3 << 10, 1 << 20, (1 << 20) + 5, 1 << 40]
            .map(peer)
            .to_vec();
        let fingers = Fingers::ideal(&me, &peer(1 << 10).id, &all);
        let got: Vec<Peer> = fingers.iter().copied().collect();
        assert_eq!(got, [3 << 10, 1 << 20, 1 << 40].map(peer));
    }

    #[test]
    fn learning_replaces_what_it_contradicts() {
        let me = peer(0).id;
        let low = me.plus_power_of_two(96 + 10);
        assert_eq!(low, peer(1 << 10).id);
        let mut fingers = Fingers::default();
        fingers.learn(&me, 106, peer(1 << 20));
        fingers.learn(&me, 106, peer(1 << 10));
        assert_eq!(fingers.iter().count(), 2, "another octave stays");
        let next = fingers.learn(&me, 106, peer(1 << 30));
        assert_eq!(
            fingers.iter().copied().collect::<Vec<_>>(),
            [peer(1 << 30)],
            "none before it any more"
        );
        assert_eq!(next, 127);
        assert_eq!(fingers.learn(&me, 106, peer(0)), 161);
        assert_eq!(fingers.iter().count(), 0, "the circle is empty up to me");
    }
}
