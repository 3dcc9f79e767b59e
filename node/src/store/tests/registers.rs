//! Registers, promises, hints and views: durable, in order, all or nothing.

use super::*;
use chord_placement::Range;

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
    assert!(matches!(broken.await, Err(StoreError::Io(_))));
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
    let before = faults.syncs.load(Ordering::SeqCst);
    let puts = (0..200).map(|n| {
        store.transact(move |txn| {
            txn.set_register(&name(&format!("n{n}")), ballot(1), &value(1, "x"))
        })
    });
    futures::future::try_join_all(puts).await.unwrap();
    let syncs = faults.syncs.load(Ordering::SeqCst) - before;
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
    faults.sync.store(true, Ordering::SeqCst);
    let lost = store
        .transact(|txn| txn.set_register(&name("b"), ballot(1), &value(1, "b")))
        .await;
    assert!(matches!(lost, Err(StoreError::Io(_))), "{lost:?}");
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    faults.sync.store(false, Ordering::SeqCst);
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
    assert_eq!(meta::Source::len(&bodies, meta::T::Bodies).unwrap(), 0);
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
async fn ten_thousand_registers_are_paged_by_name_and_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut names: Vec<FileName> = (0..10_000)
        .map(|n| name(&format!("{}/{n}", ["a", "b", "ü"][n % 3])))
        .collect();
    let all = names.clone();
    store
        .transact_alone(move |txn| {
            all.iter()
                .try_for_each(|name| txn.set_register(name, ballot(1), &value(1, vec![7; 400])))
        })
        .await
        .unwrap();
    names.sort();
    let expected = names.clone();
    store
        .read(move |txn| {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = txn.list("", after.as_ref().map(FileName::as_str), 999)?;
                assert!(page.items.len() <= 999);
                assert!(
                    page.items
                        .iter()
                        .all(|l| l.current.as_ref().unwrap().size == 400)
                );
                found.extend(page.items.into_iter().map(|l| l.name));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(found, expected);
            let b: Vec<FileName> = txn
                .list("b/", None, 10_000)?
                .items
                .into_iter()
                .map(|l| l.name)
                .collect();
            let only_b: Vec<FileName> = expected
                .iter()
                .filter(|n| n.as_str().starts_with("b/"))
                .cloned()
                .collect();
            assert_eq!(b, only_b);
            let after = &only_b[100];
            assert_eq!(
                txn.registers_by_name("b/", Some(after), 1)?.items[0].name,
                only_b[101]
            );
            assert!(txn.list("zz", None, 10)?.items.is_empty());
            let behind = "b/".to_string() + &"z".repeat(2000);
            assert!(txn.list("b/", Some(&behind), 10)?.items.is_empty());
            assert!(txn.list("b/", Some("zzz"), 10)?.items.is_empty());
            Ok(())
        })
        .await
        .unwrap();

    let mut keys: Vec<(Id, FileName)> = names.iter().map(|n| (Id::of_file(n), n.clone())).collect();
    keys.sort();
    let (first, last) = (keys[100].0, keys[9_000].0);
    let max = Id([0xff; 20]);
    let zero = Id([0; 20]);
    for range in [
        Range {
            after: first,
            upto: last,
        },
        Range {
            after: last,
            upto: first,
        },
        Range {
            after: first,
            upto: first,
        },
        Range {
            after: max,
            upto: last,
        },
        Range {
            after: last,
            upto: max,
        },
        Range {
            after: max,
            upto: max,
        },
        Range {
            after: zero,
            upto: zero,
        },
    ] {
        let mut expected: Vec<(Id, FileName)> = keys
            .iter()
            .filter(|(key, _)| range.contains(key))
            .cloned()
            .collect();
        // Clockwise from where the arc begins.
        expected.sort_by_key(|(key, name)| (*key <= range.after, *key, name.clone()));
        for limit in [700, 10_000] {
            let want = expected.clone();
            store
                .read(move |txn| {
                    let (mut found, mut ballots) = (Vec::new(), Vec::new());
                    let mut after = None;
                    loop {
                        let page = txn.registers_in(&range, after.as_ref(), limit)?;
                        found.extend(page.items.into_iter().map(|r| (r.key, r.name)));
                        match page.next {
                            Some(next) => after = Some(next),
                            None => break,
                        }
                    }
                    after = None;
                    loop {
                        let page = txn.ballots_in(&range, after.as_ref(), limit)?;
                        ballots.extend(page.items.into_iter().map(|(key, name, _)| (key, name)));
                        match page.next {
                            Some(next) => after = Some(next),
                            None => break,
                        }
                    }
                    assert_eq!(found, want);
                    assert_eq!(ballots, want);
                    Ok(())
                })
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn pages_are_bounded_in_bytes_and_say_that_there_is_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store
        .transact_alone(|txn| {
            (0..200u8).try_for_each(|n| {
                txn.set_register(
                    &name(&format!("{n:03}")),
                    ballot(1),
                    &value(1, noise(n, 65_536)),
                )
            })
        })
        .await
        .unwrap();
    let pages = store.read(|txn| {
        let (mut sizes, mut after) = (Vec::new(), None);
        loop {
            let page = txn.registers_by_name("", after.as_ref(), 1000)?;
            sizes.push(page.items.len());
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(sizes),
            }
        }
    });
    let pages = pages.await.unwrap();
    assert_eq!(pages.iter().sum::<usize>(), 200);
    assert!(pages.iter().all(|n| *n < 70), "{pages:?}");
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
    let store = open(dir.path());
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
    store.pretend_room(Some(0));
    let mut after: Option<FileName> = None;
    for _ in 0..100 {
        let from = after.take();
        let step = store.transact_freeing(move |txn| txn.forget_promises(from.as_ref()));
        after = step.await.unwrap();
        if after.is_none() {
            break;
        }
    }
    assert_eq!(store.counts().unwrap().promises, 750);
    let kept = store.transact(move |txn| txn.promise(&name("n1"))).await;
    assert_eq!(kept, Ok(promise(2)));
}
