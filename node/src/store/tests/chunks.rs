//! Chunks: whole or not at all, and never believed unseen.

use std::os::unix::fs::MetadataExt;

use super::*;

#[tokio::test]
async fn a_chunk_comes_back_whole_and_in_any_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (seed, len) in [(1, 0), (2, 1), (3, 65_536), (4, 65_537), (5, 4 << 20)] {
        let payload = noise(seed, len);
        let meta = chunk(seed, 7, &payload);
        assert_eq!(store.chunk_has(meta.id).await.unwrap(), None);
        put(&store, &meta, &payload).await.unwrap();
        assert_eq!(store.chunk_has(meta.id).await.unwrap(), Some(meta.clone()));
        assert_eq!(store.chunk_verify(meta.id).await.unwrap(), meta);
        let all = store.chunk_read(meta.id, 0..meta.blocks()).await.unwrap();
        assert_eq!(all.data, payload);
        assert_eq!(all.hashes, Root::of(&payload).1);
        let beyond = store.chunk_read(meta.id, 0..meta.blocks() + 1).await;
        assert!(matches!(beyond, Err(ChunkError::OutOfRange(_))));
    }
    let some = store.chunk_read(chunk(5, 7, &[]).id, 3..5).await.unwrap();
    assert_eq!(some.data, noise(5, 4 << 20)[3 * 65_536..5 * 65_536]);
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.counts().unwrap().chunks, 5);
    let again = store.chunk_read(chunk(5, 7, &[]).id, 0..64).await.unwrap();
    assert_eq!(again.data, noise(5, 4 << 20));
}

#[tokio::test]
async fn what_was_not_announced_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let used = store.space().used;
    let before = tree(&dir.path().join("data/chunks"));
    let payload = noise(1, 300_000);
    let meta = chunk(1, 1, &payload);
    let mut wrong = payload.clone();
    wrong[299_999] ^= 1;
    let result = put(&store, &meta, &wrong).await;
    assert!(matches!(result, Err(ChunkError::Mismatch(_))), "{result:?}");
    let result = put(&store, &meta, &payload[..299_999]).await;
    assert!(matches!(result, Err(ChunkError::Mismatch(_))), "{result:?}");
    let mut long = payload.clone();
    long.push(0);
    let result = put(&store, &meta, &long).await;
    assert!(matches!(result, Err(ChunkError::Mismatch(_))), "{result:?}");
    // One that is given up in the middle.
    let mut writer = store.chunk_writer(meta.clone(), Tier::Moves).unwrap();
    writer
        .write(Bytes::from(payload[..290_000].to_vec()))
        .await
        .unwrap();
    drop(writer);
    assert_eq!(store.chunk_has(meta.id).await.unwrap(), None);
    assert_eq!(store.counts().unwrap().chunks, 0);
    assert_eq!(tree(&dir.path().join("data/chunks")), before);
    // The blocking half of the last one may still be at its end.
    while !tree(&dir.path().join("data/tmp")).is_empty() || store.space().available < 1 {
        tokio::task::yield_now().await;
    }
    put(&store, &meta, &payload).await.unwrap();
    assert!(store.space().used >= used + 300_000);
}

#[tokio::test]
async fn writing_a_chunk_twice_is_one_chunk_and_another_under_its_id_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let payload = noise(1, 200_000);
    let meta = ChunkMeta {
        committed: true,
        ..chunk(1, 1, &payload)
    };
    put(&store, &meta, &payload).await.unwrap();
    let files = tree(&dir.path().join("data/chunks"));
    let used = files.values().sum::<u64>();
    put(
        &store,
        &ChunkMeta {
            committed: false,
            ..meta.clone()
        },
        &payload,
    )
    .await
    .unwrap();
    assert_eq!(tree(&dir.path().join("data/chunks")), files);
    assert!(
        store.chunk_has(meta.id).await.unwrap().unwrap().committed,
        "what is known stays known"
    );
    let other = noise(2, 200_000);
    let clash = ChunkMeta {
        id: meta.id,
        ..chunk(2, 1, &other)
    };
    assert_eq!(put(&store, &clash, &other).await, Err(ChunkError::Conflict));
    assert_eq!(store.chunk_read(meta.id, 0..4).await.unwrap().data, payload);
    assert_eq!(store.counts().unwrap().chunks, 1);
    // Without the database, whose file may grow by what a removal writes.
    let database = dir.path().join("data/meta.redb");
    let counted = || store.space().used - std::fs::metadata(&database).unwrap().blocks() * 512;
    let before = counted();
    assert!(store.chunk_remove(meta.id).await.unwrap());
    assert_eq!(
        before - counted(),
        engine::space::allocated(used),
        "it is counted once"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_write_at_once_also_the_same_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut tasks = Vec::new();
    for n in 0..48u8 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            // Four writers for each chunk.
            let payload = noise(n % 12, 700_000);
            put(&store, &chunk(n % 12, 1, &payload), &payload).await
        }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(store.counts().unwrap().chunks, 12);
    for n in 0..12 {
        store.chunk_verify(chunk(n, 1, &[]).id).await.unwrap();
    }
    assert!(tree(&dir.path().join("data/tmp")).is_empty());
    let space = store.space();
    drop(store);
    let counted = open(dir.path()).shared().space.space().used;
    assert!(
        counted.abs_diff(space.used) < 1 << 20,
        "counting as one goes and anew agree"
    );
}

#[tokio::test]
async fn removing_gives_the_room_back_and_is_repeatable() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let payload = noise(1, 5 << 20);
    let meta = chunk(1, 1, &payload);
    put(&store, &meta, &payload).await.unwrap();
    let used = store.space().used;
    assert!(store.chunk_remove(meta.id).await.unwrap());
    assert!(!store.chunk_remove(meta.id).await.unwrap());
    assert!(store.space().used + (4 << 20) < used);
    assert_eq!(store.chunk_has(meta.id).await.unwrap(), None);
    assert_eq!(
        store.chunk_read(meta.id, 0..1).await,
        Err(ChunkError::Missing)
    );
    assert_eq!(store.counts().unwrap(), Counts::default());
    drop(store);
    assert_eq!(open(dir.path()).counts().unwrap(), Counts::default());
}

#[tokio::test]
async fn a_small_disk_stops_clients_then_moves_and_never_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_as(Options {
        capacity: Some(64 << 20),
        ..options(dir.path())
    })
    .unwrap();
    let space = store.space();
    assert_eq!(space.capacity, 64 << 20);
    assert!(space.used < 2 << 20, "an empty disk takes {}", space.used);
    let payload = noise(1, 1 << 20);
    let mut clients = 0;
    let full = loop {
        match put(&store, &chunk(1, clients + 1, &payload), &payload).await {
            Ok(()) => clients += 1,
            Err(e) => break e,
        }
    };
    assert!(
        matches!(full, ChunkError::Store(StoreError::Full(_))),
        "{full:?}"
    );
    assert!((52..=57).contains(&clients), "{clients} MiB of 64");
    assert!(store.space().available < 2 << 20);
    let mut moves = 0;
    let part = clients + 1;
    while let Ok(mut writer) = store.chunk_writer(chunk(1, part + moves, &payload), Tier::Moves) {
        writer.write(payload.clone().into()).await.unwrap();
        writer.finish().await.unwrap();
        moves += 1;
    }
    assert!((2..=4).contains(&moves), "{moves}");
    store.admit(1 << 30, Tier::Internal).unwrap();
    store
        .transact(|txn| txn.set_promise(&name("x"), ballot(1)))
        .await
        .unwrap();
    for part in 1..=10 {
        assert!(store.chunk_remove(chunk(1, part, &[]).id).await.unwrap());
    }
    put(&store, &chunk(2, 1, &payload), &payload).await.unwrap();
}
