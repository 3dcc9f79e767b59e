//! `chord stat`.

use chord_api::human;
use chord_api::problem::Kind;
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
    meta: std::collections::BTreeMap<String, String>,
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
    let stat = FileStat {
        name: args.name.to_string(),
        size: info.size,
        etag: info.etag,
        version: info.version,
        modified: info.last_modified.as_deref().map(rfc3339),
        content_type: info.content_type,
        meta: info.meta.into_iter().collect(),
    };
    out.show(&stat, || {
        let mut lines = vec![format!("name      {}", stat.name)];
        if let Some(size) = stat.size {
            lines.push(format!("size      {size} ({})", human::size(size)));
        }
        lines.push(format!("etag      {}", stat.etag));
        lines.extend(stat.version.map(|v| format!("version   {v}")));
        lines.extend(stat.modified.iter().map(|m| format!("modified  {m}")));
        lines.extend(stat.content_type.iter().map(|t| format!("type      {t}")));
        lines.extend(
            stat.meta
                .iter()
                .map(|(key, value)| format!("meta      {key}={value}")),
        );
        lines.iter().map(|line| plain(line).into_owned()).collect()
    })
}

/// An HTTP date as listings write times; what is no date stays as it is.
fn rfc3339(date: &str) -> String {
    httpdate::parse_http_date(date).map_or_else(|_| date.to_string(), human::instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_listings() {
        assert_eq!(
            rfc3339("Sun, 06 Nov 1994 08:49:37 GMT"),
            "1994-11-06T08:49:37Z"
        );
        assert_eq!(rfc3339("yesterday"), "yesterday");
    }
}
