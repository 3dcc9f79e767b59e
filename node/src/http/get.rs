//! `GET` and `HEAD` of a file: conditions, one range, and the bytes.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use chord_api::problem::{Kind, Problem};
use chord_types::{FileName, Manifest};

use super::body::Exact;
use super::problem::{VERSION, quoted};
use super::range::{Wanted, wanted};
use super::{conditions, meta};
use crate::files::Files;
use crate::world::Clock;
use chord_register::condition::Verdict;

/// The last second that an HTTP-date can say, in the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// `GET /files/{name}`, and `HEAD` of it, which knows no ranges.
pub(super) async fn get<F: Files>(
    files: &F,
    name: &FileName,
    headers: &HeaderMap,
    head: bool,
) -> Result<Response<Body>, Problem> {
    let condition = conditions::parse(headers)?;
    let manifest = files.stat(name).await?;
    let modified = manifest
        .as_ref()
        .map_or(0, |m| (m.modified_ms / 1000).min(LAST_SECOND));
    let current = manifest.as_ref().map(|m| (m.etag.as_str(), modified));
    let verdict = condition.evaluate(current, true);
    let Some(manifest) = &manifest else {
        return Err(match verdict {
            Verdict::Failed => failed(name, None),
            Verdict::Proceed | Verdict::NotModified => not_found(name),
        });
    };
    match verdict {
        Verdict::Failed => return Err(failed(name, Some(manifest))),
        Verdict::NotModified => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            let headers = response.headers_mut();
            validators(manifest, modified, headers);
            if head {
                // Left out, it would be filled in with 0, as if the file were empty.
                headers.insert(CONTENT_LENGTH, HeaderValue::from(manifest.size));
            }
            return Ok(response);
        }
        Verdict::Proceed => {}
    }
    let wanted = if head {
        Wanted::Whole
    } else {
        wanted(
            headers,
            manifest.size,
            &manifest.etag,
            modified,
            Clock::System.now_ms() / 1000,
        )
    };
    let (status, range) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0..manifest.size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Unsatisfiable => {
            let detail = format!(
                "{name} has {} bytes, and the range lies behind them",
                manifest.size
            );
            let mut problem = Problem::new(Kind::Range, detail);
            problem.size = Some(manifest.size);
            return Err(problem);
        }
    };
    let length = range.end - range.start;
    let content_range = (status == StatusCode::PARTIAL_CONTENT)
        .then(|| {
            HeaderValue::from_str(&format!(
                "bytes {}-{}/{}",
                range.start,
                range.end - 1,
                manifest.size
            ))
            .ok()
        })
        .flatten();
    let body = match head || length == 0 {
        true => Body::empty(),
        false => Exact::begin(files.read(name, manifest, range), length).await?,
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    validators(manifest, modified, headers);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(range) = content_range {
        headers.insert(CONTENT_RANGE, range);
    }
    let kept = manifest
        .content_type
        .as_deref()
        .and_then(|text| HeaderValue::from_str(text).ok());
    headers.insert(
        CONTENT_TYPE,
        kept.unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    meta::write(&manifest.meta, headers);
    Ok(response)
}

/// What says which version this is. Caches have to ask again each time, since a
/// read after a finished write sees it.
fn validators(manifest: &Manifest, modified: u64, headers: &mut HeaderMap) {
    if let Some(etag) = quoted(&manifest.etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(VERSION, HeaderValue::from(manifest.version));
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(modified));
    if let Ok(date) = HeaderValue::from_str(&date) {
        headers.insert(LAST_MODIFIED, date);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

fn not_found(name: &FileName) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no file {name}"))
}

fn failed(name: &FileName, current: Option<&Manifest>) -> Problem {
    let detail = match current {
        Some(current) => {
            format!(
                "a condition of the request does not hold for {name}, version {}",
                current.version
            )
        }
        None => format!(
            "a condition of the request asks for a current version, and there is no file {name}"
        ),
    };
    let mut problem = Problem::new(Kind::PreconditionFailed, detail);
    problem.current = current.map(|m| (m.etag.clone(), m.version));
    problem
}
