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
        meta: Metadata::default(),
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

/// Values as 0.1.0 wrote them: one with a file and an upload that is pending, and the
/// same when the file was deleted.
const STORED_0_1_0: &str = "\
    85a373657102a776657273696f6e01a763757272656e7487a776657273696f6e01a465746167a6312d303066\
    66a473697a6505ab6d6f6469666965645f6d73cf0000019f655946dcac636f6e74656e745f74797065aa7465\
    78742f706c61696ea46d6574619192a6636f6c6f7572a973656120677265656ea4626f647981a6496e6c696e\
    65c40568656c6c6fa770656e64696e679184a675706c6f6164c41007070707070707070707070707070707a4\
    6469736bc41000000000000000000000000000000000a4626f6f7402a873696e63655f6d7309a6726563656e\
    74919283a46469736bc41000000000000000000000000000000000a4626f6f7402a7636f756e7465720181a9\
    436f6d6d697474656483a776657273696f6e01a465746167a6312d30306666a87265706c61636564c2";
const DELETED_0_1_0: &str = "\
    85a373657103a776657273696f6e02a763757272656e74c0a770656e64696e679184a675706c6f6164c41007\
    070707070707070707070707070707a46469736bc41000000000000000000000000000000000a4626f6f7402\
    a873696e63655f6d7309a6726563656e74929283a46469736bc41000000000000000000000000000000000a4\
    626f6f7402a7636f756e7465720181a9436f6d6d697474656483a776657273696f6e01a465746167a6312d30\
    306666a87265706c61636564c29283a46469736bc41000000000000000000000000000000000a4626f6f7402\
    a7636f756e7465720281a744656c6574656481a776657273696f6e02";

#[test]
fn what_0_1_0_wrote_is_read_and_written_the_same() {
    for (hexadecimal, files) in [(STORED_0_1_0, 1), (DELETED_0_1_0, 0)] {
        let bytes = hex::decode(hexadecimal).unwrap();
        let value: Value = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(
            (value.current.iter().count(), value.pending.len()),
            (files, 1)
        );
        assert!(value.remembers(&OpId { boot: 2, ..op(1) }).is_some());
        assert_eq!(rmp_serde::to_vec_named(&value).unwrap(), bytes);
    }
}

#[test]
fn what_0_1_0_does_not_know_is_no_hindrance_to_it() {
    #[derive(serde::Deserialize)]
    struct Earlier {
        version: u64,
        current: Option<Manifest>,
    }
    let gone = deleted(&stored_at(&Value::default(), 5_000));
    let sent = rmp_serde::to_vec_named(&gone).unwrap();
    let there: Earlier = rmp_serde::from_slice(&sent).unwrap();
    assert_eq!((there.version, there.current), (2, None));
    assert_eq!(rmp_serde::from_slice::<Value>(&sent).unwrap(), gone);
}
