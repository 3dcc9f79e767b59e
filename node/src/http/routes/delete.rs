//! `DELETE` of a file.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use chord_api::problem::Problem;
use chord_types::FileName;

use super::changes::Changes;
use crate::files::Files;
use crate::http::request::conditions;
use crate::http::response::problem::VERSION;

/// `DELETE /files/{name}`; answers with the version that the deletion is.
pub(super) async fn delete<F: Files>(
    files: &F,
    changes: &Changes,
    name: FileName,
    headers: &HeaderMap,
) -> Result<Response<Body>, Problem> {
    let condition = conditions::parse(headers)?;
    let files = files.clone();
    let version = changes
        .to_the_end(async move { files.delete(&name, condition).await })
        .await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(VERSION, HeaderValue::from(version));
    Ok(response)
}
