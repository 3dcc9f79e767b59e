//! What this node says of itself and of the ring, and what it passes on to the
//! supervisor of `chord up`.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use chord_api::problem::{Kind, Problem};
use chord_types::Id;

use crate::http::metrics::{self, Metrics};
use crate::http::request::name::from_query;
use crate::http::request::query::{Query, missing};
use crate::http::request::upload::Upload;
use crate::http::response::problem::invalid;
use crate::http::response::typed::{json, typed};
use crate::http::this_node::ThisNode;

/// The longest body that is passed on to the supervisor.
const MAX_CALL_BYTES: usize = 64 * 1024;

/// `GET /ring/successor`: by name or by id.
pub(super) async fn successor<N: ThisNode>(
    node: &N,
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
    json(&node.successor(id).await?)
}

/// `GET /view`.
pub(super) async fn view<N: ThisNode>(node: &N) -> Result<Response<Body>, Problem> {
    match node.view().await {
        Some(view) => json(&view),
        None => Err(Problem::new(
            Kind::NotFound,
            "this node has no view yet: no cluster was formed with it",
        )),
    }
}

/// `GET /readyz`.
pub(super) fn readyz<N: ThisNode>(node: &N) -> Result<Response<Body>, Problem> {
    match node.ready() {
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
pub(super) async fn supervisor<N: ThisNode>(
    node: &N,
    method: &Method,
    path: &str,
    upload: &mut Upload,
) -> Result<Response<Body>, Problem> {
    let body = upload.whole(MAX_CALL_BYTES).await?;
    let Some((status, kind, body)) = node.supervisor(method.clone(), path, body).await else {
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
