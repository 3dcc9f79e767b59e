//! What lies on this node, by the names that clients know: whole files, parts of
//! files, and files that were dropped here.

use std::collections::BTreeSet;
use std::sync::Arc;

use chord_api::causes::words;
use chord_api::problem::{Kind, Problem};
use chord_register::Value;
use chord_types::name::MAX_NAME_BYTES;
use chord_types::{FileName, Id};

use crate::http::failure::of_disk;
use crate::notes::Garbage;
use crate::store::{ReadTxn, Store, StoreError};
use crate::view::{Interrupted, walk};

/// Names in one answer.
const MAX_NAMES: usize = 1000;
const CHUNKS: usize = 1000;
const CHUNKS_OF_ONE: usize = 256;
const DROPPED: usize = 256;

/// Looks things up on this disk.
pub struct Holdings {
    pub(crate) store: Store,
    pub(crate) garbage: Arc<Garbage>,
}

fn failed(error: impl Into<Interrupted>) -> Problem {
    let error = error.into();
    let kind = match &error {
        Interrupted::Disk(error) => of_disk(error),
        Interrupted::ViewChanged => Kind::Overloaded,
    };
    let words = words(&error);
    Problem::new(kind, format!("this node cannot read its disk: {words}"))
}

/// The longest file name that `text` begins with: no file's name that comes after
/// `text` comes before it. `NAME-partN` of a long name is too long for a name.
fn floor(text: &str) -> Option<FileName> {
    let text = text.split('\0').next().unwrap_or_default();
    FileName::new(&text[..text.floor_char_boundary(MAX_NAME_BYTES)]).ok()
}

/// Names of whole files on this disk, votes and hints alike, after `after`.
fn whole_names(
    txn: &ReadTxn,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let asked = |name: &FileName| after.is_none_or(|after| name.as_str() > after);
    let mut names = BTreeSet::new();
    let mut from = after.and_then(floor);
    loop {
        let page = txn.list("", from.as_ref().map(FileName::as_str), limit)?;
        for listed in page.items {
            if listed.current.is_some() && asked(&listed.name) {
                names.insert(listed.name.as_str().to_string());
            }
        }
        from = page.next;
        if from.is_none() || names.len() >= limit {
            break;
        }
    }
    let mut from = after.and_then(floor);
    let mut hints = 0;
    loop {
        let page = txn.hints(from.as_ref(), limit)?;
        for hint in page.items {
            if hint.value.current.is_some() && asked(&hint.name) {
                hints += 1;
                names.insert(hint.name.as_str().to_string());
            }
        }
        from = page.next;
        if from.is_none() || hints >= limit {
            break;
        }
    }
    Ok(names.into_iter().take(limit).collect())
}

/// The file and the part that `NAME-partN` means, spelled as the listing spells it.
fn part_of(name: &str) -> Option<(FileName, u32)> {
    let (stem, part) = name.rsplit_once("-part")?;
    let (stem, part) = (FileName::new(stem).ok()?, part.parse().ok()?);
    (stem.part(part) == name).then_some((stem, part))
}

impl Holdings {
    /// Names that lie here, in byte order, those after `after` only.
    pub async fn list(&self, after: Option<String>, limit: usize) -> Result<Vec<String>, Problem> {
        let limit = limit.clamp(1, MAX_NAMES);
        let from = after.clone();
        let read = self
            .store
            .read(move |txn| whole_names(txn, from.as_deref(), limit));
        let mut names: BTreeSet<String> = read.await.map_err(failed)?.into_iter().collect();
        let parts = self.parts_after(after.as_deref(), limit).await;
        names.extend(parts.map_err(failed)?);
        let mut pages = walk::dropped(&self.store, DROPPED);
        while let Some(page) = pages.next().await.map_err(failed)? {
            names.extend(page.into_iter().map(|d| d.name.as_str().to_string()));
        }
        Ok(names
            .into_iter()
            .filter(|n| after.as_ref().is_none_or(|a| n > a))
            .take(limit)
            .collect())
    }

    /// Whether this lies here, by the same names.
    pub async fn has(&self, name: &str) -> Result<bool, Problem> {
        let found = self.has_whole(name).await.map_err(failed)?
            || self.has_part(name).await.map_err(failed)?
            || self.has_dropped(name).await.map_err(failed)?;
        Ok(found)
    }

    async fn has_whole(&self, name: &str) -> Result<bool, StoreError> {
        let Ok(whole) = FileName::new(name) else {
            return Ok(false);
        };
        let read = self.store.read(move |txn| {
            let live =
                |found: Option<(_, Value)>| found.is_some_and(|(_, value)| value.current.is_some());
            Ok(live(txn.register(&whole)?) || live(txn.hint(&whole)?))
        });
        read.await
    }

    /// Whether a part of the current version lies here, as far as this node knows
    /// which version that is.
    async fn has_part(&self, name: &str) -> Result<bool, Interrupted> {
        let Some((stem, part)) = part_of(name) else {
            return Ok(false);
        };
        let mut pages = walk::chunks_of(&self.store, &stem, CHUNKS_OF_ONE);
        while let Some(page) = pages.next().await? {
            for chunk in page.iter().filter(|c| c.id.part == part) {
                let known = self.garbage.is_expected(&stem, chunk.id.upload);
                // The only chunk of a file is not called a part: it is keyed by the name.
                if chunk.committed && chunk.key != Id::of_file(&stem) && !known {
                    return Ok(self.store.chunk_has(chunk.id).await?.is_some());
                }
            }
        }
        Ok(false)
    }

    async fn has_dropped(&self, name: &str) -> Result<bool, Interrupted> {
        let mut pages = walk::dropped(&self.store, DROPPED);
        while let Some(page) = pages.next().await? {
            if page.iter().any(|d| d.name.as_str() == name) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Parts that lie here, after `after`. Names of parts do not sort like the
    /// chunks do (part 10 comes before part 2, and `a-b` before `a-part1`), so
    /// the whole index is walked and the smallest are kept.
    async fn parts_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<BTreeSet<String>, Interrupted> {
        let mut found = BTreeSet::new();
        let mut pages = walk::chunks_by_name(&self.store, CHUNKS);
        while let Some(page) = pages.next().await? {
            for chunk in &page {
                if !chunk.committed
                    || chunk.key == Id::of_file(&chunk.name)
                    || self.garbage.is_expected(&chunk.name, chunk.id.upload)
                {
                    continue;
                }
                let name = chunk.name.part(chunk.id.part);
                if after.is_none_or(|a| name.as_str() > a) {
                    found.insert(name);
                    if found.len() > limit {
                        found.pop_last();
                    }
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_is_the_nodes_own_fault_and_what_passes_is_not() {
        let broken = StoreError::Io("reading a register".into());
        assert_eq!(failed(broken).kind, Kind::Internal);
        let scarce = StoreError::Overloaded("opening a chunk".into());
        assert_eq!(failed(scarce).kind, Kind::Overloaded);
        assert_eq!(failed(Interrupted::ViewChanged).kind, Kind::Overloaded);
    }

    #[test]
    fn a_listing_goes_on_behind_what_is_too_long_for_a_name() {
        let long = "a".repeat(MAX_NAME_BYTES);
        let from = |text: &str| floor(text).map(String::from);
        assert_eq!(from(&format!("{long}-part1")), Some(long.clone()));
        assert_eq!(from(&long), Some(long.clone()));
        let wide = format!("{}ü-part1", &long[1..]);
        assert_eq!(
            from(&wide).as_deref(),
            Some(&long[1..]),
            "no half character"
        );
        assert_eq!(from("a\0b").as_deref(), Some("a"));
        assert_eq!(from("\0"), None);
        assert_eq!(from(""), None);
    }

    #[test]
    fn parts_are_called_as_they_are_listed() {
        let part = |name: &str| part_of(name).map(|(stem, part)| (String::from(stem), part));
        assert_eq!(part("fx-part1"), Some(("fx".into(), 1)));
        assert_eq!(part("a-part1-part20"), Some(("a-part1".into(), 20)));
        for none in [
            "fx-part01",
            "fx-part+1",
            "fx-part0000000001",
            "fx-part",
            "fx-part1x",
            "-part1",
            "fx",
        ] {
            assert_eq!(part(none), None, "{none}");
        }
    }
}
