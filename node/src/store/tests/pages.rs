//! Registers page by page, by name and by key.

use super::*;
use chord_placement::Range;

/// A store with ten thousand registers, and their names in order.
async fn ten_thousand(dir: &Path) -> (Store, Vec<FileName>) {
    let store = open(dir);
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
    (store, names)
}

/// All items, page after page; no page has more than `limit`.
fn paged<T, C>(
    limit: usize,
    mut page: impl FnMut(Option<&C>) -> Result<Page<T, C>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = page(after.as_ref())?;
        assert!(page.items.len() <= limit);
        found.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}

#[tokio::test]
async fn ten_thousand_registers_are_paged_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (store, expected) = ten_thousand(dir.path()).await;
    store
        .read(move |txn| {
            let found = paged(999, |after: Option<&FileName>| {
                txn.list("", after.map(FileName::as_str), 999)
            })?;
            let size = |listed: &Listed| listed.current.as_ref().unwrap().size;
            assert!(found.iter().all(|listed| size(listed) == 400));
            assert!(found.iter().map(|listed| &listed.name).eq(&expected));
            let b = txn.list("b/", None, 10_000)?.items;
            let only_b: Vec<&FileName> = expected
                .iter()
                .filter(|n| n.as_str().starts_with("b/"))
                .collect();
            assert!(b.iter().map(|listed| &listed.name).eq(only_b.clone()));
            let after = only_b[100];
            assert_eq!(
                &txn.registers_by_name("b/", Some(after), 1)?.items[0].name,
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
}

#[tokio::test]
async fn ten_thousand_registers_are_paged_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let (store, names) = ten_thousand(dir.path()).await;
    let mut keys: Vec<(Id, FileName)> = names.iter().map(|n| (Id::of_file(n), n.clone())).collect();
    keys.sort();
    let (first, last) = (keys[100].0, keys[9_000].0);
    let (zero, max) = (Id([0; 20]), Id([0xff; 20]));
    for (after, upto) in [
        (first, last),
        (last, first),
        (first, first),
        (max, last),
        (last, max),
        (max, max),
        (zero, zero),
    ] {
        let range = Range { after, upto };
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
                    let registers = paged(limit, |after| txn.registers_in(&range, after, limit))?;
                    let ballots = paged(limit, |after| txn.ballots_in(&range, after, limit))?;
                    let registers = registers.into_iter().map(|r| (r.key, r.name));
                    assert!(registers.eq(want.iter().cloned()), "{range:?} by {limit}");
                    let ballots = ballots.into_iter().map(|(key, name, _)| (key, name));
                    assert!(ballots.eq(want), "{range:?} by {limit}");
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
