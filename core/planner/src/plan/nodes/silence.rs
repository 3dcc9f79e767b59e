//! Since when members have been silent.

use std::collections::BTreeMap;

use chord_types::Member;

use crate::plan::cluster::{Cluster, Presence};
use crate::plan::input::Millis;
use crate::plan::memory::Memory;

/// While somebody is silent, how often it is remembered that this was watched.
const WATCHED_EVERY_MS: u64 = 60_000;

/// Who was not watched for so long may have answered meanwhile.
const AWAY_MS: u64 = 150_000;

/// Notes since when members have not answered with their disk. Where nobody watched
/// for a while, as while the operator was away, the time begins anew.
pub fn watch(cluster: &Cluster, memory: &mut Memory, now: Millis) {
    let since_watched = memory.watched.map(|at| now.0.saturating_sub(at.0));
    if since_watched.is_none_or(|away| away > AWAY_MS) {
        memory.silent_since.clear();
    }
    let mut silent = BTreeMap::new();
    for member in cluster.view.members() {
        let of_ordinal = |m: &&Member| m.ordinal == member.ordinal;
        let answers = cluster
            .view
            .members()
            .into_iter()
            .filter(of_ordinal)
            .any(|m| !matches!(cluster.presence(m), Presence::Silent));
        if !answers {
            silent.insert(
                member.ordinal,
                memory
                    .silent_since
                    .get(&member.ordinal)
                    .copied()
                    .unwrap_or(now),
            );
        }
    }
    memory.watched = match memory.watched {
        _ if silent.is_empty() => None,
        Some(at) if now.0.saturating_sub(at.0) < WATCHED_EVERY_MS => Some(at),
        _ => Some(now),
    };
    memory.silent_since = silent;
}
