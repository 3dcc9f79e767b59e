//! News that the ring's own messages do not carry far enough.

use std::collections::BTreeMap;
use std::time::Duration;

use chord_ring::HostAction;
use chord_types::Ordinal;
use tokio::time::Instant;

use super::heard::Hearsay;
use crate::view::Current;

/// How often somebody is asked for news that the ring itself does not carry.
const GOSSIP_EVERY: Duration = Duration::from_secs(1);
/// Members that are asked at a time.
const GOSSIP_AT_ONCE: usize = 8;
/// News of a member is fresh for so long for each member there is, ...
const FRESH_EACH: Duration = Duration::from_millis(250);
/// ...and for so long at least and at most.
const FRESH: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(30);

/// Asks the members that nothing was heard of for the longest time for their
/// news, so that liveness, space and views are known of nodes that the ring's
/// own messages do not reach. Both sides hear of each other, so most need not ask.
#[derive(Default)]
pub struct Gossip {
    at: Option<Instant>,
    asked: BTreeMap<Ordinal, Instant>,
}

impl Gossip {
    /// The exchanges that are due now, at most every second.
    pub fn due(&mut self, me: Ordinal, current: &Current, heard: &Hearsay) -> Vec<HostAction> {
        if self.at.is_some_and(|at| at.elapsed() < GOSSIP_EVERY) {
            return Vec::new();
        }
        let now = Instant::now();
        self.at = Some(now);
        let members = current.view.members();
        let fresh = (FRESH_EACH * members.len() as u32).clamp(*FRESH.start(), *FRESH.end());
        let mut stale: Vec<(Option<Instant>, Ordinal)> = members
            .iter()
            .map(|m| m.ordinal)
            .filter(|ordinal| *ordinal != me)
            .map(|ordinal| {
                let last = heard.of(ordinal).map(|h| h.at);
                (last.max(self.asked.get(&ordinal).copied()), ordinal)
            })
            .filter(|(at, _)| at.is_none_or(|at| now.duration_since(at) >= fresh))
            .collect();
        stale.sort_unstable();
        stale.dedup();
        stale.truncate(GOSSIP_AT_ONCE);
        self.asked
            .retain(|ordinal, _| members.iter().any(|m| m.ordinal == *ordinal));
        self.asked.extend(stale.iter().map(|(_, to)| (*to, now)));
        let ask = |(_, to)| HostAction::Send {
            to,
            messages: Vec::new(),
        };
        stale.into_iter().map(ask).collect()
    }
}
