//! What a client keeps beside a file's bytes and media type: standard headers, of
//! which a wrong one is refused rather than given to every later reader, and
//! `X-Chord-Meta-*`.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chord_api::problem::{Kind, Problem};
use chord_types::metadata::{KeptHeader, Metadata};

use super::conditions::read_date;
use super::head::is_token;
use crate::http::response::problem::invalid;

/// What the names of user metadata start with.
const PREFIX: &str = "x-chord-meta-";
/// The most bytes of metadata, names (behind the prefix) and values together.
const MAX_BYTES: usize = 8 * 1024;
/// The longest media type.
const MAX_TYPE_BYTES: usize = 1024;

/// The metadata of a request.
pub(in crate::http) fn parse(headers: &HeaderMap) -> Result<Metadata, Problem> {
    let mut meta = Metadata::default();
    for header in KeptHeader::ALL {
        if let Some(value) = standard(header, headers)? {
            meta.set(header, &value);
        }
    }
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else {
            continue;
        };
        if name.is_empty() {
            return Err(invalid(
                "a header X-Chord-Meta- has no name behind its prefix: give it one",
            ));
        }
        meta.add(name, visible(header.as_str(), value)?);
    }
    if meta.bytes() > MAX_BYTES {
        let detail = format!(
            "the X-Chord-Meta-* headers and the others that are kept with the file have more than {MAX_BYTES} bytes: keep less there"
        );
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    Ok(meta)
}

/// The media type of a request, verbatim.
pub(in crate::http) fn content_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
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

/// A header that is kept; `None` where it is not there, or empty.
fn standard(header: KeptHeader, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let name = header.name();
    let mut value = String::new();
    for (number, line) in headers.get_all(name).iter().enumerate() {
        if number > 0 {
            if !is_list(header) {
                return Err(invalid(format!("there is more than one {name}: give one")));
            }
            value.push_str(", ");
        }
        value.push_str(visible(name, line)?);
    }
    if value.is_empty() {
        return Ok(None);
    }
    let (good, what) = match header {
        KeptHeader::ContentEncoding => (
            list(&value, Text::token),
            "a list of codings, as in gzip, br",
        ),
        KeptHeader::ContentLanguage => (
            list(&value, Text::language),
            "a list of language tags, as in de, en-GB",
        ),
        KeptHeader::CacheControl => (
            list(&value, Text::directive),
            "a list of directives, as in public, max-age=3600",
        ),
        KeptHeader::ContentDisposition => (
            disposition(&value),
            "inline or attachment and perhaps parameters, as in attachment; filename=\"a b.txt\" or filename*=UTF-8''%C3%BC.txt",
        ),
        KeptHeader::Expires => (
            // What is no date counts as past (RFC 9111, section 5.3), and these two say that.
            matches!(value.as_str(), "0" | "-1") || read_date(&value).is_some(),
            "an HTTP-date, as in Sun, 06 Nov 1994 08:49:37 GMT, or 0",
        ),
    };
    if !good {
        return Err(invalid(format!(
            "{name} cannot be read, and is not kept so: it is {what}"
        )));
    }
    Ok(Some(value))
}

/// Whether several lines of a header are one list.
fn is_list(header: KeptHeader) -> bool {
    !matches!(header, KeptHeader::ContentDisposition | KeptHeader::Expires)
}

fn visible<'a>(name: &str, value: &'a HeaderValue) -> Result<&'a str, Problem> {
    let ascii = |text: &&str| text.bytes().all(|b| (0x20..=0x7e).contains(&b));
    let text = value.to_str().ok().filter(ascii);
    text.ok_or_else(|| {
        invalid(format!(
            "{name} holds something else than visible ASCII: encode it"
        ))
    })
}

/// A list of one member at least; empty ones between its commas are allowed.
fn list<'a>(text: &'a str, member: fn(&mut Text<'a>) -> Option<()>) -> bool {
    let mut text = Text(text.as_bytes());
    let mut members = 0;
    loop {
        text.spaces();
        if text.0.is_empty() {
            return members > 0;
        }
        if text.take(b',') {
            continue;
        }
        if member(&mut text).is_none() {
            return false;
        }
        members += 1;
        text.spaces();
        if !text.0.is_empty() && !text.take(b',') {
            return false;
        }
    }
}

/// `Content-Disposition` (RFC 6266): a type and parameters.
fn disposition(text: &str) -> bool {
    let mut text = Text(text.as_bytes());
    let read = |text: &mut Text<'_>| {
        text.token()?;
        loop {
            text.spaces();
            if text.0.is_empty() {
                return Some(());
            }
            text.take(b';').then_some(())?;
            text.spaces();
            if text.0.is_empty() || text.0[0] == b';' {
                continue;
            }
            text.token()?;
            text.take(b'=').then_some(())?;
            text.value()?;
        }
    };
    read(&mut text).is_some()
}

/// What is left to read of a value.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let there = self.0.first() == Some(&byte);
        if there {
            self.0 = &self.0[1..];
        }
        there
    }

    /// Takes all leading bytes of a kind and says how many.
    fn run(&mut self, of: impl Fn(u8) -> bool) -> usize {
        let length = self.0.iter().position(|b| !of(*b)).unwrap_or(self.0.len());
        self.0 = &self.0[length..];
        length
    }

    fn spaces(&mut self) {
        self.run(|b| b == b' ');
    }

    fn token(&mut self) -> Option<()> {
        (self.run(is_token) > 0).then_some(())
    }

    /// A token or a quoted string.
    fn value(&mut self) -> Option<()> {
        if !self.take(b'"') {
            return self.token();
        }
        loop {
            self.run(|b| b != b'"' && b != b'\\');
            if self.take(b'"') {
                return Some(());
            }
            // A backslash, and any byte behind it.
            self.0 = self.0.get(2..)?;
        }
    }

    fn directive(&mut self) -> Option<()> {
        self.token()?;
        match self.take(b'=') {
            true => self.value(),
            false => Some(()),
        }
    }

    /// A language tag, by its form (RFC 5646, section 2.1).
    fn language(&mut self) -> Option<()> {
        let first = self.run(|b| b.is_ascii_alphabetic());
        let mut good = (1..=8).contains(&first);
        while good && self.take(b'-') {
            good = (1..=8).contains(&self.run(|b| b.is_ascii_alphanumeric()));
        }
        good.then_some(())
    }
}

/// Puts everything that is kept into an answer that carries the file; what says how
/// long it may be kept elsewhere is [`caching`]'s.
pub(in crate::http) fn write(meta: &Metadata, headers: &mut HeaderMap) {
    for header in KeptHeader::ALL {
        if !matches!(header, KeptHeader::CacheControl | KeptHeader::Expires) {
            insert(meta, header, headers);
        }
    }
    for (name, value) in meta.custom() {
        let name = HeaderName::try_from(format!("{PREFIX}{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
}

/// Says how long caches may keep an answer: as the client said that stored the file.
/// If it said nothing they have to ask again each time, since a read after a finished
/// write sees it.
pub(in crate::http) fn caching(meta: &Metadata, headers: &mut HeaderMap) {
    insert(meta, KeptHeader::CacheControl, headers);
    insert(meta, KeptHeader::Expires, headers);
    if !headers.contains_key(CACHE_CONTROL) && !headers.contains_key(EXPIRES) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
}

fn insert(meta: &Metadata, header: KeptHeader, headers: &mut HeaderMap) {
    let value = meta.header(header).map(HeaderValue::from_str);
    if let Some(Ok(value)) = value {
        headers.insert(HeaderName::from_static(header.name()), value);
    }
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

    fn refused(list: &[(&str, &[u8])]) -> Kind {
        parse(&headers(list)).unwrap_err().kind
    }

    #[test]
    fn limits_are_exact() {
        let fits = vec![b'v'; MAX_BYTES - 1];
        assert!(parse(&headers(&[("x-chord-meta-a", &fits)])).is_ok());
        let over = vec![b'v'; MAX_BYTES];
        assert_eq!(refused(&[("x-chord-meta-a", &over)]), Kind::TooLarge);
        let half = vec![b'v'; MAX_BYTES / 2];
        let two = [("x-chord-meta-a", &*half), ("x-chord-meta-b", &half)];
        assert_eq!(refused(&two), Kind::TooLarge);
        let two = [("content-encoding", &*half), ("x-chord-meta-b", &half)];
        assert_eq!(refused(&two), Kind::TooLarge);
    }

    #[test]
    fn only_visible_ascii_goes_in() {
        for bad in [&b"\xc3\xbc"[..], b"a\tb", b"\xff"] {
            for name in ["x-chord-meta-a", "cache-control"] {
                assert_eq!(refused(&[(name, bad)]), Kind::InvalidRequest);
            }
        }
        assert_eq!(refused(&[("x-chord-meta-", b"x")]), Kind::InvalidRequest);
        let map = headers(&[
            ("X-Chord-Meta-Colour", b"sea green"),
            ("x-other", b"\xff"),
            ("x-chord-meta-e", b""),
        ]);
        let meta = parse(&map).unwrap();
        let own: Vec<_> = meta.custom().collect();
        assert_eq!(own, [("colour", "sea green"), ("e", "")]);
        // A node of 0.1.0 gives all metadata out as headers; these cannot be header names.
        assert!(HeaderName::try_from(format!("{PREFIX}:expires")).is_err());
    }

    #[test]
    fn odd_forms_that_the_grammars_have() {
        for (name, value) in [
            ("content-encoding", " , gzip ,,x-own "),
            ("content-language", "zh-Hant-TW, x-klingon, de-1996"),
            (
                "cache-control",
                "max-age=\"1\", x=\"a\\\"b, c\" , no-store,",
            ),
            ("content-disposition", "INLINE"),
            (
                "content-disposition",
                "attachment ;filename=a.txt; ; x=\"\\\\\";",
            ),
            ("expires", "Sunday, 06-Nov-94 08:49:37 GMT"),
            ("expires", "-1"),
        ] {
            let read = parse(&headers(&[(name, value.as_bytes())]));
            assert_eq!(
                read.unwrap().bytes(),
                name.len() + value.len(),
                "{name}: {value}"
            );
        }
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
            let mut meta = Metadata::default();
            let mut list = list;
            // A header map groups equal names; within a name the order stays.
            list.sort_by(|a, b| a.0.cmp(&b.0));
            list.iter().for_each(|(name, value)| meta.add(name, value));
            let mut map = HeaderMap::new();
            write(&meta, &mut map);
            let back = parse(&map).unwrap();
            let mut back: Vec<_> = back.custom().collect();
            back.sort_by(|a, b| a.0.cmp(b.0));
            prop_assert_eq!(back, meta.custom().collect::<Vec<_>>());
        }

        #[test]
        fn no_text_breaks_it(text in "[ -~]{0,30}", which in 0usize..5) {
            let header = KeptHeader::ALL[which];
            if let Ok(Some(kept)) = standard(header, &headers(&[(header.name(), text.as_bytes())])) {
                // What is kept can be given back.
                let again = standard(header, &headers(&[(header.name(), kept.as_bytes())]));
                prop_assert_eq!(again.unwrap(), Some(kept));
            }
        }
    }
}
