//! Dropped files: all of them, in order, whole.

use super::*;
use futures::TryStreamExt;

async fn keep(store: &Store, text: &str, bytes: &[u8]) -> DroppedId {
    let meta = [("k", "v")].into_iter().collect();
    let mut writer = store
        .dropped_writer(
            name(text),
            Some("x/y".into()),
            meta,
            Some(bytes.len() as u64),
        )
        .unwrap();
    for piece in bytes.chunks(70_000) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn bytes(store: &Store, id: DroppedId) -> Result<Vec<u8>, StoreError> {
    let (_, stream) = store.dropped_open(id).await?.unwrap();
    Ok(stream.try_collect::<Vec<Bytes>>().await?.concat())
}

#[tokio::test]
async fn dropped_files_keep_their_order_over_restarts_and_go_when_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let big = noise(1, 3_000_000);
    let first = keep(&store, "a", &big).await;
    let second = keep(&store, "a", b"newer").await;
    drop(store);
    let store = open(dir.path());
    let third = keep(&store, "a", b"").await;
    assert!(first < second && second < third);
    let page = store.dropped_list(None, 2).await.unwrap();
    assert_eq!(
        page.items.iter().map(|d| d.id).collect::<Vec<_>>(),
        [first, second]
    );
    let rest = store.dropped_list(page.next, 2).await.unwrap();
    assert_eq!((rest.items[0].id, rest.next), (third, None));
    let info = &page.items[0];
    assert_eq!(
        (info.size, info.content_type.as_deref()),
        (3_000_000, Some("x/y"))
    );
    assert_eq!(info.meta.custom().collect::<Vec<_>>(), [("k", "v")]);
    assert_eq!(bytes(&store, first).await.unwrap(), big);
    assert_eq!(bytes(&store, second).await.unwrap(), b"newer");
    assert_eq!(bytes(&store, third).await.unwrap(), b"");
    let used = store.space().used;
    assert!(store.dropped_remove(first).await.unwrap());
    assert!(!store.dropped_remove(first).await.unwrap());
    assert!(store.space().used + 2_000_000 < used);
    assert!(store.dropped_open(first).await.unwrap().is_none());
    assert_eq!(store.counts().unwrap().dropped, 2);
}

#[tokio::test]
async fn a_damaged_dropped_file_is_not_given_out_as_whole_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = keep(&store, "a", &noise(1, 600_000)).await;
    let path = super::super::dropped::file::path(&dir.path().join("data"), id);
    let mut contents = std::fs::read(&path).unwrap();
    contents[1] ^= 1;
    std::fs::write(&path, contents).unwrap();
    let (_, stream) = store.dropped_open(id).await.unwrap().unwrap();
    let pieces: Vec<Result<Bytes, StoreError>> = futures::StreamExt::collect(stream).await;
    assert!(pieces.last().unwrap().is_err());
    assert!(pieces.iter().flatten().map(|b| b.len()).sum::<usize>() < 600_000);
    assert!(path.exists());
    assert_eq!(store.failure(), None);
}

#[tokio::test]
async fn one_that_is_broken_off_or_short_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let available = store.space().available;
    let mut writer = store
        .dropped_writer(name("a"), None, Default::default(), Some(1_000_000))
        .unwrap();
    assert!(store.space().available < available, "its room is set aside");
    writer.write(Bytes::from(noise(1, 999_999))).await.unwrap();
    assert!(matches!(writer.finish().await, Err(StoreError::Refused(_))));
    assert_eq!(store.counts().unwrap().dropped, 0);
    assert!(tree(&dir.path().join("data/dropped")).is_empty());
    assert!(tree(&dir.path().join("data/tmp")).is_empty());
}

#[tokio::test]
async fn one_of_unknown_length_is_stopped_where_the_room_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_as(Options {
        capacity: Some(16 << 20),
        ..options(dir.path())
    })
    .unwrap();
    let mut writer = store
        .dropped_writer(name("a"), None, Default::default(), None)
        .unwrap();
    let piece = Bytes::from(noise(1, 1 << 20));
    let mut taken = 0;
    let full = loop {
        match writer.write(piece.clone()).await {
            Ok(()) => taken += 1,
            Err(e) => break e,
        }
        assert!(taken < 16, "it was never stopped");
    };
    assert!(matches!(full, StoreError::Full(_)), "{full:?}");
    drop(writer);
    keep(&store, "b", &noise(2, 1 << 20)).await;
}
