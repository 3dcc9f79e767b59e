//! The precondition headers of RFC 9110, section 13, into a [`Condition`].
//!
//! A list of entity tags that cannot be read is an error: to ignore it would turn
//! a guarded write into an unguarded one. A date that cannot be read is ignored,
//! as the RFC demands.

use std::time::UNIX_EPOCH;

use axum::http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use axum::http::{HeaderMap, HeaderName};
use chord_api::problem::Problem;

use crate::http::response::problem::invalid;
use chord_register::condition::{Condition, Tag, Tags};

/// All four preconditions of a request.
pub(in crate::http) fn parse(headers: &HeaderMap) -> Result<Condition, Problem> {
    Ok(Condition {
        if_match: tags(headers, &IF_MATCH)?,
        if_unmodified_since: date(headers, &IF_UNMODIFIED_SINCE),
        if_none_match: tags(headers, &IF_NONE_MATCH)?,
        if_modified_since: date(headers, &IF_MODIFIED_SINCE),
        version: None,
    })
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(|v| v.as_bytes()).collect();
    match lines.as_slice() {
        [] => return Ok(None),
        [line] if line.trim_ascii() == b"*" => return Ok(Some(Tags::Any)),
        _ => {}
    }
    let mut list = Vec::new();
    let read = lines
        .into_iter()
        .all(|line| read_list(line, &mut list).is_some());
    if !read || list.is_empty() {
        return Err(invalid(format!(
            "{name} cannot be read: it is * or a list of entity tags, each in double quotes, as ETag gives them"
        )));
    }
    Ok(Some(Tags::List(list)))
}

/// Adds the tags of one header line; empty members of the list are allowed.
fn read_list(mut rest: &[u8], list: &mut Vec<Tag>) -> Option<()> {
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return Some(());
        }
        let (tag, after) = read_tag(rest)?;
        list.push(tag);
        rest = after.trim_ascii_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(b",")?;
        }
    }
}

/// Reads one entity tag, and gives what stands behind it.
pub(in crate::http) fn read_tag(text: &[u8]) -> Option<(Tag, &[u8])> {
    let (weak, text) = match text.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let text = text.strip_prefix(b"\"")?;
    let end = text.iter().position(|b| *b == b'"')?;
    let (value, after) = (&text[..end], &text[end + 1..]);
    if !value.iter().all(|b| *b == 0x21 || *b > 0x22 && *b != 0x7f) {
        return None;
    }
    // Bytes that are not UTF-8 are allowed, and are never in a tag of ours.
    Some((
        Tag {
            weak,
            value: String::from_utf8_lossy(value).into_owned(),
        },
        after,
    ))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    read_date(line.to_str().ok()?)
}

/// An HTTP-date in seconds since the Unix epoch, in any of its three forms; what
/// lies before the epoch is 0, since no file is older.
pub(in crate::http) fn read_date(text: &str) -> Option<u64> {
    let text = text.trim();
    // The grammar allows a leap second, the parser does not.
    let (text, leap) = if text.contains(":60 ") {
        (text.replacen(":60 ", ":59 ", 1), 1)
    } else {
        (text.into(), 0)
    };
    if let Ok(date) = httpdate::parse_http_date(&text) {
        return date
            .duration_since(UNIX_EPOCH)
            .ok()
            .map(|d| d.as_secs() + leap);
    }
    // Nor does it take a year before 1970. The calendar repeats every 400 years,
    // so the same date then says whether this one is a date at all.
    let digits = text
        .split([' ', '-'])
        .find(|word| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()))?;
    let year: u32 = digits.parse().ok().filter(|year| *year < 1970)?;
    let moved = year + (1970 - year).div_ceil(400) * 400;
    httpdate::parse_http_date(&text.replacen(digits, &moved.to_string(), 1))
        .ok()
        .map(|_| 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        map
    }

    fn if_match(lines: &[&str]) -> Result<Option<Tags>, ()> {
        parse(&headers(&IF_MATCH, lines))
            .map(|c| c.if_match)
            .map_err(|_| ())
    }

    fn list(tags: &[(bool, &str)]) -> Result<Option<Tags>, ()> {
        Ok(Some(Tags::List(
            tags.iter()
                .map(|(weak, value)| Tag {
                    weak: *weak,
                    value: (*value).into(),
                })
                .collect(),
        )))
    }

    #[test]
    fn lists_of_tags() {
        assert_eq!(if_match(&[]), Ok(None));
        assert_eq!(if_match(&["*"]), Ok(Some(Tags::Any)));
        assert_eq!(if_match(&["\"a\""]), list(&[(false, "a")]));
        assert_eq!(
            if_match(&["\"a\", W/\"b\" ,,\"\""]),
            list(&[(false, "a"), (true, "b"), (false, "")])
        );
        assert_eq!(
            if_match(&["\"a,b\",\t\"c\"", "\"d\""]),
            list(&[(false, "a,b"), (false, "c"), (false, "d")])
        );
        assert_eq!(if_match(&["\"a\"", ""]), list(&[(false, "a")]));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for bad in [
            "",
            ",",
            "a",
            "\"a",
            "a\"",
            "\"a\" \"b\"",
            "*, \"a\"",
            "w/\"a\"",
            "W/ \"a\"",
            "\"a b\"",
            "**",
            "'a'",
        ] {
            assert_eq!(if_match(&[bad]), Err(()), "{bad}");
        }
        assert_eq!(if_match(&["*", "\"a\""]), Err(()));
        assert_eq!(if_match(&["*", "*"]), Err(()));
    }

    #[test]
    fn dates_have_three_forms() {
        for form in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
        ] {
            assert_eq!(read_date(form), Some(784_111_777), "{form}");
        }
        assert_eq!(
            read_date("Sat, 31 Dec 2016 23:59:60 GMT"),
            Some(1_483_228_800)
        );
        assert_eq!(read_date("Mon, 01 Jan 1900 00:00:00 GMT"), Some(0));
        assert_eq!(read_date("Wed Dec 31 23:59:59 1969"), Some(0));
        for bad in [
            "",
            "yesterday",
            "1994-11-06",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 31 Feb 1900 08:49:37 GMT",
            "1900",
        ] {
            assert_eq!(read_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_repeated_or_unreadable_date_is_ignored() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let get = |lines: &[&str]| {
            parse(&headers(&IF_UNMODIFIED_SINCE, lines))
                .unwrap()
                .if_unmodified_since
        };
        assert_eq!(get(&[date]), Some(784_111_777));
        assert_eq!(get(&[date, date]), None);
        assert_eq!(get(&["soon"]), None);
    }

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        #[test]
        fn a_list_comes_back(tags in prop::collection::vec((any::<bool>(), "[!#-~]{0,9}"), 1..6)) {
            let line = tags.iter().map(|(w, v)| format!("{}\"{v}\"", if *w { "W/" } else { "" })).collect::<Vec<_>>();
            let expected: Vec<Tag> = tags.into_iter().map(|(weak, value)| Tag { weak, value }).collect();
            let one = parse(&headers(&IF_NONE_MATCH, &[&line.join(" , ")])).unwrap();
            prop_assert_eq!(&one.if_none_match, &Some(Tags::List(expected)));
            let lines: Vec<&str> = line.iter().map(String::as_str).collect();
            let many = parse(&headers(&IF_NONE_MATCH, &lines)).unwrap();
            prop_assert_eq!(many, one);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut list = Vec::new();
            let _ = read_list(&bytes, &mut list);
            let _ = read_date(&String::from_utf8_lossy(&bytes));
        }
    }
}
