//! How many ordinals are wanted: the spec's number, or the autoscaler's.
//!
//! The autoscaler goes by the fullest member. It takes one step, waits until the
//! data of that step have settled, and only then looks again; what it cannot see
//! it leaves as it is.

mod rates;

use chord_types::{Ordinal, Table};

use super::change::is_joint;
use super::facts::{self, Cluster};
use super::fit;
use super::types::{Autoscaling, AutoscalingStatus, Decision, Memory, Millis, Select, Trouble};

/// Aim a little below the threshold, so that one step is enough.
const AIM: f64 = 0.95;

/// Redundant copies that are still there after this long are no reason to wait.
const SETTLE_AT_MOST_MS: u64 = 30 * 60 * 1000;

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

/// Ordinals that there are, of `wanted`: up to the highest member's, and after it
/// those that shall own nothing and are there all the same.
fn present(cluster: &Cluster, wanted: u32) -> u32 {
    let mut present = ordinals_now(cluster.view.new_table());
    let runs = |o: Ordinal| cluster.node(o).is_some_and(|n| n.running);
    while cluster.spec.drained.contains(&Ordinal(present))
        && (present < wanted || runs(Ordinal(present)))
    {
        present += 1;
    }
    present
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
        let target = by_hand(cluster, memory);
        let kept = (target != spec.nodes).then(|| {
            format!(
                "nodes is {}, and the {target} nodes that there are stay until it is changed: \
                 the autoscaler was taken out, or what was obeyed before is not remembered",
                spec.nodes
            )
        });
        return Scaling {
            target,
            status: None,
            limited: kept,
        };
    };
    memory.nodes_obeyed = Some(spec.nodes);
    let present = present(cluster, memory.target.unwrap_or(0));
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

/// Without the autoscaler: `nodes`, unless the autoscaler was just taken out, or may
/// have been: where nothing is remembered, nobody leaves until `nodes` changes.
fn by_hand(cluster: &Cluster, memory: &mut Memory) -> u32 {
    let nodes = cluster.spec.nodes;
    let decided = memory.last_decision.is_some();
    memory.recommendations.clear();
    memory.scaled.clear();
    memory.settled_members = None;
    memory.last_decision = None;
    let present = present(cluster, 0);
    if decided && memory.target.is_some() {
        // Taken out just now: who is there stays, what was only planned is not done.
        memory.target = Some(present);
    }
    match (memory.target, memory.nodes_obeyed) {
        (Some(kept), Some(obeyed)) if obeyed == nodes => kept,
        (_, None) if nodes < present => {
            memory.target = Some(present);
            memory.nodes_obeyed = Some(nodes);
            present
        }
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
        if *target > self.present && fullest.percent < (out + low) / 2.0 {
            // Planned to join, not begun, and no longer needed.
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
                self.cannot_start(*target),
            );
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
        let leftover = self.leftover();
        if stable > self.present {
            return self.out(target, stable, self.gone_silent(&leftover), figures);
        }
        if !leftover.is_empty() {
            let who = self.cluster.names(leftover);
            return hold(&figures, &format!("{who} is not gone yet"));
        }
        if stable < self.present {
            return self.inward(target, table, figures);
        }
        let blocked = if recommended < self.present && self.present <= self.auto.min_nodes {
            Some(format!("minNodes is {}", self.auto.min_nodes))
        } else if recommended < self.present {
            Some("the stabilisation window for scaling in has not passed".to_string())
        } else if recommended > self.present {
            Some("the stabilisation window for scaling out has not passed".to_string())
        } else if !settled {
            Some("copies that have moved are not dropped yet".to_string())
        } else {
            None
        };
        (Decision::Hold, figures, blocked)
    }

    /// Why nodes that shall join do not start.
    fn cannot_start(&self, target: u32) -> Option<String> {
        let observed = self.cluster.observed;
        let stuck = (self.present..target).map(Ordinal).filter(|o| {
            let trouble = self.cluster.node(*o).and_then(|n| n.trouble.as_ref());
            matches!(trouble, Some(Trouble::Broken(_)))
        });
        let words: Vec<String> = stuck.take(5).map(|o| facts::awaited(observed, o)).collect();
        (!words.is_empty()).then(|| format!("not started: {}", words.join("; ")))
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

    /// Nodes behind the members that shall own nothing and are there all the same:
    /// they left and are not proven empty, or never joined.
    fn leftover(&self) -> Vec<Ordinal> {
        let nodes = self.cluster.observed.nodes.iter();
        nodes
            .filter(|(o, node)| node.running && o.0 >= self.present)
            .map(|(o, _)| *o)
            .collect()
    }

    /// How many of the first of them cannot be taken in again: the nodes wanted come
    /// behind them.
    fn gone_silent(&self, leftover: &[Ordinal]) -> u32 {
        let joins = |o: &Ordinal| {
            let report = self.cluster.report(*o);
            report.is_some_and(|r| self.cluster.unfit(*o, r).is_none())
        };
        leftover.iter().filter(|o| !joins(o)).count() as u32
    }

    /// More nodes; `silent` of the next ordinals are taken by what cannot join.
    fn out(&mut self, target: &mut u32, stable: u32, silent: u32, figures: String) -> Decided {
        let allowed = self.allowed(&self.auto.scale_up, true);
        let mut next = stable.min(allowed);
        if next > self.present {
            next += silent;
        }
        if next <= self.present {
            return (
                Decision::Hold,
                figures,
                Some(match self.auto.scale_up.select {
                    Select::Disabled => {
                        "scaling out is switched off (selectPolicy: Disabled)".into()
                    }
                    Select::Max | Select::Min => "the rate of scaling out is used up".into(),
                }),
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
            return (Decision::Hold, figures, blocked);
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
        let held = |blocked: String| (Decision::Hold, figures.clone(), Some(blocked));
        if self.auto.scale_down.select == Select::Disabled {
            return held("scaling in is switched off (selectPolicy: Disabled)".into());
        }
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

    /// A member is lost and its copies fit nowhere: a node more is the
    /// only way to repair.
    fn make_room_for_repair(&mut self, target: &mut u32, missing: &[Ordinal]) -> Option<Decided> {
        let lost = |o: &Ordinal| {
            let silent_since = self.memory.silent_since.get(o);
            let failed = |r: &chord_types::report::NodeReport| r.failure.is_some();
            self.cluster.report(*o).is_some_and(failed)
                || silent_since.is_some_and(|since| {
                    self.now.0.saturating_sub(since.0) >= self.cluster.spec.repair_after_ms
                })
        };
        if *target != self.present || !missing.iter().all(lost) {
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
        let why = format!("{who} is lost and its copies fit nowhere else; one node shall join");
        Some((Decision::ScaleOut, why, None))
    }

    fn fullest(&self) -> Option<Fullest> {
        fit::fullest(self.cluster, self.cluster.view.old())
            .map(|(ordinal, percent)| Fullest { ordinal, percent })
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
}

fn hold(reason: &str, blocked_by: &str) -> Decided {
    (
        Decision::Hold,
        reason.to_string(),
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
