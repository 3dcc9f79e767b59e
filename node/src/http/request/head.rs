//! What every request's head has to be before anybody looks at what it asks for:
//! the demands of RFC 9112 that the HTTP library leaves to us.

use axum::http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Version};
use chord_api::problem::Problem;

use crate::http::response::problem::invalid;

/// Whether the request can be answered at all.
pub(in crate::http) fn check(parts: &Parts) -> Result<(), Problem> {
    host(parts.version, &parts.headers)?;
    coding(&parts.headers)
}

/// Whether it is known where the request ends. Before HTTP/1.1 a body without a length
/// may go on to the end of the connection, and must not be taken for none, nor for
/// the next request.
pub(in crate::http) fn is_framed(parts: &Parts) -> bool {
    let headers = &parts.headers;
    parts.version >= Version::HTTP_11
        || !matches!(parts.method, Method::PUT | Method::POST)
        || headers.contains_key(CONTENT_LENGTH)
        || headers.contains_key(TRANSFER_ENCODING)
}

/// Refuses a body whose end cannot be known.
pub(in crate::http) fn length(parts: &Parts) -> Result<(), Problem> {
    if is_framed(parts) {
        return Ok(());
    }
    let detail = format!(
        "the {} has no Content-Length, without which the end of its body cannot be known in {:?}: give one (0 for an empty body), or use HTTP/1.1; nothing was changed",
        parts.method, parts.version
    );
    Err(invalid(detail).with_status(StatusCode::LENGTH_REQUIRED))
}

/// Section 3.2: exactly one `Host` since HTTP/1.1, and never a bad one.
fn host(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let mut lines = headers.get_all(HOST).iter();
    let (first, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(invalid(
            "the request has more than one Host header: give one",
        ));
    }
    let Some(host) = first else {
        if version < Version::HTTP_11 {
            return Ok(());
        }
        return Err(invalid(
            "the request has no Host header, which HTTP/1.1 demands: give one",
        ));
    };
    let host = host.as_bytes();
    // What has no authority has an empty host; user information is none of it.
    if host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok()) {
        return Ok(());
    }
    Err(invalid(
        "the Host header cannot be read: it is a name or an address, and perhaps a port",
    ))
}

/// Section 6.1: a coding that is not undone here must not be stored as if it were
/// the file.
fn coding(headers: &HeaderMap) -> Result<(), Problem> {
    let codings: Vec<&[u8]> = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .map(|coding| coding.trim_ascii())
        .filter(|coding| !coding.is_empty())
        .collect();
    match codings.as_slice() {
        [] => return Ok(()),
        [one] if one.eq_ignore_ascii_case(b"chunked") => return Ok(()),
        _ => {}
    }
    Err(invalid(
        "the body has a transfer coding that is not understood here: send it as it is, or chunked alone",
    )
    .with_status(StatusCode::NOT_IMPLEMENTED))
}

/// Whether a byte may stand in a token (RFC 9110, section 5.6.2).
pub(in crate::http) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
