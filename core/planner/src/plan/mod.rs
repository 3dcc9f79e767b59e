//! The planner: `plan(spec, observed, memory, now) -> (Plan, Memory)`.
//!
//! A pure function: the same values give the same plan. One round takes at most
//! one step with the view; the next round sees what came of it. `adopt` finds the
//! view in force, `form` makes the first, `scale` says how many nodes are wanted,
//! `wanted` which table, `places` what is recorded of where members stand, `change`
//! which view is next, `slots` what runs where, `restart` which node takes new
//! settings, `status` tells it.

mod adopt;
mod change;
mod facts;
mod fit;
mod form;
mod places;
mod restart;
mod scale;
mod slots;
mod status;
mod types;
mod wanted;

#[cfg(test)]
mod autoscaling_tests;
#[cfg(test)]
mod places_tests;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;

use chord_types::View;

use self::adopt::Standing;
use self::change::Step;
use self::facts::Cluster;
use self::status::Findings;
pub use self::types::*;

/// Look again soon: something is under way.
const SOON_MS: u64 = 1_000;

/// Look again for what may have happened unseen.
const LATER_MS: u64 = 10_000;

/// While somebody is silent, how often it is remembered that this was watched.
const WATCHED_EVERY_MS: u64 = 60_000;

/// Who was not watched for so long may have answered meanwhile.
const AWAY_MS: u64 = 150_000;

/// Decides what is to be done now, and what to remember.
pub fn plan(spec: &Spec, observed: &Observed, memory: &Memory, now: Millis) -> (Plan, Memory) {
    let (mut plan, mut next) = match adopt::standing(spec, observed) {
        Standing::Current(view) => in_force(spec, observed, *view, memory, now),
        Standing::Adopt(view) => adopted(spec, observed, *view, memory),
        Standing::Nothing => forming(spec, observed, memory),
        Standing::Hold { why, view } => held(spec, observed, why, view, memory),
    };
    if spec.paused {
        plan.view = None;
        plan.slots.clear();
        plan.restart.clear();
    }
    tell_transitions(&mut plan, memory, &next);
    next.last_phase = Some(plan.status.phase);
    (plan, next)
}

/// Events for what has become other than it was.
fn tell_transitions(plan: &mut Plan, before: &Memory, after: &Memory) {
    let mut tell = |warning: bool, reason: &'static str, message: String| {
        plan.events.push(Event {
            warning,
            reason,
            message,
        });
    };
    let message = |kind: &str| {
        plan.status
            .conditions
            .iter()
            .find(|c| c.kind == kind)
            .map(|c| c.message.clone())
            .unwrap_or_default()
    };
    match (before.last_phase, plan.status.phase) {
        (Some(before), now) if before == now => {}
        (_, Phase::Degraded) => tell(true, "Degraded", message("Degraded")),
        (Some(Phase::Degraded), Phase::Ready) => {
            tell(false, "Recovered", "all members answer".into())
        }
        _ => {}
    }
    if let Some((decision, reason, _)) = &after.last_decision
        && before.last_decision.as_ref().map(|(d, ..)| *d) != Some(*decision)
    {
        match decision {
            Decision::ScaleOut => tell(false, "ScaleOut", reason.clone()),
            Decision::ScaleIn => tell(false, "ScaleIn", reason.clone()),
            Decision::Hold => {}
        }
    }
}

/// No disk carries a view, as far as those who answer say.
fn forming(spec: &Spec, observed: &Observed, memory: &Memory) -> (Plan, Memory) {
    let mut memory = memory.clone();
    memory.silent_since.clear();
    let nodes = scale::at_forming(spec.nodes, spec.autoscaling.as_ref());
    let (view, phase, message) = match form::form(spec, observed, nodes) {
        Ok(view) => (
            Some(view),
            Phase::Forming,
            "the cluster is formed".to_string(),
        ),
        Err(why) => (None, Phase::Pending, why),
    };
    let mut events = Vec::new();
    if view.is_some() && !spec.paused {
        memory.nodes_obeyed = Some(spec.nodes);
        memory.target = spec.autoscaling.as_ref().map(|_| nodes);
        let message = format!("the cluster is formed with {nodes} nodes");
        events.push(Event {
            warning: false,
            reason: "Formed",
            message,
        });
    }
    let plan = Plan {
        view,
        slots: slots::without_view(spec, observed, nodes),
        restart: restart::broken(spec, observed).into_iter().collect(),
        disruptions_allowed: 0,
        status: status::without_view(spec, nodes, phase, &message),
        events,
        again_ms: SOON_MS,
    };
    (plan, memory)
}

/// Something is not as it should be: nothing is changed, all that exists runs.
fn held(
    spec: &Spec,
    observed: &Observed,
    why: String,
    view: Option<Box<View>>,
    memory: &Memory,
) -> (Plan, Memory) {
    let start = scale::at_forming(spec.nodes, spec.autoscaling.as_ref());
    let (slots, status) = match view {
        Some(view) => {
            let cluster = Cluster::new(spec, observed, *view);
            let target = memory
                .target
                .unwrap_or_else(|| scale::ordinals_now(cluster.view.new_table()));
            let slots = slots::under_view(&cluster, 0, false).0;
            let findings = Findings {
                target,
                held: Some(why),
                ..Findings::default()
            };
            (slots, status::with_view(&cluster, findings))
        }
        None => (
            slots::without_view(spec, observed, start),
            status::without_view(spec, start, Phase::Degraded, &why),
        ),
    };
    let plan = Plan {
        view: None,
        slots,
        restart: restart::broken(spec, observed).into_iter().collect(),
        disruptions_allowed: 0,
        status,
        events: Vec::new(),
        again_ms: SOON_MS,
    };
    (plan, memory.clone())
}

/// A newer view than the stored one is in force: it is stored, and nothing else
/// happens in this round.
fn adopted(spec: &Spec, observed: &Observed, view: View, memory: &Memory) -> (Plan, Memory) {
    let cluster = Cluster::new(spec, observed, view);
    let target = memory
        .target
        .unwrap_or_else(|| scale::ordinals_now(cluster.view.new_table()));
    let message = format!(
        "view {} of the nodes is newer than what was stored; it is taken over",
        cluster.view.epoch
    );
    let findings = Findings {
        target,
        progress: Some(message.clone()),
        ..Findings::default()
    };
    let plan = Plan {
        slots: slots::under_view(&cluster, 0, false).0,
        restart: Vec::new(),
        disruptions_allowed: 0,
        status: status::with_view(&cluster, findings),
        events: if spec.paused {
            Vec::new()
        } else {
            vec![Event {
                warning: true,
                reason: "ViewAdopted",
                message,
            }]
        },
        again_ms: SOON_MS,
        view: Some(cluster.view),
    };
    (plan, memory.clone())
}

/// The ordinary round: a view is in force.
fn in_force(
    spec: &Spec,
    observed: &Observed,
    view: View,
    memory: &Memory,
    now: Millis,
) -> (Plan, Memory) {
    let cluster = Cluster::new(spec, observed, view);
    let mut memory = memory.clone();
    watch_silence(&cluster, &mut memory, now);
    if spec.paused {
        let target = memory
            .target
            .unwrap_or_else(|| scale::ordinals_now(cluster.view.new_table()));
        let findings = Findings {
            target,
            ..Findings::default()
        };
        let plan = Plan {
            view: None,
            slots: BTreeMap::new(),
            restart: Vec::new(),
            disruptions_allowed: restart::disruptions_allowed(&cluster),
            status: status::with_view(&cluster, findings),
            events: Vec::new(),
            again_ms: LATER_MS,
        };
        return (plan, memory);
    }
    let scaling = scale::target(&cluster, &mut memory, now);
    let wanted = wanted::wanted(&cluster, scaling.target, &memory, now);
    memory.joiners_since = match wanted.joiners_wait {
        true => memory.joiners_since.or(Some(now)),
        false => None,
    };
    let mut notes = wanted.notes.clone();
    let step = change::step(&cluster, &wanted, &mut notes);
    let steady = step == Step::Keep;
    let (slots, staying) = slots::under_view(&cluster, scaling.target, steady);
    let joint = change::is_joint(&cluster.view);
    let restart = match steady {
        true => restart::next(&cluster),
        false => restart::broken(spec, observed),
    };
    // A node that goes needs no new settings.
    let restart = restart.filter(|o| !matches!(slots.get(o), Some(Slot::Absent { .. })));
    let disruptions_allowed = if steady {
        restart::disruptions_allowed(&cluster)
    } else {
        0
    };
    let mut events = Vec::new();
    let (view, progress) = match step {
        Step::Keep => (None, staying.first().cloned().or(wanted.awaited.clone())),
        Step::Wait(why) if joint => {
            let what = change::describe(&cluster, cluster.view.old(), cluster.view.new_table());
            (None, Some(format!("{what}: waits for {why}")))
        }
        Step::Wait(why) => (None, Some(why)),
        Step::Next {
            view,
            reason,
            message,
        } => {
            events.push(Event {
                warning: false,
                reason,
                message: message.clone(),
            });
            (Some(*view), Some(message))
        }
    };
    let findings = Findings {
        target: scaling.target,
        autoscaling: scaling.status,
        limited: scaling.limited,
        notes,
        progress,
        staying,
        rolling: restart::rolling(&cluster),
        held: None,
    };
    let status = status::with_view(&cluster, findings);
    let quiet = view.is_none() && steady && status.phase == Phase::Ready && restart.is_none();
    let plan = Plan {
        view,
        slots,
        restart: restart.into_iter().collect(),
        disruptions_allowed,
        status,
        events,
        again_ms: if quiet { LATER_MS } else { SOON_MS },
    };
    (plan, memory)
}

/// Notes since when members have not answered with their disk. Where nobody watched
/// for a while, as while the operator was away, the time begins anew.
fn watch_silence(cluster: &Cluster, memory: &mut Memory, now: Millis) {
    let since_watched = memory.watched.map(|at| now.0.saturating_sub(at.0));
    if since_watched.is_none_or(|away| away > AWAY_MS) {
        memory.silent_since.clear();
    }
    let mut silent = BTreeMap::new();
    for member in cluster.view.members() {
        let of_ordinal = |m: &&chord_types::Member| m.ordinal == member.ordinal;
        let answers = cluster
            .view
            .members()
            .into_iter()
            .filter(of_ordinal)
            .any(|m| !matches!(cluster.seen(m), facts::Seen::Silent));
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
