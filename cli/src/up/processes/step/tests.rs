//! What is done at an ordinal, and what is never done.

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
    assert_eq!(next_step(idle, Some(&delete)), Step::DeleteDisk);
    assert_eq!(next_step(idle, Some(&keep)), Step::Nothing);
    assert_eq!(next_step(idle, None), Step::Nothing);
    for busy in [
        State::Running { revision: "r" },
        State::Stopping { overdue: false },
        State::Stopping { overdue: true },
    ] {
        assert_ne!(next_step(busy, Some(&delete)), Step::DeleteDisk, "{busy:?}");
    }
}

#[test]
fn what_the_operator_does_not_name_stays() {
    assert_eq!(
        next_step(State::Running { revision: "r" }, None),
        Step::Nothing
    );
    assert_eq!(
        next_step(
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
        next_step(State::Running { revision: "a" }, Some(&running("a"))),
        Step::Nothing
    );
    assert_eq!(
        next_step(State::Running { revision: "a" }, Some(&running("b"))),
        Step::Stop
    );
    assert_eq!(
        next_step(
            State::Idle {
                due: true,
                disk: true
            },
            Some(&running("b"))
        ),
        Step::Start
    );
    assert_eq!(
        next_step(
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
        next_step(State::Stopping { overdue: false }, Some(&absent)),
        Step::Nothing
    );
    assert_eq!(
        next_step(State::Stopping { overdue: true }, Some(&absent)),
        Step::Kill
    );
    assert_eq!(
        next_step(State::Stopping { overdue: true }, Some(&running("r"))),
        Step::Kill
    );
}
