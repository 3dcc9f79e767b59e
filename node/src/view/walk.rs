//! Paging through what is on a disk, to its end or for as long as a view holds.
//!
//! Between two pages everything may change; a page is what was there when it was
//! asked for.

use std::future::Future;
use std::sync::Arc;

use chord_placement::Range;
use chord_types::{ChunkId, FileName, Id};
use futures::future::{BoxFuture, FutureExt};

use super::{Current, ViewKeeper};
use crate::store::{
    ChunkMeta, Dropped, DroppedId, KeyCursor, Listed, Page, Register, Store, StoreError,
};

/// Why a walk did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// What was seen so far is of a view that is not in force any more.
    #[error("the view has changed")]
    ViewChanged,
    /// The disk cannot be read.
    #[error(transparent)]
    Disk(#[from] StoreError),
}

/// What one page of a walk is asked for with: where to go on, `None` at the start.
type Fetch<T, C> =
    Box<dyn FnMut(Option<C>) -> BoxFuture<'static, Result<Page<T, C>, StoreError>> + Send>;

/// A walk over pages.
pub struct Walk<T, C> {
    fetch: Fetch<T, C>,
    at: At<C>,
    under: Option<(Arc<ViewKeeper>, Arc<Current>)>,
}

enum At<C> {
    Start,
    After(C),
    End,
}

impl<T, C> Walk<T, C> {
    /// A walk from the start, whatever becomes of the view.
    pub fn new<F, Fut>(mut fetch: F) -> Walk<T, C>
    where
        F: FnMut(Option<C>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Page<T, C>, StoreError>> + Send + 'static,
    {
        Walk {
            fetch: Box::new(move |after| fetch(after).boxed()),
            at: At::Start,
            under: None,
        }
    }

    /// The same, which ends as [`Interrupted::ViewChanged`] once this view is not in
    /// force: an end that it does reach was reached under this view.
    pub fn while_holds(mut self, keeper: &Arc<ViewKeeper>, current: &Arc<Current>) -> Self {
        self.under = Some((keeper.clone(), current.clone()));
        self
    }

    /// The next page, which may be empty; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>, Interrupted> {
        if let Some((keeper, current)) = &self.under
            && !keeper.holds(current)
        {
            return Err(Interrupted::ViewChanged);
        }
        let after = match std::mem::replace(&mut self.at, At::End) {
            At::Start => None,
            At::After(cursor) => Some(cursor),
            At::End => return Ok(None),
        };
        let page = (self.fetch)(after).await?;
        if let Some(next) = page.next {
            self.at = At::After(next);
        }
        Ok(Some(page.items))
    }
}

/// Every register that votes, by key, so many at a time.
pub fn registers(store: &Store, batch: usize) -> Walk<Register, KeyCursor> {
    let store = store.clone();
    let whole = Range {
        after: Id([0; 20]),
        upto: Id([0; 20]),
    };
    Walk::new(move |after: Option<KeyCursor>| {
        let store = store.clone();
        async move {
            store
                .read(move |txn| txn.registers_in(&whole, after.as_ref(), batch))
                .await
        }
    })
}

/// Every register that votes, by name and in short.
pub fn listed(store: &Store, batch: usize) -> Walk<Listed, FileName> {
    let store = store.clone();
    Walk::new(move |after: Option<FileName>| {
        let store = store.clone();
        async move {
            store
                .read(move |txn| txn.list("", after.as_ref().map(FileName::as_str), batch))
                .await
        }
    })
}

/// Every hint: what lies here of other ranges and votes no more.
pub fn hints(store: &Store, batch: usize) -> Walk<Register, FileName> {
    let store = store.clone();
    Walk::new(move |after: Option<FileName>| {
        let store = store.clone();
        async move {
            store
                .read(move |txn| txn.hints(after.as_ref(), batch))
                .await
        }
    })
}

/// Every chunk that is here, by its id.
pub fn chunks(store: &Store, batch: usize) -> Walk<ChunkMeta, ChunkId> {
    let store = store.clone();
    Walk::new(move |after| {
        let store = store.clone();
        async move { store.chunks_after(after, batch).await }
    })
}

/// Every chunk that is here, by the name of its file.
pub fn chunks_by_name(store: &Store, batch: usize) -> Walk<ChunkMeta, (FileName, ChunkId)> {
    let store = store.clone();
    Walk::new(move |after| {
        let store = store.clone();
        async move { store.chunks_by_name(after, batch).await }
    })
}

/// Every chunk that is here of one file.
pub fn chunks_of(store: &Store, name: &FileName, batch: usize) -> Walk<ChunkMeta, ChunkId> {
    let (store, name) = (store.clone(), name.clone());
    Walk::new(move |after| {
        let (store, name) = (store.clone(), name.clone());
        async move { store.chunks_of(name, after, batch).await }
    })
}

/// Every chunk that should be here, and is damaged or gone.
pub fn chunks_missing(store: &Store, batch: usize) -> Walk<ChunkMeta, ChunkId> {
    let store = store.clone();
    Walk::new(move |after| {
        let store = store.clone();
        async move { store.chunks_missing(after, batch).await }
    })
}

/// Every file that was dropped here, the oldest first.
pub fn dropped(store: &Store, batch: usize) -> Walk<Dropped, DroppedId> {
    let store = store.clone();
    Walk::new(move |after| {
        let store = store.clone();
        async move { store.dropped_list(after, batch).await }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Nodes;

    async fn page(after: Option<u32>) -> Result<Page<u32, u32>, StoreError> {
        let from = after.map_or(0, |n| n + 1);
        Ok(Page {
            items: vec![from],
            next: (from < 2).then_some(from),
        })
    }

    #[tokio::test]
    async fn every_page_is_seen_once() {
        let mut walk = Walk::new(page);
        let mut seen = Vec::new();
        while let Some(items) = walk.next().await.unwrap() {
            seen.extend(items);
        }
        assert_eq!(seen, [0, 1, 2]);
        assert!(
            walk.next().await.unwrap().is_none(),
            "the end stays the end"
        );
        let mut broken =
            Walk::new(|_: Option<u32>| async { Err::<Page<u32, u32>, _>(StoreError::Closed) });
        assert!(matches!(broken.next().await, Err(Interrupted::Disk(_))));
    }

    #[tokio::test]
    async fn a_walk_under_a_view_ends_with_it() {
        let all = Nodes::start(2).await;
        let view = all.form(1).await;
        let keeper = &all.nodes[0].view;
        let current = keeper.current().unwrap();
        let mut walk = Walk::new(page).while_holds(keeper, &current);
        while walk.next().await.unwrap().is_some() {}
        let mut walk = Walk::new(page).while_holds(keeper, &current);
        assert_eq!(walk.next().await.unwrap(), Some(vec![0]));
        let joint = view.change_to(all.table(1, &[0])).unwrap();
        all.give(&[0], &joint).await;
        assert!(matches!(walk.next().await, Err(Interrupted::ViewChanged)));
    }
}
