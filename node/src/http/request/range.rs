//! `Range` and `If-Range` of RFC 9110, section 14: one range of bytes is
//! answered as asked; several, and what is not a range of bytes, with the whole.

use std::ops::Range;

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};

use super::conditions::{read_date, read_tag};

/// How many seconds older than the answer a date has to be to be a strong validator
/// (RFC 9110, section 8.8.2.2): within its second, a file may change several times.
const STRONG_AFTER: u64 = 1;

/// What of a file is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) enum Wanted {
    Whole,
    /// Never empty, within the file.
    Part(Range<u64>),
    /// 416.
    Unsatisfiable,
}

/// What a GET asks for of a file of `size` bytes, `etag` and `modified` (seconds)
/// being those of its current version, at the time `now` (seconds too).
pub(in crate::http) fn wanted(
    headers: &HeaderMap,
    size: u64,
    etag: &str,
    modified: u64,
    now: u64,
) -> Wanted {
    let mut lines = headers.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Wanted::Whole;
    };
    let Some(spec) = line.to_str().ok().and_then(parse) else {
        return Wanted::Whole;
    };
    if !if_range(headers, etag, modified, now) {
        return Wanted::Whole;
    }
    spec.within(size)
}

/// Whether `If-Range` lets the range be sent: a strong comparison of tags, or
/// the very date of the current version where that is strong.
fn if_range(headers: &HeaderMap, etag: &str, modified: u64, now: u64) -> bool {
    let mut lines = headers.get_all(IF_RANGE).iter();
    let Some(line) = lines.next() else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    if let Some((tag, rest)) = read_tag(line.as_bytes()) {
        return rest.is_empty() && !tag.weak && tag.value == etag;
    }
    line.to_str().ok().and_then(read_date) == Some(modified)
        && now >= modified.saturating_add(STRONG_AFTER)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// From, and to (inclusive) where it is given.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl Spec {
    fn within(self, size: u64) -> Wanted {
        match self {
            Spec::From(first, _) if first >= size => Wanted::Unsatisfiable,
            Spec::From(first, last) => {
                let end = last.map_or(size, |last| last.saturating_add(1).min(size));
                Wanted::Part(first..end)
            }
            Spec::Last(count) if count == 0 || size == 0 => Wanted::Unsatisfiable,
            Spec::Last(count) => Wanted::Part(size.saturating_sub(count)..size),
        }
    }
}

/// The one range of a `Range` header; `None` for several or none, another unit,
/// or what cannot be read.
fn parse(value: &str) -> Option<Spec> {
    let (unit, set) = value.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Empty members of the list are allowed.
    let mut specs = set
        .split(',')
        .map(|spec| spec.trim_matches([' ', '\t']))
        .filter(|spec| !spec.is_empty());
    let (Some(spec), None) = (specs.next(), specs.next()) else {
        return None;
    };
    let (first, last) = spec.split_once('-')?;
    match (first, last) {
        ("", last) => Some(Spec::Last(number(last)?)),
        (first, "") => Some(Spec::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From(first, Some(last)))
        }
    }
}

/// Digits only; a number too large to be held is as good as the largest.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn ask(range: &str, size: u64) -> Wanted {
        let mut map = HeaderMap::new();
        map.insert(RANGE, HeaderValue::from_str(range).unwrap());
        wanted(&map, size, "tag", 784_111_777, 784_222_222)
    }

    #[test]
    fn single_ranges() {
        for (range, size, part) in [
            ("bytes=0-0", 10, 0..1),
            ("bytes=0-9", 10, 0..10),
            ("bytes=3-5", 10, 3..6),
            ("bytes=3-99", 10, 3..10),
            ("bytes=9-", 10, 9..10),
            ("bytes=0-", 10, 0..10),
            ("bytes=-1", 10, 9..10),
            ("bytes=-10", 10, 0..10),
            ("bytes=-11", 10, 0..10),
            ("BYTES= 1-2 ,", 10, 1..3),
            ("bytes=,1-2", 10, 1..3),
            ("bytes=0-99999999999999999999999", 10, 0..10),
            ("bytes=-99999999999999999999999", 10, 0..10),
            ("bytes=0-18446744073709551615", 10, 0..10),
        ] {
            assert_eq!(ask(range, size), Wanted::Part(part), "{range}");
        }
    }

    #[test]
    fn what_lies_outside_is_unsatisfiable() {
        for (range, size) in [
            ("bytes=10-", 10),
            ("bytes=10-10", 10),
            ("bytes=99999999999999999999999-", 10),
            ("bytes=-0", 10),
            ("bytes=0-", 0),
            ("bytes=0-0", 0),
            ("bytes=-5", 0),
        ] {
            assert_eq!(ask(range, size), Wanted::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn anything_else_is_the_whole() {
        for range in [
            "bytes=0-1,3-4",
            "bytes=0-1, 0-1",
            "bytes=5-3",
            "bytes=",
            "bytes=-",
            "bytes",
            "bytes=a-b",
            "bytes=1",
            "bytes 0-1",
            "items=0-1",
            "bytes=0-1-2",
            "bytes=+1-2",
            "bytes= 1 - 2",
            "bytes =0-1",
            "bytes=,",
            "bytes=--1",
            "bytes=0x0-1",
            "",
        ] {
            assert_eq!(ask(range, 10), Wanted::Whole, "{range}");
        }
        let mut twice = HeaderMap::new();
        twice.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        twice.append(RANGE, HeaderValue::from_static("bytes=3-4"));
        assert_eq!(wanted(&twice, 10, "tag", 0, 99), Wanted::Whole);
    }

    #[test]
    fn if_range_is_strong() {
        let modified = 784_111_777;
        let at = |validator: &str, now: u64| {
            let mut map = HeaderMap::new();
            map.insert(RANGE, HeaderValue::from_static("bytes=99-"));
            map.insert(IF_RANGE, HeaderValue::from_str(validator).unwrap());
            wanted(&map, 10, "tag", modified, now)
        };
        let ask = |validator: &str| at(validator, modified + 1);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for young in [modified - 9, modified] {
            assert_eq!(at(date, young), Wanted::Whole, "the date is weak");
            assert_eq!(at("\"tag\"", young), Wanted::Unsatisfiable);
        }
        assert_eq!(ask("\"tag\""), Wanted::Unsatisfiable);
        assert_eq!(ask(date), Wanted::Unsatisfiable);
        for other in [
            "W/\"tag\"",
            "\"other\"",
            "tag",
            "*",
            "\"tag\", \"x\"",
            "",
            "Sun, 06 Nov 1994 08:49:38 GMT",
        ] {
            assert_eq!(ask(other), Wanted::Whole, "{other}");
        }
    }

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        #[test]
        fn a_part_lies_within_the_file(range in "bytes=[0-9,-]{0,12}", size in 0u64..2000) {
            if let Wanted::Part(part) = ask(&range, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
