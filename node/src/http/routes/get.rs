//! `GET` and `HEAD` of a file: conditions, one range, and the bytes.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use chord_api::problem::{Kind, Problem};
use chord_register::condition::Verdict;
use chord_types::{FileName, Manifest};

use crate::files::Files;
use crate::http::request::range::{Wanted, wanted};
use crate::http::request::{conditions, kept};
use crate::http::response::body::Exact;
use crate::http::response::problem::{VERSION, quoted};

/// The last second that an HTTP-date can say, in the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// `GET /files/{name}`, answered in the second `now`, and `HEAD` of it, which knows no
/// ranges.
pub(super) async fn get<F: Files>(
    files: &F,
    name: &FileName,
    headers: &HeaderMap,
    now: u64,
    head: bool,
) -> Result<Response<Body>, Problem> {
    let condition = conditions::parse(headers)?;
    let manifest = files.stat(name).await?;
    // As it is: it may be later than what clients are told (`validators`), so that a date
    // which may be another version's lets nothing through.
    let modified = manifest.as_ref().map_or(0, |m| m.modified_ms / 1000);
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
        Verdict::NotModified => return Ok(not_modified(manifest, now, head)),
        Verdict::Proceed => {}
    }
    let wanted = if head {
        Wanted::Whole
    } else {
        wanted(headers, manifest.size, &manifest.etag, modified, now)
    };
    let (part, range) = match wanted {
        Wanted::Whole => (false, 0..manifest.size),
        Wanted::Part(range) => (true, range),
        Wanted::Unsatisfiable => return Err(unsatisfiable(name, manifest.size)),
    };
    let length = range.end - range.start;
    let body = match head || length == 0 {
        true => Body::empty(),
        false => Exact::begin(files.read(name, manifest, range.clone()), length).await?,
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    describe(manifest, now, headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if part {
        if let Some(range) = content_range(&range, manifest.size) {
            headers.insert(CONTENT_RANGE, range);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn not_modified(manifest: &Manifest, now: u64, head: bool) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    validators(manifest, now, headers);
    if head {
        // Left out, it would be filled in with 0, as if the file were empty.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(manifest.size));
    }
    response
}

fn unsatisfiable(name: &FileName, size: u64) -> Problem {
    let detail = format!("{name} has {size} bytes, and the range lies behind them");
    let mut problem = Problem::new(Kind::Range, detail);
    problem.size = Some(size);
    problem
}

/// Which part of how many bytes an answer has. The range is not empty.
fn content_range(range: &Range<u64>, size: u64) -> Option<HeaderValue> {
    let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    HeaderValue::from_str(&text).ok()
}

/// Everything that an answer with the file says of it, but for the length.
fn describe(manifest: &Manifest, now: u64, headers: &mut HeaderMap) {
    validators(manifest, now, headers);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let kept = manifest
        .content_type
        .as_deref()
        .and_then(|text| HeaderValue::from_str(text).ok());
    headers.insert(
        CONTENT_TYPE,
        kept.unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    kept::write(&manifest.meta, headers);
}

/// What says which version this is, in an answer of the second `now`, and how long it
/// may be taken for the current one.
fn validators(manifest: &Manifest, now: u64, headers: &mut HeaderMap) {
    if let Some(etag) = quoted(&manifest.etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(VERSION, HeaderValue::from(manifest.version));
    // Never later than the answer (RFC 9110, section 8.8.2.1), whose date the library
    // would take a moment earlier.
    let modified = (manifest.modified_ms / 1000).min(now);
    for (name, second) in [(LAST_MODIFIED, modified), (DATE, now)] {
        if let Some(date) = date(second) {
            headers.insert(name, date);
        }
    }
    kept::caching(&manifest.meta, headers);
}

/// An HTTP-date.
fn date(second: u64) -> Option<HeaderValue> {
    let time = UNIX_EPOCH + Duration::from_secs(second.min(LAST_SECOND));
    HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()
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
