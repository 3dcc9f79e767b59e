//! The query of a request, `application/x-www-form-urlencoded`: a parameter that
//! a route knows may stand there once; the others are ignored.

use chord_api::problem::Problem;

use crate::http::response::problem::invalid;

/// The raw query, looked into on demand.
#[derive(Clone, Copy)]
pub(in crate::http) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// From the raw query of a URI.
    pub(in crate::http) fn new(raw: Option<&'a str>) -> Query<'a> {
        Query(raw.unwrap_or_default())
    }

    /// The raw value of a parameter; an error if it is repeated.
    pub(in crate::http) fn raw(&self, key: &str) -> Result<Option<&'a str>, Problem> {
        let mut found = self
            .0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(|(name, _)| decode(name).as_deref() == Some(key))
            .map(|(_, value)| value);
        let first = found.next();
        if found.next().is_some() {
            return Err(invalid(format!(
                "the parameter {key} is repeated: give it once"
            )));
        }
        Ok(first)
    }

    /// The decoded value of a parameter.
    pub(in crate::http) fn text(&self, key: &str) -> Result<Option<String>, Problem> {
        match self.raw(key)? {
            None => Ok(None),
            Some(raw) => decode(raw).map(Some).ok_or_else(|| {
                invalid(format!(
                    "the parameter {key} is not UTF-8 in percent-encoding"
                ))
            }),
        }
    }

    /// A page size from 1 to 1 000; 1 000 where there is none.
    pub(in crate::http) fn limit(&self) -> Result<usize, Problem> {
        match self.text("limit")? {
            None => Ok(MAX_LIMIT),
            Some(text) => match text.parse::<usize>() {
                Ok(limit)
                    if (1..=MAX_LIMIT).contains(&limit)
                        && text.bytes().all(|b| b.is_ascii_digit()) =>
                {
                    Ok(limit)
                }
                _ => Err(invalid(format!(
                    "the parameter limit is a number from 1 to {MAX_LIMIT}"
                ))),
            },
        }
    }
}

/// The largest page of a listing.
pub(in crate::http) const MAX_LIMIT: usize = 1000;

/// A parameter that has to be there.
pub(in crate::http) fn missing(key: &str) -> Problem {
    invalid(format!("the parameter {key} is missing"))
}

/// Decodes a name or value, `+` as a space; `None` for what is not UTF-8 or
/// wrongly escaped.
pub(in crate::http) fn decode(raw: &str) -> Option<String> {
    if !well_escaped(raw) {
        return None;
    }
    let spaced = raw.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8()
        .ok()
        .map(|text| text.into_owned())
}

/// Whether every percent sign has its two digits.
pub(in crate::http) fn well_escaped(raw: &str) -> bool {
    raw.split('%').skip(1).all(|after| {
        let bytes = after.as_bytes();
        bytes.len() >= 2 && bytes[0].is_ascii_hexdigit() && bytes[1].is_ascii_hexdigit()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_api::problem::Kind;

    #[test]
    fn limits_have_their_bounds() {
        let limit = |raw: &'static str| Query::new(Some(raw)).limit().map_err(|p| p.kind);
        assert_eq!(limit(""), Ok(1000));
        assert_eq!(limit("limit=1"), Ok(1));
        assert_eq!(limit("limit=1000&x=%zz"), Ok(1000));
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit=-1",
            "limit=%2B5",
            "limit=1e2",
            "limit=1&limit=1",
        ] {
            assert_eq!(limit(bad), Err(Kind::InvalidRequest), "{bad}");
        }
    }

    #[test]
    fn text_is_decoded_once() {
        let query = Query::new(Some("prefix=a%2520b+c&after=%ff&delimiter"));
        assert_eq!(query.text("prefix").unwrap().as_deref(), Some("a%20b c"));
        assert_eq!(query.text("delimiter").unwrap().as_deref(), Some(""));
        assert!(query.text("after").is_err());
        assert_eq!(query.text("limit").unwrap(), None);
    }
}
