//! Answers that are made whole at once: a media type, and what is of it.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response};
use chord_api::problem::{Kind, Problem};
use serde::Serialize;

/// A JSON answer.
pub(in crate::http) fn json(value: &impl Serialize) -> Result<Response<Body>, Problem> {
    Ok(typed(
        "application/json",
        serde_json::to_vec(value).map_err(unwritable)?,
    ))
}

/// An answer that cannot be put into words.
pub(in crate::http) fn unwritable(error: serde_json::Error) -> Problem {
    let detail = format!("the answer cannot be written as JSON: {error}");
    Problem::new(Kind::Internal, detail)
}

/// An answer of a media type.
pub(in crate::http) fn typed(kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
