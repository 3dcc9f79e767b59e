//! The change of view that the registers go through. As on a node, [`Votes`] decides which
//! registers go on voting.

use chord_placement::Placements;
use chord_types::{DiskId, Tables, View};
use rand::Rng;

use super::{KEY, Mutant, Story, World, disk};
use crate::view_change::Votes;

impl World {
    /// A disk takes a view: promises of the old one end, and what it holds goes on
    /// voting or does not.
    fn take_view(&mut self, peer: DiskId, epoch: u64) {
        let Some(acceptor) = self.acceptors.get(&peer) else {
            return;
        };
        if acceptor.epoch >= epoch || self.lost == Some(peer) {
            return;
        }
        let keeps = self.keeps(peer, acceptor.epoch, epoch);
        let Some(acceptor) = self.acceptors.get_mut(&peer) else {
            return;
        };
        acceptor.epoch = epoch;
        acceptor.promised = None;
        if !keeps {
            acceptor.accepted = None;
        }
    }

    /// Rule 3, as the node has it carried out.
    fn keeps(&self, peer: DiskId, from: u64, to: u64) -> bool {
        let view = |epoch: u64| &self.views[epoch as usize - 1];
        let mut after = view(to).clone();
        match self.mutant {
            Mutant::NobodyGoesOnVoting => return false,
            Mutant::OldOwnersVoteNoMore => {
                after.tables = Tables::Stable(after.new_table().clone());
            }
            _ => {}
        }
        let before: (&View, Placements) = (view(from), Placements::new(view(from)));
        let after = (&after, Placements::new(&after));
        let votes = Votes::new(peer, Some((before.0, &before.1)), (after.0, &after.1));
        votes.keeps(&KEY)
    }

    /// First the joint view spreads; then the old owners settle; when enough have,
    /// the new view spreads.
    pub(super) fn change_view(&mut self, change_at: &mut u64, settling: &mut Vec<usize>) {
        let n = self.rng.random_range(0..self.acceptors.len() as u32);
        if self.story == Story::Loses {
            self.lost = Some(disk(0));
        }
        let newest = self.epoch();
        if newest < 2
            || self
                .acceptors
                .values()
                .any(|a| a.epoch < newest && self.rng.random_bool(0.5))
        {
            self.take_view(disk(n), newest.max(2));
            return;
        }
        if newest != 2 {
            return;
        }
        if self.mutant != Mutant::NoSettling {
            let (_, old, _) = self.story.tables();
            for holder in old.iter().map(|n| disk(*n)) {
                let at_joint = self.acceptors[&holder].epoch == 2;
                let begun = settling
                    .iter()
                    .any(|i| self.operations[*i].settles == Some(holder));
                if at_joint && !begun {
                    self.start(Some(holder));
                    settling.push(self.operations.len() - 1);
                }
            }
            let settled = settling
                .iter()
                .filter(|i| self.operations[**i].end.is_some())
                .count();
            if settled < self.views[0].old().blocking() {
                return;
            }
        }
        *change_at = self.now;
        let (_, _, new) = self.story.tables();
        let first = new[self.rng.random_range(0..new.len())];
        self.take_view(disk(first), 3);
    }
}
