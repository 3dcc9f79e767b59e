//! How many ordinals are wanted: the spec's number, or the autoscaler's.
//!
//! The autoscaler goes by the fullest member. It takes one step, waits until the
//! data of that step have settled, and only then looks again; what it cannot see
//! it leaves as it is.

use chord_api::{Ordinal, Table};

use super::change::is_joint;
use super::facts::Cluster;
use super::fit;
use super::types::{
    Amount, Autoscaling, AutoscalingStatus, Behavior, Decision, Memory, Millis, Select,
};

/// Aim a little below the threshold, so that one step is enough.
const AIM: f64 = 0.95;

/// Redundant copies that are still there after this long are no reason to wait.
const SETTLE_AT_MOST_MS: u64 = 30 * 60 * 1000;

/// Recommendations kept, the oldest ones merged: usage that sways that often is
/// as good as its highest.
const RECOMMENDATIONS_AT_MOST: usize = 64;

/// Scale events kept for the rates.
const SCALED_AT_MOST: usize = 64;

/// The number of ordinals that is wanted, and why.
#[derive(Debug, PartialEq)]
pub struct Scaling {
    pub target: u32,
    pub status: Option<AutoscalingStatus>,
    /// Why fewer, or more, nodes are wanted than would be recommended.
    pub limited: Option<String>,
}

/// Ordinals up to the highest member's.
pub fn ordinals_now(table: &Table) -> u32 {
    table
        .members
        .iter()
        .map(|m| m.ordinal.0 + 1)
        .max()
        .unwrap_or(0)
}

/// How many ordinals a new cluster begins with.
pub fn at_forming(nodes: u32, autoscaling: Option<&Autoscaling>) -> u32 {
    autoscaling.map_or(nodes, |auto| clamp(nodes, auto))
}

fn clamp(nodes: u32, auto: &Autoscaling) -> u32 {
    nodes.min(auto.max_nodes).max(auto.min_nodes)
}

/// Works out how many ordinals are wanted, and remembers what it has to.
pub fn target(cluster: &Cluster, memory: &mut Memory, now: Millis) -> Scaling {
    let spec = cluster.spec;
    let Some(auto) = &spec.autoscaling else {
        return Scaling {
            target: by_hand(cluster, memory),
            status: None,
            limited: None,
        };
    };
    memory.nodes_obeyed = Some(spec.nodes);
    let present = ordinals_now(cluster.view.new_table());
    if memory.target.is_none() || memory.recommendations.is_empty() {
        // Nothing is remembered: hold, for a whole window.
        memory.recommendations = vec![(now, present)];
    }
    let mut target = clamp(memory.target.unwrap_or(present), auto);
    let mut scaler = Scaler {
        cluster,
        auto,
        memory,
        now,
        present,
        limited: None,
    };
    let (mut decision, reason, blocked_by) = scaler.decide(&mut target);
    let limited = scaler.limited.take();
    if target > present {
        decision = Decision::ScaleOut;
    } else if target < present {
        decision = Decision::ScaleIn;
    }
    memory.target = Some(target);
    let at = match &memory.last_decision {
        Some((last, _, at)) if *last == decision => *at,
        _ => {
            memory.last_decision = Some((decision, reason.clone(), now));
            now
        }
    };
    Scaling {
        target,
        status: Some(AutoscalingStatus {
            decision,
            reason,
            at,
            blocked_by,
        }),
        limited,
    }
}

/// Without the autoscaler: `nodes`, unless the autoscaler was just taken out.
fn by_hand(cluster: &Cluster, memory: &mut Memory) -> u32 {
    let nodes = cluster.spec.nodes;
    memory.recommendations.clear();
    memory.scaled.clear();
    memory.settled_members = None;
    memory.last_decision = None;
    match memory.target {
        Some(kept) if memory.nodes_obeyed == Some(nodes) => kept,
        _ => {
            memory.target = None;
            memory.nodes_obeyed = Some(nodes);
            nodes
        }
    }
}

struct Scaler<'s, 'c> {
    cluster: &'s Cluster<'c>,
    auto: &'s Autoscaling,
    memory: &'s mut Memory,
    now: Millis,
    present: u32,
    limited: Option<String>,
}

/// The fullest member.
struct Fullest {
    ordinal: Ordinal,
    percent: f64,
}

type Decided = (Decision, String, Option<String>);

impl Scaler<'_, '_> {
    fn decide(&mut self, target: &mut u32) -> Decided {
        let (out, low) = (
            f64::from(self.auto.scale_out_above),
            f64::from(self.auto.scale_in_below),
        );
        if is_joint(&self.cluster.view) {
            return hold(
                "nodes join, leave or are replaced just now",
                "a change is under way",
            );
        }
        let table = self.cluster.view.old();
        let missing = self.cluster.missing(table);
        if !missing.is_empty() {
            // What cannot be seen is taken for unchanged.
            self.recommend(*target);
            if let Some(decided) = self.make_room_for_repair(target, &missing) {
                return decided;
            }
            let who = self.cluster.names(missing);
            return hold(
                &format!("{who} does not answer"),
                &format!("{who} does not answer"),
            );
        }
        let Some(fullest) = self.fullest() else {
            return hold("no node tells how full it is", "no figures");
        };
        let shared = self.shared_device();
        let figures = format!(
            "fullest node {} is {:.0} % full, thresholds are {out:.0} % and {low:.0} %{shared}",
            self.cluster.name(fullest.ordinal),
            fullest.percent
        );
        if *target < self.present && fullest.percent >= low {
            // Planned to leave, not begun, and no longer wanted.
            *target = clamp(self.present, self.auto);
        }
        if *target != self.present {
            let (decision, what) = if *target > self.present {
                (Decision::ScaleOut, "join")
            } else {
                (Decision::ScaleIn, "leave")
            };
            return (
                decision,
                format!(
                    "{figures}; {} shall {what}",
                    count(target.abs_diff(self.present))
                ),
                None,
            );
        }
        let leftover = self
            .cluster
            .observed
            .nodes
            .iter()
            .filter(|(o, node)| node.running && o.0 >= self.present)
            .map(|(o, _)| *o)
            .collect::<Vec<_>>();
        if !leftover.is_empty() {
            let who = self.cluster.names(leftover);
            return hold(&figures, &format!("{who} is not gone yet"));
        }
        let settled = self.settled(table);
        // Usage as it will be when what has moved is dropped where it was.
        let percent = if settled {
            fullest.percent
        } else {
            self.projected(table).unwrap_or(fullest.percent)
        };
        let members = table.live().count() as u32;
        let wanted = self.wanted(members, percent, settled);
        let recommended = (self.present + wanted).saturating_sub(members);
        self.recommend(recommended);
        let stable = self.stabilised(recommended);
        if stable > self.present {
            return self.out(target, stable, figures);
        }
        if stable < self.present {
            return self.inward(target, table, figures);
        }
        let blocked = if recommended < self.present {
            Some("the stabilisation window for scaling in has not passed".to_string())
        } else if recommended > self.present {
            Some("the stabilisation window for scaling out has not passed".to_string())
        } else if !settled {
            Some("copies that have moved are not dropped yet".to_string())
        } else {
            None
        };
        (Decision::Hold, format!("Hold: {figures}"), blocked)
    }

    /// How many members the usage asks for.
    fn wanted(&self, members: u32, percent: f64, settled: bool) -> u32 {
        let (out, low) = (
            f64::from(self.auto.scale_out_above),
            f64::from(self.auto.scale_in_below),
        );
        let needed = |limit: f64| (f64::from(members) * percent / limit).ceil().max(1.0) as u32;
        if percent > out {
            return needed(out * AIM).max(members + 1);
        }
        if percent < low && settled {
            // Well below the threshold after it, or it would come right back.
            return needed((out + low) / 2.0).min(members);
        }
        members
    }

    fn out(&mut self, target: &mut u32, stable: u32, figures: String) -> Decided {
        let allowed = self.allowed(&self.auto.scale_up, true);
        let mut next = stable.min(allowed);
        if next <= self.present {
            return (
                Decision::Hold,
                format!("Hold: {figures}"),
                Some("the rate of scaling out is used up".into()),
            );
        }
        if next > self.auto.max_nodes {
            self.limited = Some(format!(
                "{figures}; more than maxNodes ({}) would be needed",
                self.auto.max_nodes
            ));
            next = self.auto.max_nodes;
        }
        if next <= self.present {
            let blocked = Some(format!("maxNodes is {}", self.auto.max_nodes));
            return (Decision::Hold, format!("Hold: {figures}"), blocked);
        }
        *target = next;
        self.remember_step(next as i32 - self.present as i32);
        (
            Decision::ScaleOut,
            format!("{figures}; {} shall join", count(next - self.present)),
            None,
        )
    }

    /// One node fewer, if that is allowed and safe.
    fn inward(&mut self, target: &mut u32, table: &Table, figures: String) -> Decided {
        let held = |blocked: String| (Decision::Hold, format!("Hold: {figures}"), Some(blocked));
        if self.allowed(&self.auto.scale_down, false) >= self.present {
            return held("the rate of scaling in is used up".into());
        }
        let next = self.present - 1;
        if next < self.auto.min_nodes {
            return held(format!("minNodes is {}", self.auto.min_nodes));
        }
        let mut after = table.clone();
        after.members.retain(|m| m.ordinal.0 < next);
        let copies = self.cluster.spec.replication.max(table.replication);
        if after.live().count() < usize::from(copies) {
            return held(format!("{copies} copies need as many members"));
        }
        let low = f64::from(self.auto.scale_in_below);
        let middle = (f64::from(self.auto.scale_out_above) + low) / 2.0;
        match fit::fullest_after(self.cluster, &after) {
            Some((_, percent)) if percent < middle => {}
            Some((fullest, percent)) => {
                return held(format!(
                    "{} would be {percent:.0} % full after it",
                    self.cluster.name(fullest)
                ));
            }
            None => return held("it is not known how full the disks are".into()),
        }
        *target = next;
        self.remember_step(-1);
        (
            Decision::ScaleIn,
            format!(
                "{figures}; {} shall leave",
                self.cluster.name(Ordinal(next))
            ),
            None,
        )
    }

    /// A member is gone for long and its copies fit nowhere: a node more is the
    /// only way to repair.
    fn make_room_for_repair(&mut self, target: &mut u32, missing: &[Ordinal]) -> Option<Decided> {
        let since = |o: &Ordinal| {
            self.memory
                .silent_since
                .get(o)
                .map(|s| self.now.0.saturating_sub(s.0))
        };
        if *target != self.present
            || !missing
                .iter()
                .all(|o| since(o) >= Some(self.cluster.spec.repair_after_ms))
        {
            return None;
        }
        let mut without = self.cluster.view.old().clone();
        for member in without
            .members
            .iter_mut()
            .filter(|m| missing.contains(&m.ordinal))
        {
            member.out = true;
        }
        let few = without.live().count() < usize::from(without.replication);
        let (_, percent) = fit::fullest_after(self.cluster, &without)?;
        if !(few || percent > fit::FULL) || *target >= self.auto.max_nodes {
            return None;
        }
        *target += 1;
        self.remember_step(1);
        let who = self.cluster.names(missing.iter().copied());
        let why =
            format!("{who} is gone for long and its copies fit nowhere else; one node shall join");
        Some((Decision::ScaleOut, why, None))
    }

    fn fullest(&self) -> Option<Fullest> {
        let percent = |m: &chord_api::Member| {
            let space = &self.cluster.here(m)?.space;
            Some(Fullest {
                ordinal: m.ordinal,
                percent: fit::percent(space.used, space.capacity),
            })
        };
        self.cluster
            .view
            .old()
            .live()
            .filter_map(percent)
            .max_by(|a, b| a.percent.total_cmp(&b.percent))
    }

    /// Words for nodes that share one device: more of them add no space to it.
    fn shared_device(&self) -> String {
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
    fn settled(&mut self, table: &Table) -> bool {
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
    fn projected(&self, table: &Table) -> Option<f64> {
        let members = table.live().count() as u32;
        let joined = members.checked_sub(self.memory.settled_members?)?;
        let reports = || table.live().filter_map(|m| self.cluster.here(m));
        let used: u64 = reports().map(|r| r.space.used).sum();
        let capacity: u64 = reports().map(|r| r.space.capacity).sum();
        Some(fit::percent(used, capacity) / (1.0 + f64::from(joined) / f64::from(members)))
    }

    /// Remembers a recommendation, if it is another than the last.
    fn recommend(&mut self, nodes: u32) {
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
    fn stabilised(&self, recommended: u32) -> u32 {
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
    fn allowed(&self, behavior: &Behavior, out: bool) -> u32 {
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

    fn remember_step(&mut self, by: i32) {
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

fn hold(reason: &str, blocked_by: &str) -> Decided {
    (
        Decision::Hold,
        format!("Hold: {reason}"),
        Some(blocked_by.to_string()),
    )
}

fn count(nodes: u32) -> String {
    if nodes == 1 {
        "1 node".into()
    } else {
        format!("{nodes} nodes")
    }
}
