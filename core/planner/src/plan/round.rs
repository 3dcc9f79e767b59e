//! One round: from what was seen to what is to be done, and what to remember.

use std::collections::BTreeMap;

use chord_types::View;

use super::cluster::Cluster;
use super::input::{Millis, Observed, Spec};
use super::memory::Memory;
use super::nodes::{restart, silence, slots};
use super::output::{Event, Phase, Plan, Slot};
use super::scale;
use super::status::{self, Findings};
use super::transitions;
use super::view::change::{self, Step};
use super::view::standing::{self, Standing};
use super::view::{form, goal};

/// Look again soon: something is under way.
const SOON_MS: u64 = 1_000;

/// Look again for what may have happened unseen.
const LATER_MS: u64 = 10_000;

/// Decides what is to be done now, and what to remember.
pub fn plan(spec: &Spec, observed: &Observed, memory: &Memory, now: Millis) -> (Plan, Memory) {
    let (mut plan, mut next) = match standing::standing(spec, observed) {
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
    plan.events
        .extend(transitions::events(&plan.status, memory, &next));
    next.last_phase = Some(plan.status.phase);
    (plan, next)
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
            let target = memory.target.unwrap_or_else(|| cluster.ordinals_now());
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
    let target = memory.target.unwrap_or_else(|| cluster.ordinals_now());
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
    silence::watch(&cluster, &mut memory, now);
    if spec.paused {
        return (paused(&cluster, &memory), memory);
    }
    let scaling = scale::target(&cluster, &mut memory, now);
    let goal = goal::goal(&cluster, scaling.target, &memory, now);
    memory.joiners_since = match goal.joiners_wait {
        true => memory.joiners_since.or(Some(now)),
        false => None,
    };
    let mut notes = goal.notes.clone();
    let step = change::step(&cluster, &goal, &mut notes);
    let steady = step == Step::Keep;
    let (slots, staying) = slots::under_view(&cluster, scaling.target, steady);
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
    let kept = || staying.first().cloned().or(goal.awaited.clone());
    let (view, progress, events) = taken(&cluster, step, kept);
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

/// A view is in force, and nothing may be changed.
fn paused(cluster: &Cluster, memory: &Memory) -> Plan {
    let findings = Findings {
        target: memory.target.unwrap_or_else(|| cluster.ordinals_now()),
        ..Findings::default()
    };
    Plan {
        view: None,
        slots: BTreeMap::new(),
        restart: Vec::new(),
        disruptions_allowed: restart::disruptions_allowed(cluster),
        status: status::with_view(cluster, findings),
        events: Vec::new(),
        again_ms: LATER_MS,
    }
}

/// The view that a step stores, what it is waited for or what happens, in words, and
/// the event of it. `kept`: the words where the view stays.
fn taken(
    cluster: &Cluster,
    step: Step,
    kept: impl FnOnce() -> Option<String>,
) -> (Option<View>, Option<String>, Vec<Event>) {
    match step {
        Step::Keep => (None, kept(), Vec::new()),
        Step::Wait(why) if cluster.is_joint() => {
            let (old, new) = (cluster.view.old(), cluster.view.new_table());
            let what = change::describe(cluster, old, new);
            (None, Some(format!("{what}: waits for {why}")), Vec::new())
        }
        Step::Wait(why) => (None, Some(why), Vec::new()),
        Step::Next {
            view,
            reason,
            message,
        } => {
            let event = Event {
                warning: false,
                reason,
                message: message.clone(),
            };
            (Some(*view), Some(message), vec![event])
        }
    }
}
