//! What to do at one ordinal: a plain function of what is there and what the
//! operator wants.

#[cfg(test)]
mod tests;

use chord_operator::local::files::DesiredSlot;

/// What is to be done at one ordinal now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    Start,
    Stop,
    Kill,
    DeleteDisk,
}

/// What is at one ordinal, as far as the decision needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// Nothing runs; it may be started from a time on.
    Idle {
        due: bool,
        disk: bool,
    },
    Running {
        revision: &'a str,
    },
    /// It was told to end.
    Stopping {
        overdue: bool,
    },
}

/// An ordinal of which the operator says nothing is left as it is. A disk is
/// deleted only when nothing runs on it.
pub fn next_step(state: State<'_>, wanted: Option<&DesiredSlot>) -> Step {
    match (state, wanted) {
        (State::Idle { due: true, .. }, Some(DesiredSlot::Running { .. })) => Step::Start,
        (State::Idle { disk: true, .. }, Some(DesiredSlot::Absent { delete_disk: true })) => {
            Step::DeleteDisk
        }
        (State::Running { revision }, Some(DesiredSlot::Running { revision: wanted }))
            if revision != wanted =>
        {
            Step::Stop
        }
        (State::Running { .. }, Some(DesiredSlot::Absent { .. })) => Step::Stop,
        (State::Stopping { overdue: true }, _) => Step::Kill,
        _ => Step::Nothing,
    }
}
