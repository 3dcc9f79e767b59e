//! Commits: in groups and in order, all or nothing, durable before the answer.

use super::*;

#[tokio::test]
async fn a_closure_that_gives_up_leaves_nothing_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store
        .transact(|txn| txn.set_register(&name("a"), ballot(1), &value(1, noise(1, 3000))))
        .await
        .unwrap();
    // All in one group: they queue up while the first one sleeps.
    let gate = Arc::new(std::sync::Barrier::new(2));
    let held = gate.clone();
    let first = store.transact(move |txn| {
        held.wait();
        txn.set_register(&name("b"), ballot(1), &value(1, "b"))
    });
    let bad = store.transact(|txn| {
        txn.set_register(&name("a"), ballot(2), &value(2, noise(2, 70_000)))?;
        txn.set_register(&name("c"), ballot(2), &value(2, "c"))?;
        txn.set_promise(&name("a"), ballot(7))?;
        txn.set_view(&view(1, "c"))?;
        txn.move_to_hints(|_| true)?;
        txn.remove_hint(&name("a"))?;
        txn.forget_promises(None)?;
        Err::<(), _>(StoreError::Refused("no".into()))
    });
    let last = store.transact(|txn| {
        assert!(txn.view().is_none());
        assert_eq!(
            txn.register(&name("a"))?,
            Some((ballot(1), value(1, noise(1, 3000))))
        );
        assert!(
            txn.register(&name("b"))?.is_some(),
            "it sees what came before it"
        );
        assert_eq!(txn.counts()?.registers, 2);
        txn.set_register(&name("d"), ballot(1), &value(1, "d"))
    });
    let open_gate = tokio::task::spawn_blocking(move || gate.wait());
    let (first, bad, last, _) = tokio::join!(first, bad, last, open_gate);
    first.unwrap();
    last.unwrap();
    assert_eq!(bad, Err(StoreError::Refused("no".into())));
    drop(store);
    let store = open(dir.path());
    assert!(store.view().is_none());
    let counts = store.counts().unwrap();
    assert_eq!((counts.registers, counts.hints, counts.promises), (3, 0, 0));
    let a = store.read(|txn| txn.register(&name("a"))).await.unwrap();
    assert_eq!(a, Some((ballot(1), value(1, noise(1, 3000)))));
}

#[tokio::test]
async fn alone_is_all_or_nothing_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let failed = store.transact_alone(|txn| {
        txn.set_register(&name("a"), ballot(1), &value(1, "a"))?;
        txn.set_view(&view(1, "c"))?;
        Err::<(), _>(StoreError::Refused("no".into()))
    });
    failed.await.unwrap_err();
    assert!(store.view().is_none() && store.cluster().is_none());
    assert_eq!(store.counts().unwrap().registers, 0);
    store
        .transact_alone(|txn| txn.set_view(&view(1, "c")))
        .await
        .unwrap();
    assert!(store.view().is_some());
}

#[tokio::test]
async fn closures_run_in_the_order_in_which_they_came() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for round in 0..6u64 {
        // Few enough that each is handed over when it is first polled.
        let adds = (1..=50).map(|n| {
            let n = round * 50 + n;
            store.transact(move |txn| {
                let before = txn.register(&name("n"))?.map_or(0, |(b, _)| b.counter);
                txn.set_register(&name("n"), ballot(n), &value(n, ""))?;
                Ok(before)
            })
        });
        let befores: Vec<u64> = futures::future::try_join_all(adds).await.unwrap();
        assert_eq!(befores, (round * 50..round * 50 + 50).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_closure_that_panics_is_an_error_and_the_store_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let broken = store.transact(|txn| {
        txn.set_register(&name("a"), ballot(1), &value(1, "a"))?;
        if txn.counts()?.registers == 1 {
            panic!("on purpose");
        }
        Ok(())
    });
    assert!(matches!(broken.await, Err(StoreError::Internal(_))));
    store
        .transact(|txn| txn.set_register(&name("b"), ballot(1), &value(1, "b")))
        .await
        .unwrap();
    drop(store);
    assert_eq!(open(dir.path()).counts().unwrap().registers, 1);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let payload = noise(1, 100_000);
    for n in 0..5u64 {
        store
            .transact(move |txn| {
                txn.set_register(
                    &name(&format!("n{n}")),
                    ballot(n),
                    &value(n, noise(1, 9000)),
                )
            })
            .await
            .unwrap();
        put(&store, &chunk(n as u8, 1, &payload), &payload)
            .await
            .unwrap();
        // The folder as it is now, with nothing closed.
        let copy = tempfile::tempdir().unwrap();
        copy_data(dir.path(), copy.path());
        let crashed = open(copy.path());
        assert_eq!((crashed.disk(), crashed.boot()), (store.disk(), 2));
        let counts = crashed.counts().unwrap();
        assert_eq!(
            (counts.registers, counts.chunks, counts.missing),
            (n + 1, n + 1, 0)
        );
        crashed
            .chunk_verify(chunk(n as u8, 1, &payload).id)
            .await
            .unwrap();
        let last = crashed
            .read(move |txn| txn.register(&name(&format!("n{n}"))))
            .await
            .unwrap();
        assert_eq!(last, Some((ballot(n), value(n, noise(1, 9000)))));
    }
}

#[tokio::test]
async fn many_closures_share_few_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (store, faults) = open_faulty(dir.path(), Arc::new(|e| panic!("{e}")));
    let before = faults.syncs();
    let puts = (0..200).map(|n| {
        store.transact(move |txn| {
            txn.set_register(&name(&format!("n{n}")), ballot(1), &value(1, "x"))
        })
    });
    futures::future::try_join_all(puts).await.unwrap();
    let syncs = faults.syncs() - before;
    assert!(syncs < 100, "{syncs} syncs for 200 closures");
    assert_eq!(store.counts().unwrap().registers, 200);
}

#[tokio::test]
async fn nobody_is_answered_when_the_commit_fails_and_the_process_would_end() {
    let dir = tempfile::tempdir().unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let (store, faults) = open_faulty(
        dir.path(),
        Arc::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        }),
    );
    store
        .transact(|txn| txn.set_register(&name("a"), ballot(1), &value(1, "a")))
        .await
        .unwrap();
    faults.set_syncs_fail(true);
    let lost = store
        .transact(|txn| txn.set_register(&name("b"), ballot(1), &value(1, "b")))
        .await;
    assert!(matches!(lost, Err(StoreError::Io(_))), "{lost:?}");
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    faults.set_syncs_fail(false);
    assert!(
        store.transact(|txn| txn.counts()).await.is_err(),
        "it takes nothing any more"
    );
    assert!(store.read(|txn| txn.counts()).await.is_err());
    drop(store);
    let store = open(dir.path());
    assert!(
        store
            .read(|txn| txn.register(&name("a")))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_closed_disk_answers_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.close().await.unwrap();
    assert_eq!(
        store.transact(|txn| txn.counts()).await,
        Err(StoreError::Closed)
    );
    assert_eq!(
        store.read(|txn| txn.counts()).await,
        Err(StoreError::Closed)
    );
    assert_eq!(store.close().await, Err(StoreError::Closed));
}
