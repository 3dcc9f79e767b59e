//! Registers, promises, hints, views and who the disk is: what stays and what goes.

use super::meta::source::Source;
use super::meta::table::T;
use super::*;

#[tokio::test]
async fn everything_is_there_after_a_reopen_and_the_boot_number_grows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (disk, boot) = (store.disk(), store.boot());
    assert!(store.view().is_none() && store.cluster().is_none());
    let big = noise(1, 65_536);
    let put = big.clone();
    store
        .transact(move |txn| {
            txn.set_view(&view(3, "c"))?;
            txn.set_promise(&name("p"), ballot(9))?;
            txn.set_register(&name("big"), ballot(1), &value(4, put))?;
            txn.set_register(&name("empty"), ballot(2), &value(1, ""))?;
            txn.set_register(&name("tombstone"), ballot(2), &Value::default())?;
            txn.set_hint(&name("h"), ballot(3), &value(2, "abc"))
        })
        .await
        .unwrap();
    drop(store);

    let store = open(dir.path());
    assert_eq!((store.disk(), store.boot()), (disk, boot + 1));
    assert_eq!(store.view().as_deref(), Some(&view(3, "c")));
    assert_eq!(store.cluster(), Some(ClusterUid("c".into())));
    let read = store.read(move |txn| {
        assert_eq!(txn.view().as_deref(), Some(&view(3, "c")));
        assert_eq!(txn.promise(&name("p"))?, ballot(9));
        assert_eq!(txn.promise(&name("nobody"))?, Ballot::ZERO);
        assert_eq!(
            txn.register(&name("big"))?,
            Some((ballot(1), value(4, big)))
        );
        assert_eq!(
            txn.register(&name("empty"))?,
            Some((ballot(2), value(1, "")))
        );
        assert_eq!(txn.register(&name("tombstone"))?.unwrap().1.current, None);
        assert_eq!(txn.register(&name("h"))?, None, "a hint is no register");
        assert_eq!(txn.hint(&name("h"))?, Some((ballot(3), value(2, "abc"))));
        txn.counts()
    });
    let counts = read.await.unwrap();
    assert_eq!((counts.registers, counts.hints, counts.promises), (3, 1, 1));
    assert_eq!(store.counts().unwrap(), counts);
}

#[tokio::test]
async fn a_second_open_is_refused_until_the_first_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    match open_as(options(dir.path())) {
        Err(e @ OpenError::Busy { .. }) => assert!(e.to_string().contains("data"), "{e}"),
        other => panic!("{:?}", other.map(|s| s.disk())),
    }
    assert_eq!(store.boot(), 1, "the refused one changed nothing");
    // Nor does a program that knows of the database alone.
    let other = redb::Database::open(dir.path().join("data/meta.redb"));
    assert!(matches!(
        other.map(drop),
        Err(redb::DatabaseError::DatabaseAlreadyOpen)
    ));
    drop(store);
    assert_eq!(open(dir.path()).boot(), 2);
}

#[tokio::test]
async fn a_disk_of_another_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bound = |cluster: &str| Options {
        cluster: Some(ClusterUid(cluster.into())),
        ..options(dir.path())
    };
    drop(open_as(bound("one")).unwrap());
    match open_as(bound("two")) {
        Err(OpenError::WrongCluster { found, wanted, .. }) => {
            assert_eq!((found.0, wanted.0), ("one".into(), "two".into()))
        }
        other => panic!("{:?}", other.map(|s| s.disk())),
    }
    let store = open(dir.path());
    assert_eq!(store.boot(), 2, "the refused one was not counted");
    let result = store.transact(|txn| txn.set_view(&view(1, "two"))).await;
    assert!(matches!(result, Err(StoreError::WrongCluster { .. })));
    assert!(store.view().is_none());
    store
        .transact(|txn| txn.set_view(&view(1, "one")))
        .await
        .unwrap();
}

#[tokio::test]
async fn registers_that_are_lost_become_hints_and_the_greater_ballot_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let names: Vec<FileName> = (0..1500).map(|n| name(&format!("n{n}"))).collect();
    let all = names.clone();
    store
        .transact_alone(move |txn| {
            for (n, name) in all.iter().enumerate() {
                txn.set_register(name, ballot(5), &value(n as u64, vec![n as u8; n]))?;
                txn.set_promise(name, ballot(6))?;
            }
            txn.set_hint(&all[0], ballot(4), &value(90, "older"))?;
            txn.set_hint(&all[1], ballot(8), &value(91, noise(9, 5000)))
        })
        .await
        .unwrap();
    let half = |key: &Id| key.0[0] < 0x80;
    let lost: Vec<FileName> = names
        .iter()
        .filter(|n| half(&Id::of_file(n)))
        .cloned()
        .collect();
    let moved = store
        .transact(move |txn| txn.move_to_hints(half))
        .await
        .unwrap();
    assert_eq!(moved as usize, lost.len());
    assert!(
        lost.len() > 512 && lost.len() < 1000,
        "it takes several steps"
    );
    let first = [names[0].clone(), names[1].clone()];
    let counts = store.counts().unwrap();
    let before = first.iter().filter(|n| !lost.contains(n)).count();
    assert_eq!(counts.registers as usize, names.len() - lost.len());
    assert_eq!(counts.promises, counts.registers);
    assert_eq!(counts.hints as usize, lost.len() + before);
    // The rest too: then all of them are hints.
    store
        .transact_alone(|txn| txn.move_to_hints(|_| true))
        .await
        .unwrap();
    let all = names.clone();
    store
        .read(move |txn| {
            assert_eq!(txn.counts()?.hints, 1500);
            assert_eq!(txn.counts()?.registers, 0);
            for (n, name) in all.iter().enumerate() {
                assert_eq!(txn.register(name)?, None);
                let expected = if n == 1 {
                    (ballot(8), value(91, noise(9, 5000)))
                } else {
                    (ballot(5), value(n as u64, vec![n as u8; n]))
                };
                assert_eq!(txn.hint(name)?, Some(expected));
            }
            let page = txn.hints(Some(&name("n998")), 10)?;
            assert_eq!(page.items.len(), 1);
            assert_eq!((page.items[0].name.as_str(), page.next), ("n999", None));
            Ok(())
        })
        .await
        .unwrap();
    // Nothing is left behind once they are removed.
    store
        .transact_alone(move |txn| {
            for name in &names {
                assert!(txn.remove_hint(name)?);
                assert!(!txn.remove_hint(name)?);
            }
            Ok(())
        })
        .await
        .unwrap();
    let bodies = store.shared().snapshot().unwrap();
    assert_eq!(Source::len(&bodies, T::Bodies).unwrap(), 0);
}

#[tokio::test]
async fn a_register_and_a_hint_may_share_a_body_and_neither_takes_it_from_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let body = noise(3, 40_000);
    let same = value(1, body);
    let kept = same.clone();
    store
        .transact(move |txn| {
            txn.set_register(&name("a"), ballot(1), &same)?;
            txn.move_to_hints(|_| true)?;
            txn.set_register(&name("a"), ballot(2), &same)?;
            assert!(txn.remove_hint(&name("a"))?);
            assert_eq!(txn.register(&name("a"))?, Some((ballot(2), same.clone())));
            txn.set_hint(&name("a"), ballot(1), &same)?;
            txn.set_register(&name("a"), ballot(3), &value(2, "other"))?;
            assert_eq!(txn.hint(&name("a"))?, Some((ballot(1), same.clone())));
            txn.remove_register(&name("a"))
        })
        .await
        .unwrap();
    let hint = store.read(|txn| txn.hint(&name("a"))).await.unwrap();
    assert_eq!(hint, Some((ballot(1), kept)));
}

#[tokio::test]
async fn a_relaxed_disk_that_was_not_closed_comes_back_as_another_without_registers() {
    let dir = tempfile::tempdir().unwrap();
    let relaxed = || Options {
        durability: Durability::Relaxed,
        ..options(dir.path())
    };
    let store = open_as(relaxed()).unwrap();
    let disk = store.disk();
    let payload = noise(1, 100_000);
    let meta = chunk(1, 1, &payload);
    put(&store, &meta, &payload).await.unwrap();
    store
        .transact(|txn| {
            txn.set_view(&view(1, "c"))?;
            txn.set_register(&name("a"), ballot(1), &value(1, noise(1, 1000)))
        })
        .await
        .unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = open_as(relaxed()).unwrap();
    assert_eq!(store.disk(), disk, "closed properly: the same disk");
    assert_eq!(store.counts().unwrap().registers, 1);
    // A copy of the folder as a crash would leave it.
    let copy = tempfile::tempdir().unwrap();
    copy_data(dir.path(), copy.path());
    let crashed = open_as(Options {
        durability: Durability::Relaxed,
        ..options(copy.path())
    })
    .unwrap();
    assert_ne!(crashed.disk(), disk);
    assert!(crashed.view().is_none());
    assert_eq!(crashed.cluster(), Some(ClusterUid("c".into())));
    let counts = crashed.counts().unwrap();
    assert_eq!(
        (counts.registers, counts.hints, counts.chunks),
        (0, 0, 1),
        "chunks that prove whole may be reused"
    );
    assert_eq!(crashed.chunk_verify(meta.id).await.unwrap().root, meta.root);
}

#[tokio::test]
async fn promises_of_earlier_views_go_and_those_of_this_one_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (store, faults) = open_faulty(dir.path(), Arc::new(|e| panic!("{e}")));
    let promise = |epoch| Ballot {
        epoch: Epoch(epoch),
        ..ballot(1)
    };
    store
        .transact_alone(move |txn| {
            for n in 0..1500 {
                txn.set_promise(&name(&format!("n{n}")), promise(1 + n % 2))?;
            }
            txn.set_view(&view(2, "c"))
        })
        .await
        .unwrap();
    faults.set_free(Some(0));
    let mut after: Option<FileName> = None;
    for _ in 0..100 {
        let from = after.take();
        let step = store.transact_essential(move |txn| txn.forget_promises(from.as_ref()));
        after = step.await.unwrap();
        if after.is_none() {
            break;
        }
    }
    assert_eq!(store.counts().unwrap().promises, 750);
    let kept = store.transact(move |txn| txn.promise(&name("n1"))).await;
    assert_eq!(kept, Ok(promise(2)));
}
