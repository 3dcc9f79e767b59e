//! The index of chunks, page by page.

use super::*;

#[tokio::test]
async fn chunks_are_paged_by_id_and_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ids = Vec::new();
    for seed in [9, 3, 7] {
        for part in 1..=4 {
            let meta = chunk(seed, part, b"x");
            put(&store, &meta, b"x").await.unwrap();
            ids.push(meta.id);
        }
    }
    let committed = vec![ids[1], ids[5], chunk(99, 1, &[]).id];
    store.chunk_set_committed(committed).await.unwrap();
    ids.sort();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.chunks_after(after, 5).await.unwrap();
        found.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(found.iter().map(|m| m.id).collect::<Vec<_>>(), ids);
    assert_eq!(found.iter().filter(|m| m.committed).count(), 2);
    let page = store.chunks_by_name(None, 5).await.unwrap();
    let rest = store.chunks_by_name(page.next, 100).await.unwrap();
    assert_eq!(page.items.len() + rest.items.len(), 12);
    assert!(rest.next.is_none());
    let names: Vec<_> = page
        .items
        .iter()
        .chain(&rest.items)
        .map(|m| (m.name.clone(), m.id))
        .collect();
    assert!(names.is_sorted());
    let one = store.chunks_of(name("file-7"), None, 3).await.unwrap();
    assert_eq!(
        one.items.iter().map(|m| m.id.part).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let rest = store.chunks_of(name("file-7"), one.next, 3).await.unwrap();
    assert_eq!(
        rest.items.iter().map(|m| m.id.part).collect::<Vec<_>>(),
        [4]
    );
    assert!(
        store
            .chunks_of(name("file-"), None, 3)
            .await
            .unwrap()
            .items
            .is_empty(),
        "not a prefix"
    );
}
