//! One decision of the autoscaler: what it goes by, and what it can tell of the
//! members.

use chord_types::{Ordinal, Table};

use crate::plan::cluster::{self, Cluster};
use crate::plan::fit;
use crate::plan::input::{Autoscaling, Millis, Trouble};
use crate::plan::memory::Memory;

/// Redundant copies that are still there after this long are no reason to wait.
pub const SETTLE_AT_MOST_MS: u64 = 30 * 60 * 1000;

/// A number of nodes within the autoscaler's bounds.
pub fn clamp(nodes: u32, auto: &Autoscaling) -> u32 {
    nodes.min(auto.max_nodes).max(auto.min_nodes)
}

/// One decision of the autoscaler.
pub struct Scaler<'s, 'c> {
    /// The cluster as it is seen.
    pub cluster: &'s Cluster<'c>,
    /// The autoscaler's settings.
    pub auto: &'s Autoscaling,
    /// What is remembered, and changes with the decision.
    pub memory: &'s mut Memory,
    /// The time of the round.
    pub now: Millis,
    /// Ordinals that there are.
    pub present: u32,
    /// Why fewer nodes are wanted than would be recommended.
    pub limited: Option<String>,
}

/// The fullest member.
pub struct Fullest {
    /// Its ordinal.
    pub ordinal: Ordinal,
    /// Percent of its capacity that is used.
    pub percent: f64,
}

impl Scaler<'_, '_> {
    /// Nodes are added above this, in percent.
    pub fn out_above(&self) -> f64 {
        f64::from(self.auto.scale_out_above)
    }

    /// A node is removed below this, in percent.
    pub fn in_below(&self) -> f64 {
        f64::from(self.auto.scale_in_below)
    }

    /// Why nodes that shall join do not start.
    pub fn cannot_start(&self, target: u32) -> Option<String> {
        let observed = self.cluster.observed;
        let stuck = (self.present..target).map(Ordinal).filter(|o| {
            let trouble = self.cluster.node(*o).and_then(|n| n.trouble.as_ref());
            matches!(trouble, Some(Trouble::Broken(_)))
        });
        let words: Vec<String> = stuck
            .take(5)
            .map(|o| cluster::awaited(observed, o))
            .collect();
        (!words.is_empty()).then(|| format!("not started: {}", words.join("; ")))
    }

    /// Nodes behind the members that shall own nothing and are there all the same:
    /// they left and are not proven empty, or never joined.
    pub fn leftover(&self) -> Vec<Ordinal> {
        let nodes = self.cluster.observed.nodes.iter();
        nodes
            .filter(|(o, node)| node.running && o.0 >= self.present)
            .map(|(o, _)| *o)
            .collect()
    }

    /// How many of the first of them cannot be taken in again: the nodes wanted come
    /// behind them.
    pub fn gone_silent(&self, leftover: &[Ordinal]) -> u32 {
        let joins = |o: &Ordinal| {
            let report = self.cluster.report(*o);
            report.is_some_and(|r| self.cluster.unfit(*o, r).is_none())
        };
        leftover.iter().filter(|o| !joins(o)).count() as u32
    }

    /// The member that is fullest, of those that answer.
    pub fn fullest(&self) -> Option<Fullest> {
        fit::fullest(self.cluster, self.cluster.view.old())
            .map(|(ordinal, percent)| Fullest { ordinal, percent })
    }

    /// Words for nodes that share one device: more of them add no space to it.
    pub fn shared_device(&self) -> String {
        let members: Vec<_> = self
            .cluster
            .view
            .old()
            .live()
            .filter_map(|m| self.cluster.here(m))
            .collect();
        match members.split_first() {
            Some((first, rest))
                if !rest.is_empty()
                    && !first.space.device.is_empty()
                    && rest.iter().all(|r| r.space.device == first.space.device) =>
            {
                format!(
                    "; all nodes share the device {}, to which more nodes add no space",
                    first.space.device
                )
            }
            _ => String::new(),
        }
    }

    /// Whether what the last step moved has been dropped where it was.
    pub fn settled(&mut self, table: &Table) -> bool {
        let clean = table
            .live()
            .filter_map(|m| self.cluster.here(m))
            .all(|r| r.inventory.hints == 0);
        let last = self.memory.scaled.iter().map(|(at, _)| at.0).max();
        let long_ago = last.is_none_or(|at| self.now.0.saturating_sub(at) >= SETTLE_AT_MOST_MS);
        if clean || long_ago {
            self.memory.settled_members = Some(table.live().count() as u32);
        }
        clean || long_ago
    }

    /// Usage without the copies that the last joiners have taken over.
    pub fn projected(&self, table: &Table) -> Option<f64> {
        let members = table.live().count() as u32;
        let joined = members.checked_sub(self.memory.settled_members?)?;
        let reports = || table.live().filter_map(|m| self.cluster.here(m));
        let used: u64 = reports().map(|r| r.space.used).sum();
        let capacity: u64 = reports().map(|r| r.space.capacity).sum();
        Some(fit::percent(used, capacity) / (1.0 + f64::from(joined) / f64::from(members)))
    }
}
