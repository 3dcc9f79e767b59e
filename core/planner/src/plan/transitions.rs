//! Events for what has become other than it was.

use super::memory::Memory;
use super::output::{Decision, Event, Phase, Status};

fn event(warning: bool, reason: &'static str, message: String) -> Event {
    Event {
        warning,
        reason,
        message,
    }
}

/// The events of a round that ends with this status. `before`, `after`: what was
/// remembered, and what is.
pub fn events(status: &Status, before: &Memory, after: &Memory) -> Vec<Event> {
    let mut events = Vec::new();
    match (before.last_phase, status.phase) {
        (Some(before), now) if before == now => {}
        (_, Phase::Degraded) => {
            let degraded = status.conditions.iter().find(|c| c.kind == "Degraded");
            let message = degraded.map(|c| c.message.clone()).unwrap_or_default();
            events.push(event(true, "Degraded", message));
        }
        (Some(Phase::Degraded), Phase::Ready) => {
            events.push(event(false, "Recovered", "all members answer".into()));
        }
        _ => {}
    }
    if let Some((decision, reason, _)) = &after.last_decision
        && before.last_decision.as_ref().map(|(d, ..)| *d) != Some(*decision)
    {
        match decision {
            Decision::ScaleOut => events.push(event(false, "ScaleOut", reason.clone())),
            Decision::ScaleIn => events.push(event(false, "ScaleIn", reason.clone())),
            Decision::Hold => {}
        }
    }
    events
}
