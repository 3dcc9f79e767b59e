//! The decisions of a change of view: whether a view is taken, which registers go
//! on voting in it, and what proves that a register is where a view wants it.
//!
//! Plain functions: who keeps the view carries them out in one transaction.

use chord_placement::{Placement, Placements};
use chord_types::view::ViewHash;
use chord_types::{ClusterUid, DiskId, Id, View};

/// Why a view is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is of the first cluster, the disk of the second.
    #[error("it is of cluster {0}, this disk belongs to {1}")]
    OtherCluster(ClusterUid, ClusterUid),
    /// Nothing is wrong with it, it is only behind: its epoch, and the one held.
    #[error("it has epoch {0}, this node is at {1} already")]
    Old(u64, u64),
    /// Two views have one number.
    #[error("it has epoch {epoch} with other content ({given}) than the one held ({held})")]
    Conflict {
        /// The number.
        epoch: u64,
        /// The view that was offered.
        given: ViewHash,
        /// The view that is held.
        held: ViewHash,
    },
    /// It does not follow from the view just before it.
    #[error("its parent {given} is not the view {held} that this node holds")]
    Unchained {
        /// The parent that it names.
        given: ViewHash,
        /// The view that is held.
        held: ViewHash,
    },
}

/// What is to be done with a view that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is the one held.
    Held,
    /// It is to be taken.
    New,
}

/// Judges a view that is offered to a disk of `cluster` which holds `held`: it is
/// taken if it is newer, of this cluster, and chained where that can be seen.
pub fn judge(cluster: &ClusterUid, held: Option<&View>, given: &View) -> Result<Offer, Unfit> {
    if given.cluster != *cluster {
        return Err(Unfit::OtherCluster(given.cluster.clone(), cluster.clone()));
    }
    let Some(held) = held else {
        return Ok(Offer::New);
    };
    let (at, to) = (held.reference(), given.reference());
    if to == at {
        return Ok(Offer::Held);
    }
    if to.epoch == at.epoch {
        return Err(Unfit::Conflict {
            epoch: to.epoch.0,
            given: to.hash,
            held: at.hash,
        });
    }
    if to.epoch < at.epoch {
        return Err(Unfit::Old(to.epoch.0, at.epoch.0));
    }
    if to.epoch.0 == at.epoch.0 + 1 && given.parent != at.hash {
        return Err(Unfit::Unchained {
            given: given.parent,
            held: at.hash,
        });
    }
    Ok(Offer::New)
}

/// Which registers of a disk go on voting when it goes from one view to another
/// (rule 3). A range that is lost, or that is gained anew, votes with nothing of
/// what lies here from before: the old contents become hints.
///
/// Promises stay: ballots of the new view are above all of them.
pub struct Votes<'a> {
    me: DiskId,
    /// The view before, where it is known to be the one just before.
    before: Option<&'a Placements>,
    after: &'a Placements,
}

impl<'a> Votes<'a> {
    /// The change of disk `me` from the view `from`, if it holds one, to `to`.
    pub fn new(
        me: DiskId,
        from: Option<(&View, &'a Placements)>,
        to: (&View, &'a Placements),
    ) -> Votes<'a> {
        let before = from
            .filter(|(view, _)| view.epoch.0 + 1 == to.0.epoch.0)
            .map(|(_, placements)| placements);
        Votes {
            me,
            before,
            after: to.1,
        }
    }

    /// Whether what lies here under this key goes on voting.
    pub fn keeps(&self, key: &Id) -> bool {
        let owns = |p: &Placement| p.owners(key).any(|m| m.disk == self.me);
        if owns(&self.after.old) {
            return true;
        }
        // It comes into the next table only: what was decided while this disk was
        // an owner already still counts.
        self.after.new.as_ref().is_some_and(owns)
            && self.before.is_some_and(|before| before.all().any(owns))
    }
}

#[cfg(test)]
mod tests {
    use chord_types::{Member, Ordinal, Table, Token};

    use super::*;

    fn disk(n: u32) -> DiskId {
        DiskId(uuid::Uuid::from_u128(u128::from(n) + 1))
    }

    /// One owner a key, of these members.
    fn table(members: &[u32]) -> Table {
        let member = |n: &u32| Member {
            ordinal: Ordinal(*n),
            disk: disk(*n),
            tokens: vec![Token(u64::from(*n + 1) << 60)],
            zone: None,
            machine: None,
            out: false,
        };
        Table {
            replication: 1,
            members: members.iter().map(member).collect(),
        }
    }

    fn uid() -> ClusterUid {
        ClusterUid("one".into())
    }

    fn first(members: &[u32]) -> View {
        View::first(uid(), table(members)).unwrap()
    }

    #[test]
    fn only_the_next_view_of_this_cluster_is_taken() {
        let one = first(&[0, 1]);
        let two = one.change_to(table(&[0, 1, 2])).unwrap();
        let three = two.complete().unwrap();
        assert_eq!(
            judge(&uid(), None, &two),
            Ok(Offer::New),
            "the first it sees"
        );
        assert_eq!(judge(&uid(), Some(&one), &one), Ok(Offer::Held));
        assert_eq!(judge(&uid(), Some(&one), &two), Ok(Offer::New));
        assert_eq!(
            judge(&uid(), Some(&one), &three),
            Ok(Offer::New),
            "it missed one"
        );
        let other = ClusterUid("two".into());
        let refused = judge(&other, Some(&one), &two);
        assert_eq!(refused, Err(Unfit::OtherCluster(uid(), other)));
        assert_eq!(judge(&uid(), Some(&three), &one), Err(Unfit::Old(1, 3)));
        let rival = one.change_to(table(&[0])).unwrap();
        let refused = judge(&uid(), Some(&two), &rival);
        assert!(matches!(refused, Err(Unfit::Conflict { epoch: 2, .. })));
        let refused = judge(&uid(), Some(&rival), &three);
        assert!(
            matches!(refused, Err(Unfit::Unchained { .. })),
            "{refused:?}"
        );
    }

    /// A key that a disk owns.
    fn key_of(placements: &Placement, me: DiskId) -> Id {
        let mut keys = (0..=255).map(|n| Id([n; 20]));
        keys.find(|key| placements.owners(key).any(|m| m.disk == me))
            .unwrap()
    }

    #[test]
    fn what_is_lost_or_gained_anew_votes_no_more() {
        let one = first(&[0, 1]);
        let joint = one.change_to(table(&[1])).unwrap();
        let done = joint.complete().unwrap();
        let back = done.change_to(table(&[0, 1])).unwrap();
        let [p1, p2, p3, p4] = [&one, &joint, &done, &back].map(Placements::new);
        let mine = key_of(&p1.old, disk(0));
        let keeps = |from, to| Votes::new(disk(0), from, to).keeps(&mine);
        assert!(
            keeps(Some((&one, &p1)), (&joint, &p2)),
            "the old table's still"
        );
        assert!(!keeps(Some((&joint, &p2)), (&done, &p3)), "it is lost");
        assert!(!keeps(Some((&done, &p3)), (&back, &p4)), "and gained anew");
        assert!(!keeps(None, (&back, &p4)), "nothing is known of before");
    }

    #[test]
    fn a_range_that_is_taken_back_goes_on_voting_only_without_a_gap() {
        let one = first(&[0]);
        let joint = one.change_to(table(&[0, 1])).unwrap();
        let (p1, p2) = (Placements::new(&one), Placements::new(&joint));
        let over = joint.change_to(table(&[0, 1, 2])).unwrap();
        let p3 = Placements::new(&over);
        let owns = |p: &Placements, key: &Id| {
            let next = p.new.as_ref().unwrap();
            next.owners(key).any(|m| m.disk == disk(1))
        };
        let mut keys = (0..=255).map(|n| Id([n; 20]));
        let mine = keys.find(|key| owns(&p2, key) && owns(&p3, key)).unwrap();
        let keeps = |from| Votes::new(disk(1), from, (&over, &p3)).keeps(&mine);
        assert!(keeps(Some((&joint, &p2))), "an owner-to-be stays one");
        assert!(!keeps(Some((&one, &p1))), "it was none, and missed a view");
    }
}
