//! Registers page by page, by name and by key.

use super::*;
use chord_placement::Range;

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
