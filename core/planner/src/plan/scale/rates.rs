//! How fast: the recommendations in the stabilisation windows, and the policies of
//! `behavior`, as HorizontalPodAutoscaler has them.

use super::scaler::{SETTLE_AT_MOST_MS, Scaler};
use crate::plan::input::{Amount, Behavior, Select};

/// Recommendations kept, the oldest ones merged: usage that sways that often is
/// as good as its highest.
const RECOMMENDATIONS_AT_MOST: usize = 64;

/// Scale events kept for the rates.
const SCALED_AT_MOST: usize = 64;

impl Scaler<'_, '_> {
    /// Remembers a recommendation, if it is another than the last.
    pub fn recommend(&mut self, nodes: u32) {
        let kept = &mut self.memory.recommendations;
        if kept.last().is_none_or(|(_, last)| *last != nodes) {
            kept.push((self.now, nodes));
        }
        let window = self
            .auto
            .scale_up
            .stabilization_ms
            .max(self.auto.scale_down.stabilization_ms);
        let start = self.now.0.saturating_sub(window);
        // One that ended before the window began counts no more.
        let gone = kept.windows(2).take_while(|w| w[1].0.0 <= start).count();
        kept.drain(..gone);
        while kept.len() > RECOMMENDATIONS_AT_MOST {
            let (_, second) = kept.remove(1);
            if let Some(first) = kept.first_mut() {
                first.1 = first.1.max(second);
            }
        }
    }

    /// The recommendation after the windows: the lowest of the one for scaling
    /// out, the highest of the one for scaling in.
    pub fn stabilised(&self, recommended: u32) -> u32 {
        let within = |window: u64| {
            let start = self.now.0.saturating_sub(window);
            let kept = &self.memory.recommendations;
            let live = kept
                .iter()
                .enumerate()
                .filter(move |(i, _)| kept.get(i + 1).is_none_or(|(next, _)| next.0 > start));
            live.map(|(_, (_, nodes))| *nodes).collect::<Vec<_>>()
        };
        let up = within(self.auto.scale_up.stabilization_ms)
            .into_iter()
            .chain([recommended])
            .min();
        let down = within(self.auto.scale_down.stabilization_ms)
            .into_iter()
            .chain([recommended])
            .max();
        match (up, down) {
            (Some(up), _) if up > self.present => up,
            (_, Some(down)) if down < self.present => down,
            _ => self.present,
        }
    }

    /// How many nodes the policies allow at most (scaling out) or at least.
    pub fn allowed(&self, behavior: &Behavior, out: bool) -> u32 {
        let limits = behavior.policies.iter().map(|policy| {
            let start = self.now.0.saturating_sub(policy.period_ms);
            let recent = |sign: i32| -> u32 {
                let events = self
                    .memory
                    .scaled
                    .iter()
                    .filter(|(at, by)| at.0 > start && by.signum() == sign);
                events.map(|(_, by)| by.unsigned_abs()).sum()
            };
            if out {
                let base = self.present.saturating_sub(recent(1));
                match policy.amount {
                    Amount::Nodes(n) => base.saturating_add(n),
                    Amount::Percent(p) => {
                        let grown = (u64::from(base) * (100 + u64::from(p))).div_ceil(100);
                        u32::try_from(grown).unwrap_or(u32::MAX)
                    }
                }
            } else {
                let base = self.present.saturating_add(recent(-1));
                match policy.amount {
                    Amount::Nodes(n) => base.saturating_sub(n),
                    Amount::Percent(p) => {
                        let rest = u64::from(base) * (100 - u64::from(p.min(100))) / 100;
                        u32::try_from(rest).unwrap_or(u32::MAX)
                    }
                }
            }
        });
        // Most change: the highest limit on the way out, the lowest on the way in.
        let chosen = match (behavior.select, out) {
            (Select::Disabled, _) => Some(self.present),
            (Select::Max, true) | (Select::Min, false) => limits.max(),
            (Select::Min, true) | (Select::Max, false) => limits.min(),
        };
        chosen.unwrap_or(if out { u32::MAX } else { 0 })
    }

    /// Remembers a step for the rates: by how many nodes (negative: in).
    pub fn remember_step(&mut self, by: i32) {
        let longest = self
            .auto
            .scale_up
            .policies
            .iter()
            .chain(&self.auto.scale_down.policies)
            .map(|p| p.period_ms);
        let longest = longest.max().unwrap_or(0).max(SETTLE_AT_MOST_MS);
        let start = self.now.0.saturating_sub(longest);
        self.memory.scaled.retain(|(at, _)| at.0 > start);
        self.memory.scaled.push((self.now, by));
        let excess = self.memory.scaled.len().saturating_sub(SCALED_AT_MOST);
        self.memory.scaled.drain(..excess);
    }
}
