//! `chord stat`.

use chord_api::files::FileInfo;
use chord_api::human;
use chord_api::problem::Kind;
use chord_types::FileName;
use serde::Serialize;

use crate::access::Target;
use crate::args::StatArgs;
use crate::failure::{Code, Failure};
use crate::output::{Output, plain};

/// A file as `chord stat` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FileStat {
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

impl FileStat {
    fn of(name: &FileName, info: FileInfo) -> FileStat {
        FileStat {
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
        let size = self
            .size
            .map(|size| format!("{size} ({})", human::size(size)));
        let version = self.version.map(|version| version.to_string());
        let (name, etag) = (Some(self.name.clone()), Some(self.etag.clone()));
        let mut rows = Vec::new();
        for (label, value) in [
            ("name", &name),
            ("size", &size),
            ("etag", &etag),
            ("version", &version),
            ("modified", &self.modified),
            ("type", &self.content_type),
            ("encoding", &self.content_encoding),
            ("language", &self.content_language),
            ("disposition", &self.content_disposition),
            ("caching", &self.cache_control),
            ("expires", &self.expires),
        ] {
            rows.extend(value.iter().map(|value| format!("{label:<9} {value}")));
        }
        let meta = self.meta.iter();
        rows.extend(meta.map(|(key, value)| format!("meta      {key}={value}")));
        rows.iter().map(|row| plain(row).into_owned()).collect()
    }
}

/// Shows what there is to know about a file.
pub async fn run(args: &StatArgs, target: &Target, out: Output) -> Result<(), Failure> {
    let info = match target.files().await?.head(&args.name).await {
        // The answer to a HEAD has no words of its own.
        Err(e) if e.kind() == Some(Kind::NotFound) => {
            let why = format!("there is no file {:?}", args.name.as_str());
            return Err(Failure::new(Code::NotFound, why));
        }
        other => other?,
    };
    let stat = FileStat::of(&args.name, info);
    out.show(&stat, || stat.lines())
}

/// An HTTP date as listings write times; what is no date stays as it is.
fn rfc3339(date: &str) -> String {
    httpdate::parse_http_date(date).map_or_else(|_| date.to_string(), human::instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_kept_with_a_file_is_shown() {
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
        let lines = FileStat::of(&name, info.clone()).lines();
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
        let json = serde_json::to_value(FileStat::of(&name, info)).unwrap();
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
