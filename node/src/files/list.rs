//! Listing: every member's registers in byte order, merged.
//!
//! A name is shown by the highest ballot that its owners report. Every range has
//! to be covered by enough of its owners to meet every quorum; where it is not,
//! the whole request fails. Names on which the owners disagree are read properly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chord_api::http::{FileEntry, FileList};
use chord_register::Ballot;
use chord_types::{DiskId, FileName, Id};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::error::Gap;
use super::{Error, ListQuery};
use crate::peer::PeerError;
use crate::peer::wire::{Answer, NameFile, NamesPage, Refusal, Request};
use crate::quorum::Quorum;
use crate::view::Current;
use crate::world::Clock;

/// Names asked of one member at a time.
const BATCH: u32 = 500;
/// How long every range may be without enough owners that answer.
const COVERAGE_LIMIT: Duration = Duration::from_secs(10);
/// How long one request goes on past names that are not shown: then it is answered
/// with what there is, and where to go on. A client that left is not noticed.
const WORK_LIMIT: Duration = Duration::from_secs(20);
/// Names that are read properly at a time.
const READS: usize = 16;

/// A page.
pub async fn list(quorum: &Arc<Quorum>, clock: Clock, query: ListQuery) -> Result<FileList, Error> {
    let mut out = FileList::default();
    let mut after = query.after.clone();
    let end = Instant::now() + WORK_LIMIT;
    loop {
        // Names that collapse into a prefix which is behind us are skipped unread.
        if let Some(delimiter) = &query.delimiter
            && let Some(prefix) = common_prefix(&after, &query.prefix, delimiter)
        {
            after = after.max(past(&prefix));
        }
        let (names, upto) = merged(quorum, &query.prefix, &after).await?;
        for (name, file) in names {
            let Some(mut file) = file else { continue };
            // As GET tells it: never later than now.
            file.modified_ms = file.modified_ms.min(clock.now_ms());
            if !show(&mut out, &query, &name, file) {
                out.next = Some(last_of(&out));
                return Ok(out);
            }
        }
        match upto {
            None => return Ok(out),
            Some(upto) => after = upto,
        }
        if Instant::now() >= end {
            out.next = Some(after);
            return Ok(out);
        }
    }
}

/// Adds the next name to a page, where it adds anything; `false`: the page is full.
fn show(page: &mut FileList, query: &ListQuery, name: &FileName, file: NameFile) -> bool {
    let delimiter = query.delimiter.as_ref();
    let prefix = delimiter.and_then(|d| common_prefix(name.as_str(), &query.prefix, d));
    if let Some(prefix) = &prefix
        && (page.prefixes.last() == Some(prefix) || *prefix <= query.after)
    {
        return true;
    }
    if page.files.len() + page.prefixes.len() >= query.limit {
        return false;
    }
    match prefix {
        Some(prefix) => page.prefixes.push(prefix),
        None => page.files.push(entry(name, file)),
    }
    true
}

/// The greatest name or prefix of a page: what comes back as `after`.
fn last_of(page: &FileList) -> String {
    let file = page.files.last().map(|f| f.name.as_str());
    let prefix = page.prefixes.last().map(String::as_str);
    file.max(prefix).unwrap_or_default().to_string()
}

/// `name` up to the first delimiter after `prefix`.
fn common_prefix(name: &str, prefix: &str, delimiter: &str) -> Option<String> {
    let rest = name.strip_prefix(prefix)?;
    let at = rest.find(delimiter)?;
    Some(name[..prefix.len() + at + delimiter.len()].to_string())
}

/// A string after every name that starts with `prefix`, for `after`: names are
/// UTF-8, and no name holds a code point above the greatest.
fn past(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

fn entry(name: &FileName, file: NameFile) -> FileEntry {
    FileEntry {
        name: name.as_str().to_string(),
        size: file.size,
        etag: file.etag,
        modified: chord_api::human::instant_ms(file.modified_ms),
        content_type: file.content_type,
    }
}

type Merged = (Vec<(FileName, Option<NameFile>)>, Option<String>);

/// Names after `after` from all members, and up to where they are complete.
async fn merged(quorum: &Arc<Quorum>, prefix: &str, after: &str) -> Result<Merged, Error> {
    let mut why = Gap::Silent;
    let end = Instant::now() + COVERAGE_LIMIT;
    for attempt in 0.. {
        let Some(current) = quorum.current() else {
            break;
        };
        match tokio::time::timeout_at(end, pages(quorum, &current, prefix, after)).await {
            Ok(Ok(pages)) => return resolve(quorum, &current, pages).await,
            Ok(Err(failed)) => why = failed,
            Err(_) => break,
        }
        let pause = Instant::now() + Duration::from_millis(20 << attempt.min(4));
        if pause >= end {
            break;
        }
        tokio::time::sleep_until(pause).await;
    }
    Err(Error::Uncovered(why))
}

/// One page of every member that is needed; `Err` where a range is not covered.
async fn pages(
    quorum: &Arc<Quorum>,
    current: &Arc<Current>,
    prefix: &str,
    after: &str,
) -> Result<BTreeMap<DiskId, NamesPage>, Gap> {
    // In a joint view every decision still has a quorum in the old table.
    let old = &current.placements.old;
    let mut asked: FuturesUnordered<_> = old
        .table()
        .live()
        .map(|m| async move {
            let request = Request::Names {
                prefix: prefix.into(),
                after: after.into(),
                limit: BATCH,
            };
            (
                m.disk,
                quorum.ask(current, m.ordinal, m.disk, request).await,
            )
        })
        .collect();
    let mut pages = BTreeMap::new();
    let mut why = Gap::Silent;
    while let Some((disk, answer)) = asked.next().await {
        match answer {
            Ok(Answer::Names(page)) => {
                pages.insert(disk, page);
            }
            Ok(_) => why = Gap::OtherAnswer,
            Err(error @ PeerError::Refused(_, Refusal::OtherView(_))) => {
                return Err(error.into());
            }
            Err(error) => why = error.into(),
        }
    }
    let needed = old.table().blocking();
    for (_, owners) in old.ranges() {
        if owners
            .iter()
            .filter(|m| pages.contains_key(&m.disk))
            .count()
            < needed
        {
            return Err(why);
        }
    }
    Ok(pages)
}

/// Merges pages: the highest ballot of each name, disagreements read properly.
async fn resolve(
    quorum: &Arc<Quorum>,
    current: &Current,
    pages: BTreeMap<DiskId, NamesPage>,
) -> Result<Merged, Error> {
    // Beyond the last name of a page that has more, that member's names are unknown.
    let upto: Option<FileName> = pages
        .values()
        .filter(|p| p.more)
        .filter_map(|p| p.names.last().map(|n| n.name.clone()))
        .min();
    let mut names: BTreeMap<FileName, Vec<(DiskId, Ballot, Option<NameFile>)>> = BTreeMap::new();
    for (disk, page) in &pages {
        for entry in &page.names {
            if upto.as_ref().is_some_and(|upto| entry.name > *upto) {
                break;
            }
            names.entry(entry.name.clone()).or_default().push((
                *disk,
                entry.ballot,
                entry.file.clone(),
            ));
        }
    }
    let resolved = futures::stream::iter(names).map(|(name, mut reports)| {
        let quorum = quorum.clone();
        let answered = current
            .placements
            .old
            .owners(&Id::of_file(&name))
            .filter(|m| pages.contains_key(&m.disk))
            .count();
        async move {
            reports.sort_by_key(|(_, ballot, _)| *ballot);
            let agree = reports.len() >= answered && reports.windows(2).all(|w| w[0].1 == w[1].1);
            if agree {
                return Ok((name, reports.pop().and_then(|(_, _, file)| file)));
            }
            let value = quorum.read(&name).await?;
            let file = value.and_then(|v| v.current).map(|m| NameFile {
                size: m.size,
                etag: m.etag,
                modified_ms: m.modified_ms,
                content_type: m.content_type,
            });
            Ok::<_, Error>((name, file))
        }
    });
    let names = resolved.buffered(READS).try_collect().await?;
    Ok((names, upto.map(String::from)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{Nodes, file};
    use chord_register::Value;

    /// Names that collapse into one prefix, more than one page of a member.
    async fn collapses(stem: String) {
        let all = Nodes::start(1).await;
        let view = all.form(1).await;
        let node = &all.nodes[0];
        let names = (0..(BATCH + 10) as usize).map(|n| {
            let c = |at: usize| char::from(b'0' + (n / 60usize.pow(at as u32) % 60) as u8);
            file(&format!("{stem}{}{}", c(1), c(0)))
        });
        let names: Vec<FileName> = names.collect();
        let ballot = Ballot {
            epoch: view.epoch,
            counter: 1,
            member: node.me.ordinal,
            boot: 1,
        };
        all.put(0, "one", "x").await.unwrap();
        let one = node.quorum.read(&file("one")).await.unwrap().unwrap();
        let value = Value::clone(&one);
        let stored = node.store.transact_alone(move |txn| {
            names
                .iter()
                .try_for_each(|name| txn.set_register(name, ballot, &value))
        });
        stored.await.unwrap();
        let query = ListQuery {
            limit: 10,
            delimiter: Some("/".into()),
            ..ListQuery::default()
        };
        let listed = list(&node.quorum, node.world.clock, query);
        let page = tokio::time::timeout(std::time::Duration::from_secs(60), listed).await;
        let page = page.expect("a listing ends").unwrap();
        let files: Vec<&str> = page.files.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(files, ["one"]);
        assert_eq!(page.prefixes.len(), 1);
        assert_eq!(page.next, None);
    }

    #[tokio::test]
    async fn names_behind_a_very_long_prefix_are_passed_over() {
        collapses("p".repeat(1021) + "/").await;
    }

    #[tokio::test]
    async fn names_with_the_greatest_code_point_are_passed_over() {
        collapses(format!("p/{}", char::MAX)).await;
    }

    /// The pages of a listing of these names.
    fn pages_of(names: &[&str], prefix: &str, delimiter: &str, limit: usize) -> Vec<Vec<String>> {
        let mut query = ListQuery {
            prefix: prefix.into(),
            delimiter: (!delimiter.is_empty()).then(|| delimiter.into()),
            limit,
            ..Default::default()
        };
        let mut pages = Vec::new();
        loop {
            let mut page = FileList::default();
            let mut full = false;
            for name in names.iter().filter(|n| **n > query.after.as_str()) {
                let file = NameFile {
                    size: 1,
                    etag: "e".into(),
                    modified_ms: 0,
                    content_type: None,
                };
                full = !show(&mut page, &query, &FileName::new(*name).unwrap(), file);
                if full {
                    break;
                }
            }
            let last = last_of(&page);
            let files = page.files.into_iter().map(|f| f.name);
            pages.push(files.chain(page.prefixes).collect());
            assert!(last > query.after || !full, "it goes on");
            if !full {
                return pages;
            }
            query.after = last;
        }
    }

    #[test]
    fn the_last_page_is_the_one_with_the_last_name() {
        let names = ["tp/d--a", "tp/d--b", "tp/d--c"];
        assert_eq!(pages_of(&names, "tp/", "--", 1), [["tp/d--"]]);
        assert_eq!(
            pages_of(&["a/1", "a/2", "b", "c/1", "c/2"], "", "/", 1),
            [["a/"], ["b"], ["c/"]]
        );
        assert_eq!(pages_of(&names, "", "", 2).len(), 2);
        assert_eq!(pages_of(&names, "", "", 3).len(), 1);
        assert_eq!(pages_of(&[], "", "/", 1), [[""; 0]]);
    }

    #[test]
    fn prefixes_end_with_their_delimiter() {
        assert_eq!(common_prefix("a/b/c", "", "/").as_deref(), Some("a/"));
        assert_eq!(common_prefix("a/b/c", "a/", "/").as_deref(), Some("a/b/"));
        assert_eq!(common_prefix("a/b", "a/", "/"), None);
        assert_eq!(common_prefix("x--y", "", "--").as_deref(), Some("x--"));
        assert!(past("a/").as_str() > "a/\u{10fffe}");
    }
}
