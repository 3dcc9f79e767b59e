//! `chord ls` and `chord stat`.

use chord_api::files::{FileInfo, ListQuery};
use chord_api::http::FileEntry;
use chord_api::problem::Kind;
use chord_types::FileName;
use serde::Serialize;

use crate::args::{Ls, Stat};
use crate::failure::{Code, Failure};
use crate::output::{Output, bytes, escaped_json, plain};
use crate::target::Target;

/// The most that a page holds.
const PAGE: u64 = 1000;

/// Lists page by page, and writes each page as it comes: a listing may be longer
/// than fits into memory.
pub async fn run(args: &Ls, target: &Target, out: Output) -> Result<(), Failure> {
    let files = target.files().await?;
    let mut query = ListQuery {
        prefix: args.prefix.clone(),
        after: args.after.clone(),
        delimiter: args.delimiter.clone(),
        limit: None,
    };
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut prefixes = Vec::new();
    let mut first = true;
    if out.is_json() {
        out.raw("{\"files\":[")?;
    }
    let next = loop {
        if left == 0 {
            break query.after;
        }
        let wanted = left.min(PAGE);
        query.limit = u32::try_from(wanted).ok();
        let page = files.list(&query).await?;
        left = left.saturating_sub((page.files.len() + page.prefixes.len()) as u64);
        if out.is_json() {
            for entry in page.files {
                let text =
                    serde_json::to_string(&entry).map_err(|e| Failure::failed(e.to_string()))?;
                let text = escaped_json(&text);
                out.raw(&format!("{}\n{text}", if first { "" } else { "," }))?;
                first = false;
            }
            prefixes.extend(page.prefixes);
        } else {
            for line in lines(&page.files, &page.prefixes, args.long) {
                out.line(plain(&line))?;
            }
        }
        match page.next {
            // A server that gave the same place again would never end.
            Some(next) if query.after.as_deref() == Some(next.as_str()) => {
                return Err(Failure::failed(format!(
                    "the listing does not go on after {next:?}"
                )));
            }
            Some(next) => query.after = Some(next),
            None => break None,
        }
    };
    if out.is_json() {
        let prefixes = serde_json::json!(prefixes);
        let next = serde_json::json!(if args.limit.is_some() { next } else { None });
        let end = format!("],\n\"prefixes\":{prefixes},\"next\":{next}}}");
        out.line(escaped_json(&end))?;
    }
    Ok(())
}

/// Files and prefixes together, in byte order.
fn lines(files: &[FileEntry], prefixes: &[String], long: bool) -> Vec<String> {
    let mut rows: Vec<(&str, Option<&FileEntry>)> =
        files.iter().map(|f| (f.name.as_str(), Some(f))).collect();
    rows.extend(prefixes.iter().map(|p| (p.as_str(), None)));
    rows.sort_by_key(|(name, _)| *name);
    rows.into_iter()
        .map(|(name, file)| match (long, file) {
            (false, _) => name.to_string(),
            (true, Some(file)) => format!("{:>12}  {:<20}  {name}", file.size, file.modified),
            (true, None) => format!("{:>12}  {:<20}  {name}", "-", "-"),
        })
        .collect()
}

/// A file as `chord stat` tells it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    name: String,
    size: Option<u64>,
    etag: String,
    version: Option<u64>,
    /// RFC 3339, UTC.
    modified: Option<String>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    content_language: Option<String>,
    content_disposition: Option<String>,
    cache_control: Option<String>,
    expires: Option<String>,
    meta: std::collections::BTreeMap<String, String>,
}

impl Told {
    fn of(name: &FileName, info: FileInfo) -> Told {
        Told {
            name: name.to_string(),
            size: info.size,
            etag: info.etag,
            version: info.version,
            modified: info.last_modified.as_deref().map(rfc3339),
            content_type: info.content_type,
            content_encoding: info.content_encoding,
            content_language: info.content_language,
            content_disposition: info.content_disposition,
            // What every file has that was stored without.
            cache_control: info.cache_control.filter(|said| said != "no-cache"),
            expires: info.expires,
            meta: info.meta.into_iter().collect(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut rows = vec![("name", self.name.clone())];
        if let Some(size) = self.size {
            rows.push(("size", format!("{size} ({})", bytes(size))));
        }
        rows.push(("etag", self.etag.clone()));
        let version = self.version.map(|version| version.to_string());
        for (label, value) in [
            ("version", &version),
            ("modified", &self.modified),
            ("type", &self.content_type),
            ("encoding", &self.content_encoding),
            ("language", &self.content_language),
            ("disposition", &self.content_disposition),
            ("caching", &self.cache_control),
            ("expires", &self.expires),
        ] {
            rows.extend(value.clone().map(|value| (label, value)));
        }
        let meta = self.meta.iter();
        rows.extend(meta.map(|(key, value)| ("meta", format!("{key}={value}"))));
        rows.into_iter()
            .map(|(label, value)| plain(&format!("{label:<9} {value}")).into_owned())
            .collect()
    }
}

pub async fn stat(args: &Stat, target: &Target, out: Output) -> Result<(), Failure> {
    let info = match target.files().await?.head(&args.name).await {
        // The answer to a HEAD has no words of its own.
        Err(e) if e.kind() == Some(Kind::NotFound) => {
            let told = format!("there is no file {:?}", args.name.as_str());
            return Err(Failure::new(Code::NotFound, told));
        }
        other => other?,
    };
    let told = Told::of(&args.name, info);
    out.show(&told, || told.lines())
}

/// An HTTP date as listings write times; what is no date stays as it is.
fn rfc3339(date: &str) -> String {
    httpdate::parse_http_date(date)
        .ok()
        .and_then(|time| jiff::Timestamp::try_from(time).ok())
        .map_or_else(|| date.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_prefixes_come_in_byte_order() {
        let file = |name: &str| FileEntry {
            name: name.into(),
            size: 7,
            etag: "e".into(),
            modified: "2026-01-02T03:04:05Z".into(),
            content_type: None,
        };
        let listed = lines(&[file("B"), file("c")], &["a/".to_string()], false);
        assert_eq!(listed, ["B", "a/", "c"]);
    }

    #[test]
    fn a_file_is_told_with_all_that_is_kept_with_it() {
        let some = |text: &str| Some(text.to_string());
        let mut info = FileInfo {
            size: Some(2048),
            etag: "1-ab".into(),
            version: Some(1),
            last_modified: some("Sun, 06 Nov 1994 08:49:37 GMT"),
            content_type: some("text/html"),
            content_encoding: some("gzip"),
            content_language: some("de"),
            content_disposition: some("inline"),
            cache_control: some("max-age=60"),
            expires: some("0"),
            meta: vec![("a".into(), "b".into())],
        };
        let name = "f".parse().unwrap();
        let lines = Told::of(&name, info.clone()).lines();
        for line in [
            "name      f",
            "version   1",
            "modified  1994-11-06T08:49:37Z",
            "type      text/html",
            "encoding  gzip",
            "language  de",
            "disposition inline",
            "caching   max-age=60",
            "expires   0",
            "meta      a=b",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
        }
        info.cache_control = some("no-cache");
        let json = serde_json::to_value(Told::of(&name, info)).unwrap();
        assert_eq!(json["contentEncoding"], "gzip");
        assert!(json["cacheControl"].is_null());
    }

    #[test]
    fn times_are_written_as_in_listings() {
        assert_eq!(
            rfc3339("Sun, 06 Nov 1994 08:49:37 GMT"),
            "1994-11-06T08:49:37Z"
        );
        assert_eq!(rfc3339("yesterday"), "yesterday");
    }
}
