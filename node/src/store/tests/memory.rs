//! The store on a file system in memory and without threads: it needs nothing else
//! of the machine, and the account shows in which order things became durable.

use super::*;
use crate::store::platform::memory::{Change, MemoryFiles};
use futures::TryStreamExt;

fn open_in(memory: &MemoryFiles) -> Store {
    let options = options(Path::new("/"));
    Store::open_on(memory.platform(), options, Arc::new(|e| panic!("{e}"))).unwrap()
}

async fn keep(store: &Store, bytes: &[u8]) -> DroppedId {
    let mut writer = store.dropped_writer(name("d"), None, vec![], None).unwrap();
    writer.write(bytes.to_vec().into()).await.unwrap();
    writer.finish().await.unwrap()
}

#[tokio::test]
async fn all_of_it_works_and_is_there_when_it_is_opened_again() {
    let memory = MemoryFiles::new(1 << 30);
    let store = open_in(&memory);
    let disk = store.disk();
    let payload = noise(1, 300_000);
    let meta = chunk(1, 1, &payload);
    put(&store, &meta, &payload).await.unwrap();
    let gone = chunk(2, 1, &payload);
    put(&store, &gone, &payload).await.unwrap();
    assert!(store.chunk_remove(gone.id).await.unwrap());
    let dropped = keep(&store, &payload).await;
    store
        .transact(|txn| {
            txn.set_view(&view(1, "c"))?;
            txn.set_register(&name("a"), ballot(1), &value(1, noise(2, 9000)))
        })
        .await
        .unwrap();
    let busy = Store::open_on(
        memory.platform(),
        options(Path::new("/")),
        Arc::new(|e| panic!("{e}")),
    );
    assert!(matches!(busy, Err(OpenError::Busy { .. })));
    store.close().await.unwrap();
    drop(store);

    let store = open_in(&memory);
    assert_eq!((store.disk(), store.boot()), (disk, 2));
    assert_eq!(store.view().as_deref(), Some(&view(1, "c")));
    let read = store.read(|txn| txn.register(&name("a"))).await.unwrap();
    assert_eq!(read, Some((ballot(1), value(1, noise(2, 9000)))));
    let counts = store.counts().unwrap();
    assert_eq!((counts.chunks, counts.dropped, counts.missing), (1, 1, 0));
    assert_eq!(store.chunk_verify(meta.id).await.unwrap(), meta);
    assert_eq!(store.chunk_read(meta.id, 0..5).await.unwrap().data, payload);
    let (_, bytes) = store.dropped_open(dropped).await.unwrap().unwrap();
    let bytes: Vec<Bytes> = bytes.try_collect().await.unwrap();
    assert_eq!(bytes.concat(), payload);
    assert!(
        !Path::new("/data").exists(),
        "nothing of it is on a real disk"
    );
}

#[tokio::test]
async fn bytes_are_durable_before_their_name_and_the_name_before_the_index() {
    let memory = MemoryFiles::new(1 << 30);
    let store = open_in(&memory);
    memory.changes();
    let payload = noise(1, 300_000);
    let meta = chunk(1, 1, &payload);
    put(&store, &meta, &payload).await.unwrap();
    let place = file_of(&store, meta.id);
    let folder = place.parent().unwrap().to_path_buf();
    let changes = memory.changes();
    let at = |wanted: &dyn Fn(&Change) -> bool| changes.iter().position(wanted).unwrap();
    let last = |wanted: &dyn Fn(&Change) -> bool| changes.iter().rposition(wanted).unwrap();
    let tmp = Path::new("/data/tmp/0");
    let index = Path::new("/data/meta.redb");
    let steps = [
        last(&|change| matches!(change, Change::Write(path, ..) if path == tmp)),
        at(&|change| *change == Change::SyncData(tmp.into())),
        at(&|change| *change == Change::Rename(tmp.into(), place.clone())),
        at(&|change| *change == Change::SyncFolder(folder.clone())),
        at(&|change| matches!(change, Change::Write(path, ..) if path == index)),
        last(&|change| *change == Change::SyncData(index.into())),
    ];
    assert!(steps.is_sorted(), "{steps:?}");
    assert_eq!(steps[5] + 1, changes.len(), "and then it is answered");
    let made = at(&|change| *change == Change::MakeFolder(folder.clone()));
    let known = at(&|change| *change == Change::SyncFolder("/data/chunks".into()));
    assert!(made < known && known < steps[2], "the new folder stays too");

    // The other way round when it goes: no entry speaks of a file that may be gone
    // and counts it as here, but what is not indexed any more does no harm either.
    store.chunk_remove(meta.id).await.unwrap();
    let changes = memory.changes();
    let at = |wanted: &dyn Fn(&Change) -> bool| changes.iter().position(wanted).unwrap();
    let steps = [
        at(&|change| *change == Change::Remove(place.clone())),
        at(&|change| *change == Change::SyncFolder(folder.clone())),
        at(&|change| matches!(change, Change::Write(path, ..) if path == index)),
    ];
    assert!(steps.is_sorted(), "{steps:?}");
}

#[test]
fn the_same_calls_do_the_same_to_the_disk() {
    let run = async || {
        let memory = MemoryFiles::new(1 << 30);
        let store = open_in(&memory);
        let payload = noise(1, 300_000);
        for part in 0..5 {
            let meta = chunk(1, part, &payload);
            put(&store, &meta, &payload).await.unwrap();
        }
        let sets = (0..200).map(|n| {
            let body = noise(n as u8, 3000);
            store.transact(move |txn| {
                txn.set_register(&name(&format!("n{n}")), ballot(n), &value(n, body))
            })
        });
        futures::future::try_join_all(sets).await.unwrap();
        store.close().await.unwrap();
        memory.changes()
    };
    // A runtime each: how often tokio makes its tasks pause depends on what went before.
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let (one, other) = (runtime().block_on(run()), runtime().block_on(run()));
    let differ = one.iter().zip(&other).position(|(a, b)| a != b);
    let differ = differ.map(|at| (at, &one[at], &other[at]));
    assert_eq!(differ, None);
    assert_eq!(one.len(), other.len());
}

#[tokio::test]
async fn a_full_file_system_refuses_and_the_disk_lives() {
    let memory = MemoryFiles::new(24 << 20);
    let store = open_in(&memory);
    let payload = noise(1, 1 << 20);
    let mut stored = 0u32;
    let full = loop {
        match put(&store, &chunk(1, stored, &payload), &payload).await {
            Ok(()) => stored += 1,
            Err(e) => break e,
        }
    };
    assert!(
        matches!(full, ChunkError::Store(StoreError::Full(_))),
        "{full:?}"
    );
    assert!((10..24).contains(&stored), "{stored}");
    // Registers go on until nothing at all is left, and then what is there stays.
    let mut accepted = 0u64;
    let full = loop {
        let body = noise(2, 60_000);
        let n = accepted;
        let set = store.transact(move |txn| {
            txn.set_register(&name(&format!("n{n}")), ballot(n), &value(n, body))
        });
        match set.await {
            Ok(()) => accepted += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(full, StoreError::Full(_)), "{full:?}");
    assert_eq!(store.failure(), None);
    assert_eq!(store.counts().unwrap().registers, accepted);
    for part in 0..8 {
        assert!(store.chunk_remove(chunk(1, part, &[]).id).await.unwrap());
    }
    put(&store, &chunk(2, 0, &payload), &payload).await.unwrap();
    drop(store);
    let counts = open_in(&memory).counts().unwrap();
    assert_eq!((counts.registers, counts.missing), (accepted, 0));
}

#[tokio::test]
async fn those_who_ask_at_once_share_a_commit_without_threads_too() {
    let memory = MemoryFiles::new(1 << 30);
    let store = open_in(&memory);
    memory.changes();
    let sets = (0..100).map(|n| {
        store.transact(move |txn| {
            txn.set_register(&name(&format!("n{n}")), ballot(1), &value(1, "x"))
        })
    });
    futures::future::try_join_all(sets).await.unwrap();
    let syncs = memory.changes().into_iter();
    let syncs = syncs.filter(|change| matches!(change, Change::SyncData(_)));
    assert!(syncs.count() < 10);
    assert_eq!(store.counts().unwrap().registers, 100);
}

#[tokio::test]
async fn the_last_handle_may_go_within_a_closure() {
    let memory = MemoryFiles::new(1 << 30);
    let store = open_in(&memory);
    let held = store.clone();
    let set = store.transact(move |txn| {
        txn.set_register(&name("a"), ballot(1), &value(1, "x"))?;
        drop(held);
        Ok(())
    });
    set.await.unwrap();
    drop(store);
    assert_eq!(open_in(&memory).counts().unwrap().registers, 1);
}
