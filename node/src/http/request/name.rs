//! File names out of a request: decoded once, never normalised.
//!
//! In a path the name is everything behind the prefix, taken from the raw URI:
//! no segment is tidied, `/` and `%2F` are the same and `+` is a plus.

use chord_api::problem::{Kind, Problem};
use chord_types::FileName;
use chord_types::name::BadName;

use super::query::{Query, decode, missing, well_escaped};
use crate::http::response::problem::invalid_name;

/// The name that stands in a raw path, behind `/files/`.
pub(in crate::http) fn from_raw_path(raw: &str) -> Result<FileName, Problem> {
    if !well_escaped(raw) {
        return Err(Problem::new(
            Kind::InvalidName,
            "the name holds a percent sign without two hexadecimal digits behind it; write a percent sign as %25",
        ));
    }
    FileName::from_path(raw).map_err(invalid_name)
}

/// The name that stands in a query, under `key`.
pub(in crate::http) fn from_query(query: &Query<'_>, key: &str) -> Result<FileName, Problem> {
    FileName::new(text_from_query(query, key)?).map_err(invalid_name)
}

/// A name as `list_files` gives it (`NAME` or `NAME-partN`), under `key`.
pub(in crate::http) fn held_from_query(query: &Query<'_>, key: &str) -> Result<String, Problem> {
    let name = text_from_query(query, key)?;
    if name.is_empty() {
        return Err(invalid_name(BadName::Empty));
    }
    if name.contains('\0') {
        return Err(invalid_name(BadName::Nul));
    }
    Ok(name)
}

fn text_from_query(query: &Query<'_>, key: &str) -> Result<String, Problem> {
    // What cannot be decoded is a bad name; a key that is missing or repeated a bad request.
    match query.raw(key)? {
        None => Err(missing(key)),
        Some(raw) => decode(raw).ok_or_else(|| {
            Problem::new(
                Kind::InvalidName,
                format!("{key} is not UTF-8 in percent-encoding"),
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(raw: &str) -> Result<String, Kind> {
        from_raw_path(raw).map(String::from).map_err(|p| p.kind)
    }

    #[test]
    fn paths_are_taken_literally() {
        for (raw, name) in [
            ("a/../b", "a/../b"),
            ("..", ".."),
            (".", "."),
            ("a//b", "a//b"),
            ("/a", "/a"),
            ("a/", "a/"),
            ("a%2Fb", "a/b"),
            ("a%2fb", "a/b"),
            ("a%252Fb", "a%2Fb"),
            ("a+b", "a+b"),
            ("%2e%2E", ".."),
            ("a;b=c,d", "a;b=c,d"),
            ("%C3%BC", "ü"),
        ] {
            assert_eq!(path(raw).as_deref(), Ok(name), "{raw}");
        }
        for bad in ["", "%", "%4", "a%zz", "%ff", "%C3", "%00", "a%2"] {
            assert_eq!(path(bad), Err(Kind::InvalidName), "{bad}");
        }
    }

    #[test]
    fn queries_are_form_encoded() {
        let get = |raw: &str| {
            from_query(&Query::new(Some(raw)), "name")
                .map(String::from)
                .map_err(|p| p.kind)
        };
        assert_eq!(get("name=a+b").as_deref(), Ok("a b"));
        assert_eq!(get("name=a%2Bb").as_deref(), Ok("a+b"));
        assert_eq!(get("x=1&name=..%2F&y").as_deref(), Ok("../"));
        assert_eq!(get("name=a%2526"), Ok("a%26".into()));
        assert_eq!(get("name=a=b"), Ok("a=b".into()));
        assert_eq!(get("name="), Err(Kind::InvalidName));
        assert_eq!(get("name"), Err(Kind::InvalidName));
        assert_eq!(get("name=%ff"), Err(Kind::InvalidName));
        assert_eq!(get("name=%4"), Err(Kind::InvalidName));
        assert_eq!(get("x=1"), Err(Kind::InvalidRequest));
        assert_eq!(get("name=a&name=a"), Err(Kind::InvalidRequest));
        assert_eq!(get("name=a&n%61me=b"), Err(Kind::InvalidRequest));
    }

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        #[test]
        fn every_name_comes_back_from_its_own_escapes(name in "[^\0]{1,200}") {
            let file = FileName::new(name.clone()).unwrap();
            prop_assert_eq!(&from_raw_path(&file.to_query()).unwrap(), &file);
            let query = format!("name={}", file.to_query());
            prop_assert_eq!(&from_query(&Query::new(Some(&query)), "name").unwrap(), &file);
        }

        #[test]
        fn no_input_breaks_it(raw in ".{0,80}") {
            let _ = from_raw_path(&raw);
            let _ = from_query(&Query::new(Some(&raw)), "name");
        }
    }
}
