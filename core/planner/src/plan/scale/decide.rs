//! What the autoscaler decides: hold, more nodes and how many, or one node fewer.

use chord_types::{Ordinal, Table};

use super::scaler::{Fullest, Scaler, clamp};
use crate::plan::fit;
use crate::plan::input::Select;
use crate::plan::output::Decision;

/// Aim a little below the threshold, so that one step is enough.
const AIM: f64 = 0.95;

/// A decision, why, and what is in the way.
pub type Decided = (Decision, String, Option<String>);

impl Scaler<'_, '_> {
    /// Decides, and moves `target` by what was decided.
    pub fn decide(&mut self, target: &mut u32) -> Decided {
        let cluster = self.cluster;
        if cluster.is_joint() {
            return hold(
                "nodes join, leave or are replaced just now",
                "a change is under way",
            );
        }
        let missing = cluster.missing(cluster.view.old());
        if !missing.is_empty() {
            // What cannot be seen is taken for unchanged.
            self.recommend(*target);
            if let Some(decided) = self.make_room_for_repair(target, &missing) {
                return decided;
            }
            let who = cluster.names(missing);
            return hold(
                &format!("{who} does not answer"),
                &format!("{who} does not answer"),
            );
        }
        let Some(fullest) = self.fullest() else {
            return hold("no node tells how full it is", "no figures");
        };
        let figures = format!(
            "fullest node {} is {:.0} % full, thresholds are {:.0} % and {:.0} %{}",
            cluster.name(fullest.ordinal),
            fullest.percent,
            self.out_above(),
            self.in_below(),
            self.shared_device()
        );
        self.drop_what_is_no_longer_wanted(target, &fullest);
        match *target == self.present {
            true => self.by_usage(target, &fullest, figures),
            false => self.under_way(*target, &figures),
        }
    }

    /// Takes back a step that was planned, has not begun, and that usage no longer
    /// asks for.
    fn drop_what_is_no_longer_wanted(&self, target: &mut u32, fullest: &Fullest) {
        if *target < self.present && fullest.percent >= self.in_below() {
            *target = clamp(self.present, self.auto);
        }
        let middle = (self.out_above() + self.in_below()) / 2.0;
        if *target > self.present && fullest.percent < middle {
            *target = clamp(self.present, self.auto);
        }
    }

    /// A step that was decided before and is not done yet.
    fn under_way(&self, target: u32, figures: &str) -> Decided {
        let (decision, what) = if target > self.present {
            (Decision::ScaleOut, "join")
        } else {
            (Decision::ScaleIn, "leave")
        };
        let nodes = count(target.abs_diff(self.present));
        (
            decision,
            format!("{figures}; {nodes} shall {what}"),
            self.cannot_start(target),
        )
    }

    /// How many members the usage asks for.
    fn wanted(&self, members: u32, percent: f64, settled: bool) -> u32 {
        let (out, low) = (self.out_above(), self.in_below());
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

    /// The next step, by how full the fullest member is.
    fn by_usage(&mut self, target: &mut u32, fullest: &Fullest, figures: String) -> Decided {
        let table = self.cluster.view.old();
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
        (
            Decision::Hold,
            figures,
            self.why_not_yet(recommended, settled),
        )
    }

    /// What keeps the number as it is, if anything.
    fn why_not_yet(&self, recommended: u32, settled: bool) -> Option<String> {
        if recommended < self.present && self.present <= self.auto.min_nodes {
            Some(format!("minNodes is {}", self.auto.min_nodes))
        } else if recommended < self.present {
            Some("the stabilisation window for scaling in has not passed".to_string())
        } else if recommended > self.present {
            Some("the stabilisation window for scaling out has not passed".to_string())
        } else if !settled {
            Some("copies that have moved are not dropped yet".to_string())
        } else {
            None
        }
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
        let middle = (self.out_above() + self.in_below()) / 2.0;
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
