//! Between files and the planner's values: pure functions of one round.

use std::collections::{BTreeMap, BTreeSet};

use chord_api::causes::briefly;
use chord_types::{Ordinal, View};
use kube::ResourceExt;

use super::files::{DesiredSlot, DesiredSlots, EventLine, NodeLine, Nodes, StatusFile};
use crate::crd::status::{ConditionNow, Context, time};
use crate::crd::{ChordCluster, ChordClusterStatus};
use crate::nodes::Reports;
use chord_planner::plan::{Event, Millis, Node, Observed, Plan, Site, Slot, Stored, Trouble};

/// Whom to ask, and where.
pub fn targets(running: &Nodes) -> Vec<(Ordinal, String)> {
    let asked = running.nodes.iter().filter(|(_, node)| node.pid.is_some());
    asked
        .filter_map(|(ordinal, node)| Some((*ordinal, node.peer_url.clone()?)))
        .collect()
}

/// What the planner sees.
pub fn observed(
    stored: Stored,
    running: &Nodes,
    slots: &DesiredSlots,
    reports: &Reports,
    held: Vec<(View, BTreeSet<Ordinal>)>,
) -> Observed {
    let meant = |o: &Ordinal| matches!(slots.slots.get(o), Some(DesiredSlot::Running { .. }));
    let ordinals: BTreeSet<Ordinal> = running
        .nodes
        .keys()
        .copied()
        .chain(slots.slots.keys().copied().filter(meant))
        .collect();
    let nodes = ordinals
        .into_iter()
        .map(|ordinal| {
            let process = running.nodes.get(&ordinal).cloned().unwrap_or_default();
            let answer = reports.get(&ordinal);
            let node = Node {
                running: process.pid.is_some() || meant(&ordinal),
                revision: process.pid.and(process.revision),
                disk_exists: process.disk_exists,
                terminating: process.pid.is_some()
                    && matches!(slots.slots.get(&ordinal), Some(DesiredSlot::Absent { .. })),
                // All of them on this machine: nothing to spread over.
                site: Some(Site::default()),
                report: answer.and_then(|a| a.as_ref().ok()).cloned(),
                trouble: process.trouble.map(Trouble::Broken).or_else(|| {
                    answer
                        .and_then(|a| a.as_ref().err())
                        .map(|e| Trouble::Silent(briefly(e)))
                }),
            };
            (ordinal, node)
        })
        .collect();
    Observed {
        stored,
        nodes,
        held,
    }
}

/// The slots to be written: the plan's over those before it. A node keeps the
/// revision that it runs with until the plan restarts it.
pub fn merged(before: DesiredSlots, plan: &Plan, running: &Nodes) -> DesiredSlots {
    let process = |ordinal: &Ordinal| running.nodes.get(ordinal);
    let mut slots = before.slots;
    slots.retain(|ordinal, slot| match slot {
        DesiredSlot::Running { .. } => true,
        DesiredSlot::Absent { delete_disk } => {
            process(ordinal).is_some_and(|p| p.pid.is_some() || (*delete_disk && p.disk_exists))
        }
    });
    for (ordinal, slot) in &plan.slots {
        let desired = match slot {
            Slot::Absent { delete_disk } => DesiredSlot::Absent {
                delete_disk: *delete_disk,
            },
            Slot::Running { revision } => {
                let present = process(ordinal)
                    .filter(|p| p.pid.is_some())
                    .and_then(|p| p.revision.clone());
                let revision = match present {
                    Some(present) if !plan.restart.contains(ordinal) => present,
                    _ => revision.clone(),
                };
                DesiredSlot::Running { revision }
            }
        };
        slots.insert(*ordinal, desired);
    }
    DesiredSlots { slots }
}

/// What `status.json` says after this round.
pub fn status_file(
    cluster: &ChordCluster,
    plan: &Plan,
    observed: &Observed,
    running: &Nodes,
    previous: Option<&StatusFile>,
    extra: Option<ConditionNow>,
    now: Millis,
) -> StatusFile {
    let name = cluster.name_any();
    let extra: Vec<ConditionNow> = extra.into_iter().collect();
    let context = Context {
        name: &name,
        generation: cluster.metadata.generation.unwrap_or(1),
        selector: String::new(),
        extra: &extra,
        previous: previous.map(|p| &p.status),
        now,
    };
    StatusFile {
        status: ChordClusterStatus::build(&plan.status, &context),
        nodes: node_lines(cluster, plan, observed, running),
    }
}

fn node_lines(
    cluster: &ChordCluster,
    plan: &Plan,
    observed: &Observed,
    running: &Nodes,
) -> Vec<NodeLine> {
    let name = cluster.name_any();
    // Outside the view a node either waits to join it or has left it.
    let place = |o: &Ordinal| match cluster.spec.drained.contains(&o.0) {
        _ if o.0 >= plan.status.desired_nodes => Place::Beyond,
        true => Place::Drained,
        false => Place::Wanted,
    };
    let view = match (&plan.view, &observed.stored) {
        (Some(view), _) => Some(view),
        (None, Stored::View(view)) => Some(&**view),
        (None, _) => None,
    };
    let members: BTreeMap<Ordinal, bool> = view
        .map(|view| view.members().iter().map(|m| (m.ordinal, m.out)).collect())
        .unwrap_or_default();
    let shown = observed
        .nodes
        .iter()
        .filter(|(o, node)| node.running || members.contains_key(o));
    shown
        .map(|(ordinal, node)| {
            let report = node.report.as_ref();
            let process = running.nodes.get(ordinal);
            NodeLine {
                name: format!("{name}-{ordinal}"),
                address: process.and_then(|p| p.client_url.clone()),
                state: state(*ordinal, node, view, place(ordinal)).to_string(),
                used: report.map(|r| r.space.used),
                capacity: report.map(|r| r.space.capacity),
                files: report.map(|r| r.files),
                pid: process.and_then(|p| p.pid),
            }
        })
        .collect()
}

/// What is wanted of an ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Wanted,
    /// It stays, and owns nothing.
    Drained,
    /// It shall go.
    Beyond,
}

/// One word for what a node is.
fn state(ordinal: Ordinal, node: &Node, view: Option<&View>, place: Place) -> &'static str {
    let Some(view) = view else {
        return if node.report.is_some() {
            "Joining"
        } else {
            "Down"
        };
    };
    let (old, new) = (view.old().member(ordinal), view.new_table().member(ordinal));
    let Some(report) = &node.report else {
        return if new.or(old).is_some_and(|m| m.out) {
            "Out"
        } else {
            "Down"
        };
    };
    match (old, new) {
        (_, Some(member)) if member.out => "Out",
        (Some(old), Some(new)) if new.disk == report.disk && old.disk == new.disk => {
            if report.ready { "Ready" } else { "Joining" }
        }
        (_, Some(_)) => "Joining",
        (Some(_), None) => "Leaving",
        (None, None) if place == Place::Wanted => "Joining",
        // Its drain has ended when nothing is left to hand on.
        (None, None) if place == Place::Drained && report.inventory.is_empty() => "Out",
        (None, None) => "Leaving",
    }
}

/// A round that failed, as an event.
pub fn trouble(why: &str, now: Millis) -> EventLine {
    EventLine {
        at: time(now).0.to_string(),
        kind: "Warning".into(),
        reason: "RoundFailed".into(),
        message: why.into(),
    }
}

/// Events as lines.
pub fn event_lines(events: &[Event], now: Millis) -> Vec<EventLine> {
    events
        .iter()
        .map(|event| EventLine {
            at: time(now).0.to_string(),
            kind: if event.warning { "Warning" } else { "Normal" }.into(),
            reason: event.reason.into(),
            message: event.message.clone(),
        })
        .collect()
}
