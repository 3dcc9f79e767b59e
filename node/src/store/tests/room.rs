//! A file system that others have filled: what goes on, what is refused, and that the
//! disk opens. In memory, where the last byte is the last byte.

use super::*;
use crate::store::platform::memory::MemoryFiles;

const TOTAL: u64 = 512 << 20;
/// Registers that are there before it is full.
const NAMES: u64 = 300;

fn try_open(memory: &MemoryFiles) -> Result<Store, OpenError> {
    let options = options(Path::new("/"));
    // That a write within the database fails is never to happen in these tests.
    Store::open_on(memory.platform(), options, Arc::new(|e| panic!("{e}")))
}

fn file_name(n: u64) -> FileName {
    name(&format!("n{n}"))
}

/// A disk with some files, on a file system of which nothing is left.
async fn full() -> (MemoryFiles, Store) {
    let memory = MemoryFiles::new(TOTAL);
    let store = try_open(&memory).unwrap();
    let sets = (0..NAMES).map(|n| {
        let body = noise(n as u8, 3000);
        store.transact(move |txn| {
            txn.set_promise(&file_name(n), ballot(n))?;
            txn.set_register(&file_name(n), ballot(n), &value(n, body))
        })
    });
    futures::future::try_join_all(sets).await.unwrap();
    let payload = noise(1, 300_000);
    for part in 0..8 {
        put(&store, &chunk(1, part, &payload), &payload)
            .await
            .unwrap();
    }
    assert!(store.refill().await.unwrap());
    memory.others_leave(0);
    memory.changes();
    (memory, store)
}

/// What a disk does of a DELETE: a promise, and a vote for the tombstone.
async fn delete(store: &Store, n: u64) -> Result<(), StoreError> {
    let promised =
        store.transact_essential(move |txn| txn.set_promise(&file_name(n), ballot(n + 1_000_000)));
    promised.await?;
    let mut tombstone = Value::default();
    (tombstone.seq, tombstone.version) = (n + 1, n + 1);
    let voted = store.transact_essential(move |txn| {
        txn.set_promise(&file_name(n), ballot(n + 1_000_000))?;
        txn.set_register(&file_name(n), ballot(n + 1_000_000), &tombstone)
    });
    voted.await
}

async fn store_one(store: &Store, n: u64) -> Result<(), StoreError> {
    let set = store
        .transact(move |txn| txn.set_register(&file_name(n), ballot(n), &value(n, noise(1, 3000))));
    set.await
}

fn is_full<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Full(_)))
}

#[tokio::test]
async fn deletes_go_on_when_others_have_taken_everything_and_nothing_new_comes_in() {
    let (memory, store) = full().await;
    for n in 0..NAMES {
        delete(&store, n).await.unwrap();
        // Whatever becomes free is gone at once.
        memory.others_leave(0);
        memory.changes();
    }
    assert!(is_full(store_one(&store, NAMES).await));
    let payload = noise(2, 300_000);
    let put = put(&store, &chunk(2, 0, &payload), &payload).await;
    assert!(
        matches!(put, Err(ChunkError::Store(StoreError::Full(_)))),
        "{put:?}"
    );
    let counts = store.counts().unwrap();
    assert_eq!((counts.registers, counts.chunks), (NAMES, 8));
    for part in 0..8 {
        assert!(store.chunk_remove(chunk(1, part, &[]).id).await.unwrap());
    }
    assert!(
        store.refill().await.unwrap(),
        "what was deleted is room again"
    );
    store_one(&store, NAMES).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_opens_again_and_again() {
    let (mut memory, mut store) = full().await;
    let disk = store.disk();
    for round in 0..20 {
        if round % 2 == 0 {
            // As after kill -9, in the middle of everything.
            memory = memory.copy();
        } else {
            store.close().await.unwrap();
        }
        drop(store);
        memory.others_leave(0);
        memory.changes();
        store = try_open(&memory).unwrap();
        assert_eq!(store.disk(), disk);
        delete(&store, round).await.unwrap();
        memory.others_leave(0);
        assert!(is_full(store_one(&store, NAMES).await));
    }
    assert_eq!(store.counts().unwrap().registers, NAMES);
}

#[tokio::test]
async fn the_ballast_pays_for_thousands_of_votes_and_then_they_are_refused() {
    let (memory, store) = full().await;
    // Each of another name: what is written stays.
    let mut votes = 0;
    let refused = loop {
        let n = NAMES + votes;
        match delete(&store, n).await {
            Ok(()) => votes += 1,
            Err(e) => break e,
        }
        memory.others_leave(0);
        memory.changes();
    };
    assert!(matches!(refused, StoreError::Full(_)), "{refused}");
    assert_eq!(store.failure(), None);
    // What the docs promise of a ballast of full size.
    assert!(votes > 7_000, "{votes}");
    // The part for starts is there still.
    for _ in 0..5 {
        let memory = memory.copy();
        memory.others_leave(0);
        assert_eq!(try_open(&memory).unwrap().disk(), store.disk());
    }
    memory.others_go();
    delete(&store, 0).await.unwrap();
    store_one(&store, 0).await.unwrap();
    assert!(store.refill().await.unwrap());
}

#[tokio::test]
async fn whoever_is_faster_with_what_is_given_back_does_not_end_the_process() {
    let (memory, store) = full().await;
    memory.set_greedy(20);
    for n in 0..NAMES {
        delete(&store, n).await.unwrap();
        memory.others_leave(0);
        memory.changes();
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_commit_that_finds_its_room_gone_leaves_enough_to_start_and_to_delete() {
    let (memory, store) = full().await;
    store.close().await.unwrap();
    drop(store);
    memory.others_go();
    let ended = Arc::new(AtomicUsize::default());
    let end = ended.clone();
    let fatal: Fatal = Arc::new(move |_| {
        end.fetch_add(1, Ordering::SeqCst);
    });
    let store = Store::open_on(memory.platform(), options(Path::new("/")), fatal).unwrap();
    memory.others_leave(30 << 20);
    let others = memory.clone();
    let set = store.transact(move |txn| {
        for n in 0..80 {
            let n = NAMES + n;
            txn.set_register(&file_name(n), ballot(n), &value(n, noise(1, 60_000)))?;
        }
        // There was room when it began.
        others.others_leave(0);
        Ok(())
    });
    assert!(is_full(set.await));
    assert_eq!(
        ended.load(Ordering::SeqCst),
        1,
        "the database takes nothing more"
    );
    // As the process ends there, and another one starts.
    let memory = memory.copy();
    memory.others_leave(0);
    let store = try_open(&memory).unwrap();
    assert_eq!(store.counts().unwrap().registers, NAMES);
    for n in 0..NAMES {
        delete(&store, n).await.unwrap();
        memory.others_leave(0);
    }
    assert!(is_full(store_one(&store, NAMES).await));
}

#[tokio::test]
async fn a_quota_that_the_file_system_does_not_tell_of_is_no_room_either() {
    let (memory, store) = full().await;
    memory.others_go();
    memory.set_quota(0);
    // It is found out by what is tried: then nothing new comes in, and deletes go on.
    let mut came = 0;
    while !is_full(store_one(&store, NAMES + came).await) {
        came += 1;
        assert!(came < 1000, "it goes on and on");
    }
    for n in 0..NAMES {
        delete(&store, n).await.unwrap();
    }
    let copy = memory.copy();
    drop(try_open(&copy).unwrap());
    memory.others_go();
    store_one(&store, NAMES + came).await.unwrap();
}

#[tokio::test]
async fn the_figures_are_the_same_with_and_without_the_ballast() {
    let memory = MemoryFiles::new(TOTAL);
    let store = try_open(&memory).unwrap();
    store_one(&store, 0).await.unwrap();
    let space = store.space();
    let reserve = TOTAL / 100 * 10;
    assert_eq!(space.capacity, TOTAL);
    assert_eq!(space.used + space.available + reserve, TOTAL);
    memory.others_leave(0);
    assert_eq!(store.space().available, 0);
    assert_eq!(
        store.space().used,
        space.used,
        "what others have is not ours"
    );
}

#[test]
fn a_new_disk_is_refused_before_anything_is_made_where_there_is_no_room() {
    let memory = MemoryFiles::new(TOTAL);
    memory.others_leave(100 << 10);
    let Err(refused) = try_open(&memory) else {
        panic!("it opened");
    };
    let said = refused.to_string();
    assert!(matches!(refused, OpenError::Full { .. }), "{said}");
    assert!(
        said.contains("/data") && said.contains("6 MiB") && said.contains("100 KiB"),
        "{said}"
    );
    assert_eq!(memory.changes(), [], "nothing was made");
    memory.others_go();
    drop(try_open(&memory).unwrap());
}

#[test]
fn what_a_new_disk_is_said_to_need_is_enough() {
    let memory = MemoryFiles::new(TOTAL);
    memory.others_leave(6 << 20);
    let store = try_open(&memory).unwrap();
    assert!(store.space().used < 1 << 20, "{:?}", store.space());
    drop(store);
    memory.others_leave(0);
    drop(try_open(&memory).unwrap());
}

#[test]
fn a_database_whose_making_was_cut_short_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let tmp = dir.path().join("data/tmp");
    std::fs::create_dir_all(&tmp).unwrap();
    std::fs::write(tmp.join("meta.redb"), vec![0; 100_000]).unwrap();
    let store = open(dir.path());
    assert_eq!(store.boot(), 1);
    drop(store);
    assert!(!tmp.join("meta.redb").exists());
}

#[tokio::test]
async fn a_database_that_cannot_be_looked_at_is_not_taken_for_a_new_disk() {
    let dir = tempfile::tempdir().unwrap();
    let fatal = || -> Fatal { Arc::new(|e| panic!("{e}")) };
    let (store, faults) = open_faulty(dir.path(), fatal());
    store_one(&store, 0).await.unwrap();
    let disk = store.disk();
    drop(store);
    faults.set_unseen(Some("meta.redb".into()));
    let opened = Store::open_on(faults.platform(), options(dir.path()), fatal());
    assert!(matches!(opened, Err(OpenError::Io { .. })));
    faults.set_unseen(None);
    let store = open(dir.path());
    assert_eq!(store.disk(), disk);
    assert_eq!(store.counts().unwrap().registers, 1);
}
