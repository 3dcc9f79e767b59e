//! What this node says of itself and of the ring, and what it passes on to the
//! supervisor of `chord up`.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use chord_api::problem::{Kind, Problem};
use chord_types::Id;
use serde::Serialize;

use super::body::Upload;
use super::local::Local;
use super::metrics::{self, Metrics};
use super::name::from_query;
use super::problem::invalid;
use super::query::{Query, missing};

/// The longest body that is passed on to the supervisor.
const MAX_CALL_BYTES: usize = 64 * 1024;

/// A JSON answer.
pub(super) fn json(value: &impl Serialize) -> Result<Response<Body>, Problem> {
    Ok(typed(
        "application/json",
        serde_json::to_vec(value).map_err(unwritable)?,
    ))
}

/// An answer that cannot be put into words.
pub(super) fn unwritable(error: serde_json::Error) -> Problem {
    Problem::new(
        Kind::Overloaded,
        format!("the answer cannot be written as JSON: {error}"),
    )
    .with_status(StatusCode::INTERNAL_SERVER_ERROR)
}

/// An answer of a media type.
pub(super) fn typed(kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// `GET /ring/successor`: by name or by id.
pub(super) async fn successor<L: Local>(
    local: &L,
    query: Query<'_>,
) -> Result<Response<Body>, Problem> {
    let id = match (query.raw("name")?, query.text("id")?) {
        (Some(_), None) => Id::of_file(&from_query(&query, "name")?),
        (None, Some(id)) => id
            .parse()
            .map_err(|why| invalid(format!("the parameter id cannot be read: {why}")))?,
        (None, None) => return Err(missing("name or id")),
        (Some(_), Some(_)) => {
            return Err(invalid("there is a name and an id: give one of the two"));
        }
    };
    json(&local.successor(id).await?)
}

/// `GET /view`.
pub(super) async fn view<L: Local>(local: &L) -> Result<Response<Body>, Problem> {
    match local.view().await {
        Some(view) => json(&view),
        None => Err(Problem::new(
            Kind::NotFound,
            "this node has no view yet: no cluster was formed with it",
        )),
    }
}

/// `GET /readyz`.
pub(super) fn readyz<L: Local>(local: &L) -> Result<Response<Body>, Problem> {
    match local.ready() {
        Ok(()) => Ok(typed("text/plain; charset=utf-8", "ready\n")),
        Err(why) => Err(
            Problem::new(Kind::Overloaded, format!("this node is not ready: {why}"))
                .with_status(StatusCode::SERVICE_UNAVAILABLE),
        ),
    }
}

/// `GET /metrics`.
pub(super) fn metrics(metrics: &Metrics) -> Result<Response<Body>, Problem> {
    let text = metrics.text().map_err(|error| {
        let detail = format!("the metrics of this node cannot be written as text: {error}");
        Problem::new(Kind::Overloaded, detail).with_status(StatusCode::INTERNAL_SERVER_ERROR)
    })?;
    Ok(typed(metrics::CONTENT_TYPE, text))
}

/// `/cluster/…`: the supervisor's answer, as it gave it.
pub(super) async fn supervisor<L: Local>(
    local: &L,
    method: &Method,
    path: &str,
    upload: &mut Upload,
) -> Result<Response<Body>, Problem> {
    let body = upload.whole(MAX_CALL_BYTES).await?;
    let Some((status, kind, body)) = local.supervisor(method.clone(), path, body).await else {
        let detail = "this cluster is not run by chord up: change its ChordCluster object, with kubectl or kubectl chord";
        return Err(invalid(detail).with_status(StatusCode::CONFLICT));
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_str(&kind)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}
