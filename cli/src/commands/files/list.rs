//! `chord ls`.

use chord_api::files::ListQuery;
use chord_api::http::FileEntry;

use crate::access::Target;
use crate::args::LsArgs;
use crate::failure::Failure;
use crate::output::{Output, escaped_json, plain};

/// The most that a page holds.
const PAGE: u64 = 1000;

/// Lists page by page, and writes each page as it comes: a listing may be longer
/// than fits into memory.
pub async fn run(args: &LsArgs, target: &Target, out: Output) -> Result<(), Failure> {
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
        out.write("{\"files\":[")?;
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
                out.write(&format!("{}\n{text}", if first { "" } else { "," }))?;
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
}
