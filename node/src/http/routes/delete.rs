//! `DELETE` of a file.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use chord_api::problem::Problem;
use chord_types::FileName;

use super::port::Port;
use crate::files::Files;
use crate::http::request::conditions;
use crate::http::response::problem::VERSION;
use crate::http::this_node::ThisNode;

/// `DELETE /files/{name}`; answers with the version that the deletion is.
pub(super) async fn delete<F: Files, N: ThisNode>(
    port: &Port<F, N>,
    name: FileName,
    headers: &HeaderMap,
) -> Result<Response<Body>, Problem> {
    let condition = conditions::parse(headers)?;
    let files = port.files.clone();
    let version = port
        .changes
        .to_the_end(async move { Ok(files.delete(&name, condition).await?) })
        .await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(VERSION, HeaderValue::from(version));
    Ok(response)
}
