//! What a crash, a careless person or a rotting disk leaves behind.

use super::meta::seal::seal_bytes;
use super::meta::source::Source;
use super::meta::table::T;
use super::*;
use redb::Database;
use std::os::unix::fs::FileExt;

/// Turns one bit round.
fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

async fn missing(store: &Store) -> Vec<ChunkId> {
    store
        .chunks_missing(None, 100)
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|m| m.id)
        .collect()
}

#[tokio::test]
async fn what_a_crash_leaves_is_swept_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let payload = noise(1, 100_000);
    let (kept, lost) = (chunk(1, 1, &payload), chunk(2, 1, &payload));
    put(&store, &kept, &payload).await.unwrap();
    put(&store, &lost, &payload).await.unwrap();
    let stray = file_of(&store, chunk(1, 2, &[]).id);
    std::fs::copy(file_of(&store, kept.id), &stray).unwrap();
    std::fs::remove_file(file_of(&store, lost.id)).unwrap();
    drop(store);
    let data = dir.path().join("data");
    std::fs::write(data.join("tmp/0"), b"torn").unwrap();
    std::fs::write(data.join("dropped/0000000100000009"), b"torn").unwrap();
    let foreign = data.join("chunks/01/README");
    std::fs::write(&foreign, b"not ours").unwrap();

    let store = open(dir.path());
    assert!(tree(&data.join("tmp")).is_empty());
    assert!(tree(&data.join("dropped")).is_empty());
    assert!(!stray.exists(), "never acknowledged");
    assert!(foreign.exists(), "not ours to delete");
    assert_eq!(store.chunk_has(kept.id).await.unwrap(), Some(kept));
    assert_eq!(store.chunk_has(lost.id).await.unwrap(), None);
    assert_eq!(missing(&store).await, [lost.id]);
    assert_eq!(
        (
            store.counts().unwrap().chunks,
            store.counts().unwrap().missing
        ),
        (1, 1)
    );
    // Fetched again it is no longer missing.
    put(&store, &lost, &payload).await.unwrap();
    assert!(missing(&store).await.is_empty());
    assert_eq!(store.chunk_read(lost.id, 0..2).await.unwrap().data, payload);
}

#[tokio::test]
async fn a_chunk_deleted_behind_our_back_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let payload = noise(1, 100_000);
    let metas: Vec<_> = (1..=3).map(|part| chunk(1, part, &payload)).collect();
    for meta in &metas {
        put(&store, meta, &payload).await.unwrap();
        std::fs::remove_file(file_of(&store, meta.id)).unwrap();
    }
    assert_eq!(store.chunk_has(metas[0].id).await.unwrap(), None);
    assert_eq!(
        store.chunk_read(metas[1].id, 0..1).await,
        Err(ChunkError::Missing)
    );
    assert_eq!(
        store.chunk_verify(metas[2].id).await,
        Err(ChunkError::Missing)
    );
    assert_eq!(missing(&store).await.len(), 3);
    assert_eq!(store.counts().unwrap().chunks, 0);
    assert!(
        store.chunk_remove(metas[0].id).await.unwrap(),
        "and then forgotten"
    );
    assert_eq!(missing(&store).await.len(), 2);
    // One that is cut short counts as gone too.
    put(&store, &metas[0], &payload).await.unwrap();
    File::options()
        .write(true)
        .open(file_of(&store, metas[0].id))
        .unwrap()
        .set_len(70_000)
        .unwrap();
    assert_eq!(store.chunk_has(metas[0].id).await.unwrap(), None);
    assert_eq!(missing(&store).await.len(), 3);
}

#[tokio::test]
async fn a_damaged_payload_is_never_given_out_and_the_chunk_counts_as_missing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let payload = noise(1, 200_000);
    for (part, at) in [(1, 0), (2, 65_536), (3, 199_999)] {
        let meta = chunk(1, part, &payload);
        put(&store, &meta, &payload).await.unwrap();
        flip(&file_of(&store, meta.id), at);
        let damaged = match part {
            1 => store.chunk_verify(meta.id).await.map(drop),
            _ => store.chunk_read(meta.id, 0..4).await.map(drop),
        };
        assert!(
            matches!(damaged, Err(ChunkError::Damaged(_))),
            "{damaged:?}"
        );
        assert_eq!(store.chunk_has(meta.id).await.unwrap(), None);
        assert!(missing(&store).await.contains(&meta.id));
        // What is right of it is still given out: it may be the last.
        let bad = (at / 65_536) as u32;
        for block in 0..4 {
            let read = store.chunk_read(meta.id, block..block + 1).await;
            let from = block as usize * 65_536;
            let upto = (from + 65_536).min(payload.len());
            match read {
                Ok(blocks) => assert!(block != bad && blocks.data == payload[from..upto]),
                Err(error) => assert!(block == bad && matches!(error, ChunkError::Damaged(_))),
            }
        }
        put(&store, &meta, &payload).await.unwrap();
        store.chunk_verify(meta.id).await.unwrap();
    }
    assert_eq!(
        store.failure(),
        None,
        "a damaged chunk does not end the votes"
    );
}

#[tokio::test]
async fn a_chunk_that_the_disk_cannot_read_counts_as_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, faults) = open_faulty(dir.path(), Arc::new(|e| panic!("{e}")));
    let payload = noise(1, 200_000);
    for (part, verified) in [(1, true), (2, false)] {
        let meta = chunk(1, part, &payload);
        put(&store, &meta, &payload).await.unwrap();
        faults.set_unreadable(Some(meta.id.to_string()));
        assert!(store.chunk_has(meta.id).await.unwrap().is_some());
        let lost = match verified {
            true => store.chunk_verify(meta.id).await.map(drop),
            false => store.chunk_read(meta.id, 1..2).await.map(drop),
        };
        let Err(ChunkError::Damaged(why)) = &lost else {
            panic!("{lost:?}");
        };
        let cause = why.io().and_then(std::io::Error::raw_os_error);
        assert_eq!(cause, Some(rustix::io::Errno::IO.raw_os_error()));
        assert_eq!(store.chunk_has(meta.id).await.unwrap(), None);
        assert!(missing(&store).await.contains(&meta.id));
        // The disk may be able to, later; and a whole copy takes its place.
        faults.set_unreadable(None);
        let rest = store.chunk_read(meta.id, 1..2).await.unwrap();
        assert_eq!(rest.data, payload[65_536..131_072]);
        put(&store, &meta, &payload).await.unwrap();
        store.chunk_verify(meta.id).await.unwrap();
    }
    assert_eq!(store.failure(), None);
}

#[tokio::test]
async fn a_whole_copy_that_may_not_enter_leaves_what_there_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let payload = noise(1, 200_000);
    let meta = chunk(1, 1, &payload);
    put(&store, &meta, &payload).await.unwrap();
    flip(&file_of(&store, meta.id), 5);
    store.chunk_verify(meta.id).await.unwrap_err();
    // Put together again, while the view changes.
    let mut writer = store.chunk_writer(meta.clone(), Tier::Moves).unwrap();
    writer.write(payload.clone().into()).await.unwrap();
    let refused = writer
        .finish_if(Box::new(|_| {
            Err(StoreError::Refused("the view has changed".into()))
        }))
        .await;
    assert!(refused.is_err());
    assert_eq!(store.chunk_has(meta.id).await.unwrap(), None);
    assert!(store.chunk_remains(meta.id).await.unwrap());
    let rest = store.chunk_read(meta.id, 1..4).await.unwrap().data;
    assert_eq!(rest, payload[65_536..], "these may be the last");
    drop(store);
    let store = open(dir.path());
    let rest = store.chunk_read(meta.id, 1..4).await.unwrap().data;
    assert_eq!(rest, payload[65_536..]);
}

#[tokio::test]
async fn a_damaged_copy_outlives_a_start_until_a_whole_one_comes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let payload = noise(1, 200_000);
    let meta = chunk(1, 1, &payload);
    put(&store, &meta, &payload).await.unwrap();
    flip(&file_of(&store, meta.id), 5);
    store.chunk_verify(meta.id).await.unwrap_err();
    drop(store);
    let store = open(dir.path());
    assert_eq!(missing(&store).await, [meta.id]);
    assert!(store.chunk_remains(meta.id).await.unwrap());
    let rest = store.chunk_read(meta.id, 1..4).await.unwrap().data;
    assert_eq!(rest, payload[65_536..]);
    put(&store, &meta, &payload).await.unwrap();
    assert!(missing(&store).await.is_empty());
    store.chunk_verify(meta.id).await.unwrap();
    // Damaged again, it takes its room until it is taken away as garbage is.
    flip(&file_of(&store, meta.id), 5);
    store.chunk_verify(meta.id).await.unwrap_err();
    let used = store.space().used;
    assert!(store.chunk_remove(meta.id).await.unwrap());
    assert!(store.space().used + 200_000 <= used);
    assert!(!store.chunk_remains(meta.id).await.unwrap());
    assert!(missing(&store).await.is_empty());
}

#[tokio::test]
async fn a_damaged_tail_is_mended_from_the_payload() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let payload = noise(1, 200_000);
    let meta = chunk(1, 1, &payload);
    put(&store, &meta, &payload).await.unwrap();
    let file = file_of(&store, meta.id);
    let length = std::fs::metadata(&file).unwrap().len();
    let original = std::fs::read(&file).unwrap();
    // The hashes, the trailer, its length, its hash, the magic.
    for at in [
        200_000,
        200_127,
        200_130,
        length - 44,
        length - 30,
        length - 1,
    ] {
        flip(&file, at);
        assert_eq!(
            store.chunk_verify(meta.id).await.as_ref(),
            Ok(&meta),
            "at {at}"
        );
        assert_eq!(std::fs::read(&file).unwrap(), original, "at {at}");
    }
    flip(&file, 200_001);
    assert_eq!(
        store.chunk_read(meta.id, 1..2).await.unwrap().data,
        payload[65_536..131_072]
    );
    File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(length - 10)
        .unwrap();
    assert_eq!(store.chunk_has(meta.id).await.unwrap(), Some(meta));
    assert_eq!(std::fs::read(&file).unwrap(), original);
    assert_eq!(store.counts().unwrap().missing, 0);
}

#[tokio::test]
async fn a_damaged_record_ends_the_votes_but_not_the_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let payload = noise(1, 1000);
    put(&store, &chunk(1, 1, &payload), &payload).await.unwrap();
    store
        .transact(|txn| txn.set_register(&name("a"), ballot(1), &value(1, noise(1, 5000))))
        .await
        .unwrap();
    // As if the record of `a` had rotted: it is another's, under a good page checksum.
    {
        let wtx = store.shared().db.begin_write().unwrap();
        wtx.open_table(T::Registers.definition())
            .unwrap()
            .insert(&b"a"[..], &b"rotten"[..])
            .unwrap();
        wtx.commit().unwrap();
    }
    let read = store.read(|txn| txn.register(&name("a"))).await;
    assert!(matches!(read, Err(StoreError::Damaged(_))), "{read:?}");
    let vote = store
        .transact(|txn| txn.set_promise(&name("b"), ballot(1)))
        .await;
    assert!(matches!(vote, Err(StoreError::Damaged(_))), "{vote:?}");
    assert!(matches!(store.failure(), Some(StoreError::Damaged(_))));
    assert_eq!(
        store
            .chunk_read(chunk(1, 1, &payload).id, 0..1)
            .await
            .unwrap()
            .data,
        payload
    );
}

#[tokio::test]
async fn a_closure_that_hides_damage_does_not_get_committed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    {
        let wtx = store.shared().db.begin_write().unwrap();
        wtx.open_table(T::Promises.definition())
            .unwrap()
            .insert(&b"a"[..], &b"rotten"[..])
            .unwrap();
        wtx.commit().unwrap();
    }
    let hidden = store.transact(|txn| {
        let promised = txn.promise(&name("a")).unwrap_or(Ballot::ZERO);
        txn.set_promise(&name("b"), promised)
    });
    assert!(matches!(hidden.await, Err(StoreError::Damaged(_))));
    let raw = store.shared().snapshot().unwrap();
    assert_eq!(Source::get(&raw, T::Promises, b"b").unwrap(), None);
}

#[tokio::test]
async fn a_damaged_database_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store
        .transact_alone(|txn| {
            (0..500u64).try_for_each(|n| {
                txn.set_register(
                    &name(&format!("n{n}")),
                    ballot(n),
                    &value(n, noise(n as u8, 2000)),
                )
            })
        })
        .await
        .unwrap();
    drop(store);
    let meta = dir.path().join("data/meta.redb");
    let original = std::fs::read(&meta).unwrap();
    let (mut refused, mut tried) = (0, 0);
    for page in (0..original.len() as u64 / 4096).step_by(17) {
        std::fs::write(&meta, &original).unwrap();
        flip(&meta, page * 4096 + 100);
        tried += 1;
        match open_as(options(dir.path())) {
            Err(OpenError::Damaged { .. }) => refused += 1,
            Err(e) => panic!("page {page}: {e}"),
            // A page that nothing uses: then everything must be there.
            Ok(store) => {
                let whole = store.read(|txn| {
                    for n in 0..500u64 {
                        let expected = Some((ballot(n), value(n, noise(n as u8, 2000))));
                        assert_eq!(txn.register(&name(&format!("n{n}")))?, expected);
                    }
                    Ok(())
                });
                whole.await.unwrap();
            }
        }
    }
    assert!(refused > 0 && tried > refused / 2, "{refused} of {tried}");
    std::fs::write(&meta, &original[..original.len() / 2]).unwrap();
    assert!(matches!(
        open_as(options(dir.path())),
        Err(OpenError::Damaged { .. })
    ));
    std::fs::write(&meta, b"this is no database").unwrap();
    assert!(matches!(
        open_as(options(dir.path())),
        Err(OpenError::Damaged { .. })
    ));
}

#[tokio::test]
async fn a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    {
        let db = Database::create(dir.path().join("data/meta.redb")).unwrap();
        let wtx = db.begin_write().unwrap();
        let record = seal_bytes(T::Meta, b"format", 99u64.to_le_bytes().to_vec());
        wtx.open_table(T::Meta.definition())
            .unwrap()
            .insert(&b"format"[..], record.as_slice())
            .unwrap();
        wtx.commit().unwrap();
    }
    match open_as(options(dir.path())) {
        Err(OpenError::NewerFormat { found: 99, .. }) => {}
        other => panic!("{:?}", other.map(|s| s.disk())),
    }
}

#[tokio::test]
async fn files_outlive_their_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let disk = store.disk();
    let payload = noise(1, 100_000);
    let (good, bad) = (chunk(1, 1, &payload), chunk(2, 1, &payload));
    put(&store, &good, &payload).await.unwrap();
    put(&store, &bad, &payload).await.unwrap();
    flip(&file_of(&store, bad.id), 5);
    let mut writer = store.dropped_writer(name("d"), None, vec![], None).unwrap();
    writer.write(payload.clone().into()).await.unwrap();
    let first = writer.finish().await.unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("data/meta.redb")).unwrap();
    let store = open(dir.path());
    assert_ne!(
        store.disk(),
        disk,
        "it has no votes of before, so it is another disk"
    );
    assert_eq!(store.chunk_read(good.id, 0..2).await.unwrap().data, payload);
    assert_eq!(store.chunk_has(bad.id).await.unwrap(), None);
    assert_eq!(missing(&store).await, [bad.id]);
    let rest = store.chunk_read(bad.id, 1..2).await.unwrap().data;
    assert_eq!(rest, payload[65_536..], "what is right of it");
    let dropped = store.dropped_list(None, 10).await.unwrap().items;
    assert_eq!((dropped.len(), dropped[0].id), (1, first));
    let writer = store.dropped_writer(name("d"), None, vec![], None).unwrap();
    assert!(
        writer.finish().await.unwrap() > first,
        "later drops are newer all the same"
    );
}
