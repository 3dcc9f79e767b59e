//! The recorded disk: opened and read today, and written today as it was.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use chord_node::store::{ChunkError, ChunkMeta, Store, Tier};
use chord_types::blocks::Root;
use chord_types::manifest::chunk_key;
use chord_types::{ChunkId, Ordinal};
use redb::{ReadableDatabase, ReadableTable};

use crate::expected::{self, PAYLOAD, ballot, chunk, name};
use crate::harness::{lay_out, open};
use crate::recorded;

#[tokio::test]
async fn a_disk_of_0_1_0_is_opened_and_says_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path());
    let store = open(dir.path());
    assert_eq!(store.boot(), 2);
    let view = store.view().unwrap();
    assert_eq!(*view, expected::view());
    assert_eq!(store.disk(), view.members()[0].disk);
    for of in expected::VALUES {
        let held = store
            .read(move |txn| Ok((txn.register(&name(of))?, txn.promise(&name(of))?)))
            .await
            .unwrap();
        match of {
            "absent" => assert_eq!(held.0, None),
            _ => assert_eq!(
                held,
                (Some((ballot(1, 7), expected::value(of))), ballot(1, 8)),
                "{of}"
            ),
        }
    }
    let hint = store.read(|txn| txn.hint(&name("hint"))).await.unwrap();
    assert_eq!(hint, Some((ballot(1, 3), expected::value("big"))));

    let read = store.chunk_read(chunk(2, 1), 0..1).await.unwrap();
    assert_eq!(read.data, PAYLOAD);
    assert!(read.meta.committed && read.meta.name == name("chunked"));
    assert!(store.chunk_verify(chunk(2, 2)).await.is_ok());
    let lost = store.chunk_verify(chunk(3, 1)).await;
    assert!(matches!(
        lost,
        Err(ChunkError::Missing | ChunkError::Damaged(_))
    ));
    let dropped = store.dropped_list(None, 9).await.unwrap().items;
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0].name, name("dropped"));
    assert_eq!(dropped[0].hash, *blake3::hash(b"dropped").as_bytes());
    let counts = store.counts().unwrap();
    assert_eq!((counts.registers, counts.hints), (5, 1));
    assert_eq!((counts.chunks, counts.missing, counts.dropped), (2, 1, 1));
    assert_eq!(view.members()[1].ordinal, Ordinal(1));
}

async fn keep(store: &Store, of: &str, id: ChunkId, sole: bool, payload: &[u8], committed: bool) {
    let meta = ChunkMeta {
        id,
        name: name(of),
        key: chunk_key(&name(of), id, sole),
        size: payload.len() as u32,
        root: Root::of(payload).0,
        committed,
    };
    let mut writer = store.chunk_writer(meta, Tier::Clients).unwrap();
    writer.write(Bytes::copy_from_slice(payload)).await.unwrap();
    writer.finish_if(Box::new(|_| Ok(()))).await.unwrap();
}

/// All records of a disk that is closed, by table and key.
fn records(dir: &Path) -> BTreeMap<(String, String), String> {
    let db = redb::Database::open(dir.join("meta.redb")).unwrap();
    let txn = db.begin_read().unwrap();
    let mut all = BTreeMap::new();
    for (table, _, _) in recorded::disk().rows {
        let definition: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new(table);
        for row in txn.open_table(definition).unwrap().iter().unwrap() {
            let (key, record) = row.unwrap();
            let key = (table.to_string(), hex::encode(key.value()));
            all.insert(key, hex::encode(record.value()));
        }
    }
    all
}

/// After it has gone back to 0.1.0 a node finds what it can read.
#[tokio::test]
async fn what_is_written_today_is_what_0_1_0_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store
        .transact(|txn| {
            txn.set_view(&expected::view())?;
            for of in expected::VALUES {
                if of != "absent" {
                    txn.set_register(&name(of), ballot(1, 7), &expected::value(of))?;
                    txn.set_promise(&name(of), ballot(1, 8))?;
                }
            }
            txn.set_hint(&name("hint"), ballot(1, 3), &expected::value("big"))
        })
        .await
        .unwrap();
    keep(&store, "chunked", chunk(2, 1), false, PAYLOAD, true).await;
    keep(&store, "chunked", chunk(2, 2), false, b"hello", true).await;
    keep(&store, "lost", chunk(3, 1), true, b"lost", false).await;
    let files: BTreeMap<&str, Vec<u8>> = recorded::disk().files.into_iter().collect();
    let lost = files.keys().find(|path| path.starts_with("chunks/03"));
    std::fs::write(dir.path().join(lost.unwrap()), &files[lost.unwrap()]).unwrap();
    assert!(store.chunk_verify(chunk(3, 1)).await.is_err());
    let meta = vec![("k".into(), "v".into())];
    let mut writer = store
        .dropped_writer(name("dropped"), Some("text/plain".into()), meta, Some(7))
        .unwrap();
    writer.write(Bytes::from_static(b"dropped")).await.unwrap();
    writer.finish_if(Box::new(|_| Ok(()))).await.unwrap();
    store.close().await.unwrap();
    drop(store);

    let written = records(dir.path());
    let mut compared = 0;
    for (table, key, record) in recorded::disk().rows {
        // Each disk has an id of its own.
        if (table, &key[..]) == ("meta", b"disk") {
            continue;
        }
        let at = (table.to_string(), hex::encode(&key));
        let found = written.get(&at).unwrap_or_else(|| panic!("no {at:?}"));
        assert_eq!(*found, hex::encode(&record), "{at:?}");
        compared += 1;
    }
    assert_eq!(compared, recorded::disk().rows.len() - 1);
    for (path, contents) in files {
        let found = std::fs::read(dir.path().join(path)).unwrap();
        assert_eq!(hex::encode(found), hex::encode(contents), "{path}");
    }
}
