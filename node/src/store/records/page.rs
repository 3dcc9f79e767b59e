//! Pages of records: bounded in number and in bytes, and they say where to go on.

use crate::store::error::StoreError;
use crate::store::meta::keys::Span;
use crate::store::meta::source::Source;
use crate::store::meta::table::T;
use crate::store::types::Page;

/// A page of an answer ends when its bodies have this many bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// The most items of a page.
const PAGE_ITEMS: usize = 10_000;

/// Collects a page: at most so many items, and so many bytes of bodies.
struct Collect<I, C> {
    items: Vec<I>,
    next: Option<C>,
    limit: usize,
    bytes: usize,
}

impl<I, C> Collect<I, C> {
    fn new(limit: usize) -> Collect<I, C> {
        Collect {
            items: Vec::new(),
            next: None,
            limit: limit.clamp(1, PAGE_ITEMS),
            bytes: 0,
        }
    }
    fn full(&self) -> bool {
        self.items.len() >= self.limit || self.bytes >= PAGE_BYTES
    }
    fn page(self) -> Page<I, C> {
        Page {
            items: self.items,
            next: self.next,
        }
    }
}

/// Walks a range; `item` makes an item of a record, and says how heavy it is.
/// `cursor` is asked for the last record taken, if there are more after it.
pub(in crate::store) fn collect<I, C>(
    source: &impl Source,
    table: T,
    ranges: &[Span<'_>],
    limit: usize,
    item: impl Fn(&[u8], &[u8]) -> Result<(I, usize), StoreError>,
    cursor: impl Fn(&I) -> C,
) -> Result<Page<I, C>, StoreError> {
    let mut out = Collect::new(limit);
    for range in ranges {
        source.scan(table, *range, &mut |key, record| {
            if out.full() {
                out.next = out.items.last().map(&cursor);
                return Ok(false);
            }
            let (item, weight) = item(key, record)?;
            out.items.push(item);
            out.bytes += weight;
            Ok(true)
        })?;
        if out.next.is_some() {
            break;
        }
    }
    Ok(out.page())
}
