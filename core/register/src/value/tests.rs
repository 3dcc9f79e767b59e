//! Changes of a value, one after another.

use super::*;
use bytes::Bytes;

fn op(counter: u64) -> OpId {
    OpId {
        disk: DiskId(uuid::Uuid::nil()),
        boot: 1,
        counter,
    }
}

fn file(body: Body) -> NewFile {
    NewFile {
        size: 1,
        modified_ms: 5_000,
        content_type: None,
        meta: vec![],
        fingerprint: "f".into(),
        body,
    }
}

fn inline() -> NewFile {
    file(Body::Inline(Bytes::from_static(b"x")))
}

fn next(value: &Value, change: Change) -> (Value, Outcome) {
    match value.apply(&change) {
        Applied::Next(v, o) => (v, o),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_operation_is_applied_once() {
    let commit = Change::Commit {
        op: op(1),
        file: inline(),
        condition: Condition::default(),
    };
    let (v, outcome) = next(&Value::default(), commit.clone());
    assert_eq!(
        outcome,
        Outcome::Committed {
            version: 1,
            etag: "1-f".into(),
            replaced: false
        }
    );
    assert_eq!(v.apply(&commit), Applied::Already(outcome));
}

/// The value with one more version, made where a clock shows so many milliseconds.
fn stored_at(value: &Value, modified_ms: u64) -> Value {
    let file = NewFile {
        modified_ms,
        ..inline()
    };
    let commit = Change::Commit {
        op: op(value.seq),
        file,
        condition: Condition::default(),
    };
    next(value, commit).0
}

fn deleted(value: &Value) -> Value {
    let delete = Change::Delete {
        op: op(value.seq),
        condition: Condition::default(),
    };
    next(value, delete).0
}

/// The second that a client is told at most, and later sends back.
fn second(value: &Value) -> u64 {
    value.current.as_ref().unwrap().modified_ms / 1000
}

#[test]
fn a_date_tells_versions_apart_whatever_clocks_say() {
    let year = 365 * 24 * 3_600_000;
    // A clock that stands, goes back, was a year ahead, and is right again.
    for clocks in [
        [5_000, 5_000, 5_999],
        [5_000, 4_999, 0],
        [year, 6_000, 7_000],
    ] {
        for delete_between in [false, true] {
            let mut value = stored_at(&Value::default(), clocks[0]);
            assert_eq!(
                second(&value),
                clocks[0] / 1000,
                "the first has its clock's"
            );
            for clock in &clocks[1..] {
                let told = second(&value);
                if delete_between {
                    value = deleted(&value);
                }
                value = stored_at(&value, *clock);
                assert!(second(&value) > told, "{clocks:?}");
                let since = Condition {
                    if_modified_since: Some(told),
                    ..Condition::default()
                };
                let unless = Condition {
                    if_unmodified_since: Some(told),
                    ..Condition::default()
                };
                let current = Some(("tag", second(&value)));
                assert_eq!(since.evaluate(current, true), Verdict::Proceed);
                assert_eq!(unless.evaluate(current, false), Verdict::Failed);
            }
            let caught_up = second(&value) * 1000 + 1000;
            let value = stored_at(&value, caught_up);
            assert_eq!(
                second(&value) * 1000,
                caught_up,
                "a clock that is later counts"
            );
        }
    }
    // The end of all clocks is no way back.
    let end = stored_at(&Value::default(), u64::MAX);
    assert_eq!(second(&stored_at(&end, 0)), u64::MAX / 1000);
}

#[test]
fn a_forgotten_operation_is_known_to_be_forgotten() {
    let mut v = Value::default();
    let start = v.seq;
    for n in 0..REMEMBERED as u64 {
        v = next(
            &v,
            Change::Commit {
                op: op(n),
                file: inline(),
                condition: Condition::default(),
            },
        )
        .0;
        assert_eq!(v.would_remember_since(start), n + 1 < REMEMBERED as u64);
    }
}

#[test]
fn a_chunked_commit_needs_its_pending_entry_and_consumes_it() {
    let upload = UploadId::from_bytes([1; 16]);
    let chunked = file(Body::Chunks {
        upload,
        chunks: vec![],
    });
    let commit = Change::Commit {
        op: op(1),
        file: chunked,
        condition: Condition::default(),
    };
    assert_eq!(
        Value::default().apply(&commit),
        Applied::Refused(Refusal::UploadExpired)
    );
    let pending = Pending {
        upload,
        disk: DiskId(uuid::Uuid::nil()),
        boot: 1,
        since_ms: 0,
    };
    let (v, _) = next(
        &Value::default(),
        Change::Begin {
            pending,
            condition: Condition::default(),
        },
    );
    assert!(v.names_upload(&upload));
    let (done, _) = next(&v, commit.clone());
    assert!(done.pending.is_empty() && done.names_upload(&upload));
    let (expired, _) = next(&v, Change::Expire { upload });
    assert!(!expired.names_upload(&upload));
    assert_eq!(
        expired.apply(&commit),
        Applied::Refused(Refusal::UploadExpired)
    );
}

#[test]
fn deletes_count_a_version_and_conditions_see_it() {
    let (v, _) = next(
        &Value::default(),
        Change::Commit {
            op: op(1),
            file: inline(),
            condition: Condition::default(),
        },
    );
    let (gone, outcome) = next(
        &v,
        Change::Delete {
            op: op(2),
            condition: Condition::default(),
        },
    );
    assert_eq!(outcome, Outcome::Deleted { version: 2 });
    let again = Change::Delete {
        op: op(3),
        condition: Condition::default(),
    };
    assert_eq!(gone.apply(&again), Applied::Refused(Refusal::NotFound));
    let (back, outcome) = next(
        &gone,
        Change::Commit {
            op: op(4),
            file: inline(),
            condition: Condition::default(),
        },
    );
    assert_eq!(
        outcome,
        Outcome::Committed {
            version: 3,
            etag: "3-f".into(),
            replaced: false
        }
    );
    assert_eq!(back.version, 3);
}
