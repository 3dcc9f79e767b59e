//! What a client keeps beside a file's bytes: `Content-Type` and `X-Chord-Meta-*`.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chord_api::problem::{Kind, Problem};

use super::problem::invalid;

/// What the names of user metadata start with.
const PREFIX: &str = "x-chord-meta-";
/// The most bytes of user metadata, names behind the prefix and values together.
const MAX_META_BYTES: usize = 8 * 1024;
/// The longest media type.
const MAX_TYPE_BYTES: usize = 1024;

/// The user metadata of a request: lower-case names behind the prefix, and
/// values, in their order; a name may stand there several times.
pub(super) fn parse(headers: &HeaderMap) -> Result<Vec<(String, String)>, Problem> {
    let mut meta = Vec::new();
    let mut bytes = 0;
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else {
            continue;
        };
        if name.is_empty() {
            return Err(invalid(
                "a header X-Chord-Meta- has no name behind its prefix: give it one",
            ));
        }
        if !value.as_bytes().iter().all(|b| (0x20..=0x7e).contains(b)) {
            return Err(invalid(format!(
                "X-Chord-Meta-{name} holds something else than visible ASCII: encode it"
            )));
        }
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        bytes += name.len() + value.len();
        if bytes > MAX_META_BYTES {
            let detail = format!(
                "the X-Chord-Meta-* headers have more than {MAX_META_BYTES} bytes: keep less there"
            );
            return Err(Problem::new(Kind::TooLarge, detail));
        }
        meta.push((name.to_string(), value));
    }
    Ok(meta)
}

/// Puts user metadata into an answer.
pub(super) fn write(meta: &[(String, String)], headers: &mut HeaderMap) {
    for (name, value) in meta {
        let name = HeaderName::try_from(format!("{PREFIX}{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
}

/// The media type of a request, verbatim.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid("there is more than one Content-Type: give one"));
    }
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
        return Err(invalid("the Content-Type is not UTF-8"));
    };
    if text.len() > MAX_TYPE_BYTES {
        return Err(Problem::new(
            Kind::TooLarge,
            format!("the Content-Type has more than {MAX_TYPE_BYTES} bytes"),
        ));
    }
    Ok((!text.is_empty()).then(|| text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(list: &[(&str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        map
    }

    #[test]
    fn limits_are_exact() {
        let fits = vec![b'v'; MAX_META_BYTES - 1];
        assert!(parse(&headers(&[("x-chord-meta-a", &fits)])).is_ok());
        let over = vec![b'v'; MAX_META_BYTES];
        assert_eq!(
            parse(&headers(&[("x-chord-meta-a", &over)]))
                .unwrap_err()
                .kind,
            Kind::TooLarge
        );
        let half = vec![b'v'; MAX_META_BYTES / 2];
        assert_eq!(
            parse(&headers(&[
                ("x-chord-meta-a", &half),
                ("x-chord-meta-b", &half)
            ]))
            .unwrap_err()
            .kind,
            Kind::TooLarge
        );
    }

    #[test]
    fn only_visible_ascii_goes_in() {
        for bad in [&b"\xc3\xbc"[..], b"a\tb", b"\xff"] {
            assert_eq!(
                parse(&headers(&[("x-chord-meta-a", bad)]))
                    .unwrap_err()
                    .kind,
                Kind::InvalidRequest
            );
        }
        assert_eq!(
            parse(&headers(&[("x-chord-meta-", b"x")]))
                .unwrap_err()
                .kind,
            Kind::InvalidRequest
        );
        let map = headers(&[
            ("X-Chord-Meta-Colour", b"sea green"),
            ("x-other", b"\xff"),
            ("x-chord-meta-e", b""),
        ]);
        assert_eq!(
            parse(&map).unwrap(),
            [
                ("colour".into(), "sea green".into()),
                ("e".into(), String::new())
            ]
        );
    }

    #[test]
    fn the_media_type_is_kept_verbatim() {
        let get = |list: &[(&str, &[u8])]| content_type(&headers(list));
        assert_eq!(get(&[]).unwrap(), None);
        assert_eq!(
            get(&[("content-type", b"Text/HTML;  charset=\"x\"")])
                .unwrap()
                .unwrap(),
            "Text/HTML;  charset=\"x\""
        );
        assert_eq!(
            get(&[("content-type", b"\xff")]).unwrap_err().kind,
            Kind::InvalidRequest
        );
        assert_eq!(
            get(&[("content-type", b"a"), ("content-type", b"b")])
                .unwrap_err()
                .kind,
            Kind::InvalidRequest
        );
        assert_eq!(
            get(&[("content-type", &[b'a'; 1025])]).unwrap_err().kind,
            Kind::TooLarge
        );
    }

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        #[test]
        fn metadata_comes_back(list in prop::collection::vec(("[a-z0-9-]{1,9}", "([!-~]([ -~]{0,9}[!-~])?)?"), 0..9)) {
            let mut map = HeaderMap::new();
            write(&list, &mut map);
            let mut back = parse(&map).unwrap();
            let mut list = list;
            // A header map groups equal names; within a name the order stays.
            back.sort_by(|a, b| a.0.cmp(&b.0));
            list.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(back, list);
        }
    }
}
