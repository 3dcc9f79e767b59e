//! What to do at one ordinal: a plain function of what is there and what the
//! operator wants.

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
pub fn next(state: State<'_>, wanted: Option<&DesiredSlot>) -> Step {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn running(revision: &str) -> DesiredSlot {
        DesiredSlot::Running {
            revision: revision.into(),
        }
    }

    #[test]
    fn a_disk_is_deleted_only_when_it_is_wanted_and_nothing_runs() {
        let delete = DesiredSlot::Absent { delete_disk: true };
        let keep = DesiredSlot::Absent { delete_disk: false };
        let idle = State::Idle {
            due: true,
            disk: true,
        };
        assert_eq!(next(idle, Some(&delete)), Step::DeleteDisk);
        assert_eq!(next(idle, Some(&keep)), Step::Nothing);
        assert_eq!(next(idle, None), Step::Nothing);
        for busy in [
            State::Running { revision: "r" },
            State::Stopping { overdue: false },
            State::Stopping { overdue: true },
        ] {
            assert_ne!(next(busy, Some(&delete)), Step::DeleteDisk, "{busy:?}");
        }
    }

    #[test]
    fn what_the_operator_does_not_name_stays() {
        assert_eq!(next(State::Running { revision: "r" }, None), Step::Nothing);
        assert_eq!(
            next(
                State::Idle {
                    due: true,
                    disk: true
                },
                None
            ),
            Step::Nothing
        );
    }

    #[test]
    fn another_revision_is_a_restart_and_the_same_is_none() {
        assert_eq!(
            next(State::Running { revision: "a" }, Some(&running("a"))),
            Step::Nothing
        );
        assert_eq!(
            next(State::Running { revision: "a" }, Some(&running("b"))),
            Step::Stop
        );
        assert_eq!(
            next(
                State::Idle {
                    due: true,
                    disk: true
                },
                Some(&running("b"))
            ),
            Step::Start
        );
        assert_eq!(
            next(
                State::Idle {
                    due: false,
                    disk: true
                },
                Some(&running("b"))
            ),
            Step::Nothing
        );
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let absent = DesiredSlot::Absent { delete_disk: false };
        assert_eq!(
            next(State::Stopping { overdue: false }, Some(&absent)),
            Step::Nothing
        );
        assert_eq!(
            next(State::Stopping { overdue: true }, Some(&absent)),
            Step::Kill
        );
        assert_eq!(
            next(State::Stopping { overdue: true }, Some(&running("r"))),
            Step::Kill
        );
    }
}
